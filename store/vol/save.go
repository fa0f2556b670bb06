package vol

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// save writes a group in one Bolt transaction.
func (v *Volume) save(g *group) error {
	items := g.filled()
	slices.SortFunc(items, func(a, b item) int {
		if c := cmp.Compare(a.e.dir.num, b.e.dir.num); c != 0 {
			return c
		}
		return strings.Compare(a.e.name, b.e.name)
	})
	stale := g.stale()
	v.stale.note(stale)
	return v.db.Update(func(tx *bbolt.Tx) error {
		w := writer{tx: tx}
		for _, it := range items {
			w.name(it.e.dir.num, it.e.name, it.rec)
		}
		for _, it := range g.places {
			w.place(it)
		}
		w.wants(g)
		w.news(g)
		w.forgetTrees(stale)
		w.meta = []change{{keyState, appendState(nil, &g.state)}}
		return w.write()
	})
}

// filled returns the group's items with bodies in the place of their marks.
// Those of the group stay: others look at them under Volume.mu.
func (g *group) filled() []item {
	items := slices.Clone(g.items)
	bodies := make(map[string]Body, len(g.flushes))
	for _, s := range g.flushes {
		bodies[s.mark] = s.body
	}
	if len(bodies) == 0 {
		return items
	}
	for i := range items {
		rec := items[i].rec
		if rec == nil {
			continue
		}
		for j := range rec.Versions {
			mark := rec.Versions[j].Content
			if body, ok := bodies[mark]; ok {
				rec = rec.filled(mark, body)
			}
		}
		items[i].rec = rec
	}
	return items
}

// change is a key to be put in a bucket, or deleted where value is nil.
type change struct{ key, value []byte }

// presence is the value of keys that need none.
var presence = []byte{1}

// writer gathers what a group changes, bucket by bucket: Bolt takes keys
// quickly only in their order, and finds them more quickly before it has
// taken any.
type writer struct {
	tx                                                                  *bbolt.Tx
	meta, dirs, names, inodes, loose, conflicts, wantings, trees, index []change
}

// write writes it all.
func (w *writer) write() error {
	for _, b := range []struct {
		name    []byte
		changes []change
	}{
		{bucketDirs, w.dirs}, {bucketNames, w.names}, {bucketInodes, w.inodes}, {bucketLoose, w.loose},
		{bucketConflicts, w.conflicts}, {bucketWanted, w.wantings}, {bucketTrees, w.trees}, {bucketIndex, w.index},
		{bucketMeta, w.meta},
	} {
		if err := writeBucket(w.tx.Bucket(b.name), b.changes); err != nil {
			return fmt.Errorf("bucket %s: %w", b.name, err)
		}
	}
	return nil
}

// fillPercent is how full a page is left that is split. Names come in their
// order more often than not. So many changes at once that they are bulk are
// mostly a tree that comes in, to which little will be added: its pages are
// left full.
const (
	fillPercent = 0.9
	bulk        = 1000
)

// writeBucket makes the changes of a bucket. Of a key that is deleted and put
// the value stays.
func writeBucket(b *bbolt.Bucket, changes []change) error {
	b.FillPercent = fillPercent
	if len(changes) >= bulk {
		b.FillPercent = 1
	}
	slices.SortFunc(changes, func(x, y change) int {
		if c := bytes.Compare(x.key, y.key); c != 0 {
			return c
		}
		return cmp.Compare(len(x.value), len(y.value))
	})
	for _, c := range changes {
		var err error
		if c.value == nil {
			err = b.Delete(c.key)
		} else {
			err = putSummed(b, c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recordRoom is what a record without content takes, as a rule, with its
// checksum.
const recordRoom = 256

// name writes the record of a name and keeps right what leads to it.
func (w *writer) name(dir uint64, name string, rec *record) {
	key := numKey(dir, name)
	stored := w.tx.Bucket(bucketNames).Get(key)
	var oldIno, ino uint64
	if h, err := decodeHead(stored); err == nil {
		oldIno = h.ino
	}
	if !rec.empty() {
		ino = rec.Ino
	}
	w.moveIno(key, oldIno, ino)
	w.loose = w.flag(bucketLoose, w.loose, key, stored != nil, rec.loose())
	w.conflicts = w.flag(bucketConflicts, w.conflicts, key, stored != nil, !rec.empty() && rec.conflict())
	switch {
	case !rec.empty():
		w.names = append(w.names, change{key, appendRecord(make([]byte, 0, recordRoom+rec.contentLen()), rec)})
	case stored != nil:
		w.names = append(w.names, change{key, nil})
	}
}

// moveIno keeps the way from a number to its name right. A number that moved
// is taken from one name and given to another, in either order.
func (w *writer) moveIno(key []byte, old, ino uint64) {
	if old == ino {
		return
	}
	if old != 0 {
		w.inodes = append(w.inodes, change{numKey(old, ""), nil})
	}
	if ino != 0 {
		w.inodes = append(w.inodes, change{numKey(ino, ""), key})
	}
}

// flag keeps a key in a bucket, or out of it. there says whether it may be in.
func (w *writer) flag(bucket []byte, changes []change, key []byte, there, want bool) []change {
	switch {
	case want:
		return append(changes, change{key, presence})
	case there && w.tx.Bucket(bucket).Get(key) != nil:
		return append(changes, change{key, nil})
	}
	return changes
}

// loose says whether something is remembered of r that may be forgotten one
// day: a context, or a directory's place though nothing is there.
func (r *record) loose() bool {
	return !r.empty() && (len(r.Ctx) > 0 || r.Sub != 0 && !r.exists())
}

func (w *writer) place(it dirItem) {
	c := change{key: numKey(it.d.num, "")}
	if !it.gone {
		c.value = appendDirRecord(nil, it.rec)
	} else {
		w.dropIndexOf(it.d.num)
	}
	w.dirs = append(w.dirs, c)
}
