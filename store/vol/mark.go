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
	_, err := v.MarkContent(ctx, keep, nil)
	return err
}

// Marked is what marking found on its way.
type Marked struct {
	Inline int64 // bytes of files that stand in their entries
	// Damaged are the chunks that list others and cannot be read, or are of a
	// file that a peer has made up: what only they lead to is not marked.
	Damaged []store.ID
}

// MarkContent is MarkChunks that also calls content, which may be nil, with
// the bytes of files that each chunk has.
func (v *Volume) MarkContent(ctx context.Context, keep func(store.ID), content func(id store.ID, bytes int64)) (Marked, error) {
	m := &marker{ctx: ctx, chunks: v.o.Chunks, sealer: v.o.Sealer, keep: keep, content: content, trees: make(map[treeKey]struct{})}
	m.memory(v)
	for _, b := range m.bodies {
		if err := m.body(b); err != nil {
			return m.found, fmt.Errorf("mark chunks: %w", err)
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
		return m.found, fmt.Errorf("mark chunks: %w", err)
	}
	return m.found, nil
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
	ctx     context.Context
	chunks  chunkGetter
	sealer  *store.Sealer
	keep    func(store.ID)
	content func(id store.ID, bytes int64) // may be nil
	bodies  []Body
	trees   map[treeKey]struct{} // looked at
	found   Marked
}

// memory collects what is in memory first: what becomes durable meanwhile is
// found in Bolt afterwards.
func (m *marker) memory(v *Volume) {
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
		return damaged(err)
	}
	m.bodies = m.bodies[:0]
	m.record(r)
	if ver := r.version(); ver != nil && ver.Kind == merge.KindFile && !Body(ver.Content).remote() {
		m.found.Inline += Body(ver.Content).Allocated()
	}
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
	last := store.ID{}
	_, err := walkSizes(m.ctx, m.chunks, m.sealer, b, func(id store.ID, _ bool, n int64) error {
		last = id
		m.keep(id)
		if n > 0 && m.content != nil {
			m.content(id, n)
		}
		return m.ctx.Err()
	})
	if errors.Is(err, store.ErrDamaged) || errors.Is(err, ErrBody) && last != (store.ID{}) {
		m.found.Damaged = append(m.found.Damaged, last)
		return nil
	}
	return err
}
