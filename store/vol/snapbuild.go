package vol

import (
	"context"
	"fmt"
	"hash/fnv"

	"go.etcd.io/bbolt"

	"bazil/merge"
	"bazil/store"
)

// A directory's entries are cut into chunks behind names that a hash picks, so
// that a change moves no other cut.
const (
	snapChunkMin = 32 << 10
	snapChunkMax = 512 << 10
	snapCutMask  = 1<<8 - 1 // one name in 256 beyond the minimum
)

// snapTree is the tree of a directory and what is in it.
type snapTree struct {
	ptr   store.Pointer // zero: it is empty
	files int64
	bytes int64
}

const snapTreeVersion = 1

func appendSnapTree(b []byte, t *snapTree) []byte {
	e := encoder{b: b}
	e.byte(snapTreeVersion)
	e.b = t.ptr.Append(e.b)
	e.int(t.files)
	e.int(t.bytes)
	return e.b
}

func decodeSnapTree(b []byte) (snapTree, error) {
	d := decoder{b: b}
	if v := d.byte(); v != snapTreeVersion && d.err == nil {
		return snapTree{}, unknownVersion("tree", v, snapTreeVersion)
	}
	t := snapTree{ptr: d.pointer(), files: d.int(), bytes: d.int()}
	return t, d.end()
}

// snapBuilder makes the trees of a committed state; those of directories that
// did not change since an earlier snapshot are as they were.
type snapBuilder struct {
	v    *Volume
	ctx  context.Context
	tx   *bbolt.Tx
	made map[uint64]snapTree
	buf  []byte // scratch for sealing
}

// dir returns the tree of a directory's place.
func (b *snapBuilder) dir(num uint64) (snapTree, error) {
	old, err := getSummed(b.tx.Bucket(bucketTrees), numKey(num, ""))
	if old != nil || err != nil {
		var t snapTree
		if err == nil {
			t, err = decodeSnapTree(old)
		}
		if err != nil {
			return t, fmt.Errorf("tree of directory %d: %w", num, damaged(err))
		}
		return t, nil
	}
	var t snapTree
	w := &snapWriter{b: b}
	err = eachName(b.tx, num, func(name, value []byte) error {
		if len(name) == 0 {
			return b.ctx.Err()
		}
		rec, err := decodeRecord(value)
		if err != nil {
			return fmt.Errorf("%q in directory %d: %w", name, num, damaged(err))
		}
		if rec.kind() == 0 {
			return nil
		}
		x, err := b.entry(string(name), rec, &t)
		if err != nil {
			return err
		}
		return w.add(&x)
	})
	if err == nil {
		t.ptr, err = w.finish()
	}
	if err != nil {
		return t, err
	}
	b.made[num] = t
	return t, nil
}

// entry is what a snapshot has of a name. t takes in what is there.
func (b *snapBuilder) entry(name string, rec *record, t *snapTree) (snapEntry, error) {
	x := snapEntry{
		name: name, kind: rec.kind(), block: rec.Block, rdev: rec.Rdev,
		mtime: rec.mtime(), ctime: rec.CTime, btime: rec.BTime, xattrs: rec.attr().Xattrs,
	}
	x.mode, x.uid, x.gid = settings(rec)
	if x.kind != merge.KindDir {
		if ver := rec.version(); ver != nil {
			x.content = ver.Content
		}
		t.files++
		t.bytes += rec.size()
		return x, nil
	}
	if rec.Sub == 0 {
		return x, nil
	}
	sub, err := b.dir(rec.Sub)
	x.tree = sub.ptr
	t.files += sub.files
	t.bytes += sub.bytes
	return x, err
}

func (b *snapBuilder) seal(t store.ChunkType, plain []byte) (store.Pointer, error) {
	p, sealed, err := b.v.o.Sealer.Seal(b.buf[:0], t, plain)
	b.buf = sealed
	if err != nil {
		return p, fmt.Errorf("seal a %v chunk: %w", t, err)
	}
	if _, err := b.v.o.Chunks.Put(b.ctx, p.ID, sealed); err != nil {
		return p, fmt.Errorf("store a %v chunk: %w", t, err)
	}
	return p, nil
}

// snapWriter cuts the entries of one directory into chunks, and what leads to
// these into chunks again.
type snapWriter struct {
	b      *snapBuilder
	levels []snapLevel
	enc    []byte // scratch
}

// snapLevel is a chunk under way, and what was cut before it.
type snapLevel struct {
	plain []byte
	first string
	n     int // chunks cut
}

func (w *snapWriter) add(x *snapEntry) error {
	w.enc = appendSnapEntry(w.enc[:0], x)
	return w.append(0, x.name, w.enc)
}

// append adds an item that begins with a name to a level.
func (w *snapWriter) append(level int, first string, item []byte) error {
	if level == len(w.levels) {
		w.levels = append(w.levels, snapLevel{})
	}
	if l := &w.levels[level]; len(l.plain) > 0 && len(l.plain)+len(item) > snapChunkMax {
		if _, err := w.cut(level); err != nil {
			return err
		}
	}
	l := &w.levels[level]
	if len(l.plain) == 0 {
		l.plain, l.first = snapHead(l.plain, level), first
	}
	l.plain = append(l.plain, item...)
	if len(l.plain) < snapChunkMin || !snapCutsAfter(first) {
		return nil
	}
	_, err := w.cut(level)
	return err
}

func snapCutsAfter(name string) bool {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()>>8&snapCutMask == 0
}

// cut stores the chunk of a level and adds it to the level above.
func (w *snapWriter) cut(level int) (store.Pointer, error) {
	l := &w.levels[level]
	p, err := w.b.seal(store.ChunkTree, l.plain)
	if err != nil {
		return p, err
	}
	first := l.first
	l.plain = l.plain[:0]
	l.n++
	e := encoder{}
	e.string(first)
	return p, w.append(level+1, first, p.Append(e.b))
}

// finish returns the pointer of the topmost chunk.
func (w *snapWriter) finish() (store.Pointer, error) {
	for level := 0; level < len(w.levels); level++ {
		l := &w.levels[level]
		top := l.n == 0
		if top {
			return w.b.seal(store.ChunkTree, l.plain)
		}
		if len(l.plain) > 0 {
			if _, err := w.cut(level); err != nil {
				return store.Pointer{}, err
			}
		}
	}
	return store.Pointer{}, nil
}
