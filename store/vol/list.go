package vol

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

// DirEntry is one name in a List.
type DirEntry struct {
	Name    string
	Ino     uint64
	Kind    merge.Kind
	Block   bool   // a device is a block device
	Version uint64 // as Node.Version; that of a directory may lag behind
}

// List returns all names of a directory as they are at one moment, sorted by
// their bytes. A directory that was removed has none.
func (n *Node) List(ctx context.Context) ([]DirEntry, error) {
	v := n.v
	v.mu.Lock()
	defer v.unlock()
	for try := 0; ; try++ {
		d, err := n.dir()
		if err == syscall.ENOENT {
			return nil, nil
		}
		if d == nil || err != nil {
			return nil, err
		}
		l := lister{v: v, dir: d.num, out: make([]DirEntry, 0, d.live), changed: v.unsaved(d)}
		if try == 3 {
			return l.list()
		}
		done := v.done
		v.mu.Unlock()
		list, err := l.list()
		v.mu.Lock()
		if err != nil || v.done == done {
			return list, err
		}
	}
}

// lister lists what Bolt has of a directory, with what was changed since in
// its place.
type lister struct {
	v       *Volume
	dir     uint64
	changed []DirEntry // sorted
	out     []DirEntry
}

func (l *lister) list() ([]DirEntry, error) {
	err := l.v.db.View(func(tx *bbolt.Tx) error {
		return eachName(tx, l.dir, l.stored)
	})
	if err != nil {
		return nil, l.v.damage(err)
	}
	for _, e := range l.changed {
		l.take(e)
	}
	return l.out, nil
}

func (l *lister) take(e DirEntry) {
	if e.Kind != 0 {
		l.out = append(l.out, e)
	}
}

// stored takes a name that Bolt has, after those changed before it.
func (l *lister) stored(name, value []byte) error {
	h, err := decodeHead(value)
	if err != nil {
		return fmt.Errorf("%q in directory %d: %w: %w", name, l.dir, ErrDamaged, err)
	}
	for len(l.changed) > 0 && l.changed[0].Name < string(name) {
		l.take(l.changed[0])
		l.changed = l.changed[1:]
	}
	if len(name) > 0 && (len(l.changed) == 0 || l.changed[0].Name != string(name)) {
		l.take(DirEntry{Name: string(name), Ino: h.ino, Kind: h.kind, Block: h.block, Version: h.change})
	}
	return nil
}

// unsaved are the names in memory that Bolt may have otherwise, sorted; those
// that are gone have kind 0.
func (v *Volume) unsaved(d *dir) []DirEntry {
	var out []DirEntry
	for name, e := range d.children {
		if name != "" && (v.dirty(e.gen) || e.node != nil && e.node.pinned()) {
			out = append(out, e.dirEntry())
		}
	}
	slices.SortFunc(out, func(a, b DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (e *entry) dirEntry() DirEntry {
	out := DirEntry{Name: e.name}
	out.Ino, out.Kind = e.shows()
	if e.rec != nil {
		out.Block, out.Version = e.rec.Block, e.rec.Change
	}
	if e.node != nil {
		out.Version = e.node.version()
	}
	return out
}

// eachName calls fn for all that Bolt has of the names of a directory, sorted.
func eachName(tx *bbolt.Tx, dir uint64, fn func(name, value []byte) error) error {
	prefix := numKey(dir, "")
	c := tx.Bucket(bucketNames).Cursor()
	for k, value := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, value = c.Next() {
		if err := fn(k[len(prefix):], value); err != nil {
			return err
		}
	}
	return nil
}
