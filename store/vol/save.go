package vol

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// save writes a group in one Bolt transaction.
func (v *Volume) save(g *group) error {
	g.fill()
	slices.SortFunc(g.items, func(a, b item) int {
		if c := cmp.Compare(a.e.dir.num, b.e.dir.num); c != 0 {
			return c
		}
		return strings.Compare(a.e.name, b.e.name)
	})
	return v.db.Update(func(tx *bbolt.Tx) error {
		w := newWriter(tx)
		for _, it := range g.items {
			if err := w.name(it.e.dir.num, it.e.name, it.rec); err != nil {
				return err
			}
		}
		for _, it := range g.places {
			if err := w.dir(it); err != nil {
				return err
			}
		}
		if err := w.wants(g); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keyState, appendState(nil, &g.state))
	})
}

// fill puts the bodies in the place of their marks.
func (g *group) fill() {
	bodies := make(map[string]Body, len(g.flushes))
	for _, s := range g.flushes {
		bodies[s.mark] = s.body
	}
	for i := range g.items {
		rec := g.items[i].rec
		if rec == nil {
			continue
		}
		for j := range rec.Versions {
			mark := rec.Versions[j].Content
			if body, ok := bodies[mark]; ok {
				rec = rec.filled(mark, body)
			}
		}
		g.items[i].rec = rec
	}
}

// writer writes a group's records and what is derived from them.
type writer struct {
	tx                                      *bbolt.Tx
	names, inodes, loose, conflicts, places *bbolt.Bucket
}

func newWriter(tx *bbolt.Tx) *writer {
	return &writer{
		tx:    tx,
		names: tx.Bucket(bucketNames), inodes: tx.Bucket(bucketInodes), places: tx.Bucket(bucketDirs),
		loose: tx.Bucket(bucketLoose), conflicts: tx.Bucket(bucketConflicts),
	}
}

// name writes the record of a name and keeps the buckets right that lead to it.
func (w *writer) name(dir uint64, name string, rec *record) error {
	key := numKey(dir, name)
	var oldIno uint64
	stored := w.names.Get(key)
	if stored != nil {
		if h, err := decodeHead(stored); err == nil {
			oldIno = h.ino
		}
	}
	if err := w.moveIno(key, oldIno, rec); err != nil {
		return err
	}
	if err := w.flag(w.loose, key, stored != nil, rec.loose()); err != nil {
		return err
	}
	if err := w.flag(w.conflicts, key, stored != nil, !rec.empty() && rec.conflict()); err != nil {
		return err
	}
	if rec.empty() {
		if stored == nil {
			return nil
		}
		return w.names.Delete(key)
	}
	return w.names.Put(key, appendRecord(make([]byte, 0, 256), rec))
}

// moveIno keeps the way from a number to its name right.
func (w *writer) moveIno(key []byte, old uint64, rec *record) error {
	var ino uint64
	if !rec.empty() {
		ino = rec.Ino
	}
	if old == ino {
		return nil
	}
	if old != 0 && bytes.Equal(w.inodes.Get(numKey(old, "")), key) {
		if err := w.inodes.Delete(numKey(old, "")); err != nil {
			return err
		}
	}
	if ino == 0 {
		return nil
	}
	return w.inodes.Put(numKey(ino, ""), key)
}

// flag keeps a key in a bucket, or out of it. there says whether it may be in.
func (w *writer) flag(b *bbolt.Bucket, key []byte, there, want bool) error {
	switch {
	case want:
		return b.Put(key, nil)
	case there && b.Get(key) != nil:
		return b.Delete(key)
	}
	return nil
}

// loose says whether something is remembered of r that may be forgotten one
// day: a context, or a directory's place though nothing is there.
func (r *record) loose() bool {
	return !r.empty() && (len(r.Ctx) > 0 || r.Sub != 0 && !r.exists())
}

func (w *writer) dir(it dirItem) error {
	key := numKey(it.d.num, "")
	if it.gone {
		return w.places.Delete(key)
	}
	return w.places.Put(key, appendDirRecord(nil, it.rec))
}
