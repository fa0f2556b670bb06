package vol

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"bazil/merge"
	"bazil/store"
)

// MarkChunks calls keep for every chunk that the volume refers to, durable or
// not, open files and wanted content included; some come more than once. An
// error means that some may be missing.
func (v *Volume) MarkChunks(ctx context.Context, keep func(store.ID)) error {
	m := &marker{v: v, ctx: ctx, keep: keep, trees: make(map[treeKey]struct{})}
	m.memory()
	for _, b := range m.bodies {
		if err := m.body(b); err != nil {
			return fmt.Errorf("mark chunks: %w", err)
		}
	}
	// What the last group on disk refers to must not be freed for the sake of
	// one that is seen and may not get there.
	err := v.db.ViewDurable(func(tx *bbolt.Tx) error {
		if err := m.names(tx); err != nil {
			return err
		}
		if err := eachSummed(tx.Bucket(bucketSnapshots), m.snapshot); err != nil {
			return err
		}
		return eachSummed(tx.Bucket(bucketTrees), m.cachedTree)
	})
	if err != nil {
		return fmt.Errorf("mark chunks: %w", err)
	}
	return nil
}

// names marks what all names in Bolt have. They must be as many as the records
// of directories say: a page that was changed may hide some.
func (m *marker) names(tx *bbolt.Tx) error {
	var names, records uint64
	err := eachSummed(tx.Bucket(bucketDirs), func(_, value []byte) error {
		r, err := decodeDirRecord(value)
		if err == nil {
			records += r.Records
		}
		return err
	})
	if err == nil {
		err = eachSummed(tx.Bucket(bucketNames), func(key, value []byte) error {
			names++
			return m.stored(key, value)
		})
	}
	if err == nil && names != records {
		err = fmt.Errorf("%w: %d names, of which directories know %d", ErrDamaged, names, records)
	}
	return err
}

// storedBody is what the last flush left. Chunks that are no longer pending
// are in it, also while the group that they belong to is not durable.
func (c *content) storedBody() Body {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.bad != nil || c.base == nil {
		return ""
	}
	return c.base.encode()
}

type marker struct {
	v      *Volume
	ctx    context.Context
	keep   func(store.ID)
	bodies []Body
	trees  map[treeKey]struct{} // looked at
}

// memory collects what is in memory first: what becomes durable meanwhile is
// found in Bolt afterwards.
func (m *marker) memory() {
	v := m.v
	v.mu.Lock()
	defer v.unlock()
	for f := range v.files {
		f.c.pendingChunks(m.keep)
		m.bodies = append(m.bodies, f.body, f.c.storedBody())
	}
	for _, in := range v.inodes {
		if !in.linked() {
			m.record(in.at.rec)
		}
		if in.held != nil {
			m.record(in.held)
		}
	}
	for _, g := range []*group{v.commit, v.now} {
		if g == nil {
			continue
		}
		for _, e := range g.entries {
			m.record(e.rec)
		}
		for _, it := range g.items {
			m.record(it.rec)
		}
		for _, w := range g.wants {
			m.bodies = append(m.bodies, w.body)
		}
	}
}

func (m *marker) record(r *record) {
	if r == nil {
		return
	}
	for i := range r.Versions {
		ver := &r.Versions[i]
		if b := Body(ver.Content); ver.Kind == merge.KindFile && b.remote() {
			m.bodies = append(m.bodies, b)
		}
	}
}

func (m *marker) stored(_, value []byte) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	r, err := decodeRecord(value)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	m.bodies = m.bodies[:0]
	m.record(r)
	for _, b := range m.bodies {
		if err := m.body(b); err != nil {
			return err
		}
	}
	return nil
}

// body keeps the chunks of one body. Chunks that are not here lead to none
// that need to be kept for it.
func (m *marker) body(b Body) error {
	_, err := walkChunks(m.ctx, m.v.o.Chunks, m.v.o.Sealer, b, func(id store.ID, _ bool) error {
		m.keep(id)
		return m.ctx.Err()
	})
	if errors.Is(err, store.ErrDamaged) {
		return nil // kept itself; what it led to cannot be read through it
	}
	return err
}
