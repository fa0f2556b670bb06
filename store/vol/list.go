package vol

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"runtime"
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
// their bytes. A directory that was removed has none. The slice is shared:
// nobody may change it.
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
		if d.list != nil && d.listed == d.edits {
			return d.list, nil
		}
		if d.cached == d.records {
			out, same := v.look(d, slices.Collect(maps.Values(d.children)), try < 3)
			if !same {
				continue
			}
			edits := d.edits
			v.mu.Unlock()
			list := sortEntries(slices.DeleteFunc(out, func(e DirEntry) bool { return e.Kind == 0 || e.Name == "" }))
			v.mu.Lock()
			v.listings.keep(d, list, edits)
			return list, nil
		}
		changed, same := v.look(d, v.unsaved(d), try < 3)
		if !same {
			continue
		}
		l := lister{v: v, dir: d.num, out: make([]DirEntry, 0, d.live), changed: changed}
		if try == 3 {
			return l.list()
		}
		done, edits := v.done, d.edits
		v.mu.Unlock()
		list, err := l.list()
		v.mu.Lock()
		if err != nil {
			return nil, err
		}
		if v.done == done {
			v.listings.keep(d, list, edits)
			return list, nil
		}
	}
}

// listings are the directories that remember what List returned last, by age.
type listings struct {
	dirs []*dir
	cost int
}

const (
	maxListed  = 128 << 10 // entries remembered in all
	listedCost = 8         // entries that a remembered directory counts beside its own
)

// keep remembers the list of d as it was when d.edits was edits.
func (l *listings) keep(d *dir, list []DirEntry, edits uint64) {
	if len(list) > maxListed/2 {
		return
	}
	if d.list == nil {
		l.dirs = append(l.dirs, d)
		l.cost += listedCost
	}
	l.cost += len(list) - len(d.list)
	d.list, d.listed = list, edits
	for l.cost > maxListed {
		old := l.dirs[0]
		l.dirs[0], l.dirs = nil, l.dirs[1:]
		l.cost -= len(old.list) + listedCost
		old.list = nil
	}
}

// lister lists what Bolt has of a directory, with what was changed since in
// its place.
type lister struct {
	v       *Volume
	dir     uint64
	changed []DirEntry // in any order until list sorts them
	out     []DirEntry
}

func (l *lister) list() ([]DirEntry, error) {
	l.changed = sortEntries(l.changed)
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
		return fmt.Errorf("%q in directory %d: %w", name, l.dir, damaged(err))
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

// listPiece is how many names are looked at before others have their turn: each
// costs a third of a microsecond, and 60,000 at once kept them waiting for 28 ms.
const listPiece = 2048

// look tells of entries of d, those that are gone with kind 0. v.mu is given free
// in between, if it may be; same is false if d was changed meanwhile. An entry
// that left memory then tells what it told before.
func (v *Volume) look(d *dir, entries []*entry, mayPause bool) (out []DirEntry, same bool) {
	edits := d.edits
	out = make([]DirEntry, len(entries))
	for i, e := range entries {
		if mayPause && i%listPiece == listPiece-1 {
			v.mu.Unlock()
			runtime.Gosched()
			v.mu.Lock()
			if d.edits != edits {
				return nil, false
			}
		}
		out[i] = e.dirEntry()
	}
	return out, true
}

// unsaved are the names in memory that Bolt may have otherwise, in any order.
func (v *Volume) unsaved(d *dir) (changed []*entry) {
	for name, e := range d.children {
		if name != "" && (v.dirty(e.gen) || e.node != nil && e.node.pinned()) {
			changed = append(changed, e)
		}
	}
	return changed
}

// sortKey stands for an entry while it is sorted: 8 bytes of its name behind
// what all names begin with decide nearly always, and moving keys is cheap.
type sortKey struct {
	head uint64
	i    int
}

// sortEntries returns the entries sorted by name.
func sortEntries(list []DirEntry) []DirEntry {
	if len(list) < 2 {
		return list
	}
	skip := commonPrefix(list)
	keys := make([]sortKey, len(list))
	for i := range list {
		var head [8]byte
		copy(head[:], list[i].Name[skip:])
		keys[i] = sortKey{binary.BigEndian.Uint64(head[:]), i}
	}
	slices.SortFunc(keys, func(a, b sortKey) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		return strings.Compare(list[a.i].Name, list[b.i].Name)
	})
	out := make([]DirEntry, len(list))
	for i, k := range keys {
		out[i] = list[k.i]
	}
	return out
}

// commonPrefix is how many bytes all names begin with.
func commonPrefix(list []DirEntry) int {
	first := list[0].Name
	n := len(first)
	for i := range list {
		name := list[i].Name
		n = min(n, len(name))
		for first[:n] != name[:n] {
			n--
		}
	}
	return n
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
// That they are as many as the directory's record says is checked at the end.
func eachName(tx *bbolt.Tx, dir uint64, fn func(name, value []byte) error) error {
	prefix := numKey(dir, "")
	n := uint64(0)
	c := tx.Bucket(bucketNames).Cursor()
	for k, value := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, value = c.Next() {
		name := k[len(prefix):]
		value, err := checkSum(k, value)
		if err != nil {
			return fmt.Errorf("%q in directory %d: %w", name, dir, err)
		}
		if err := fn(name, value); err != nil {
			return err
		}
		n++
	}
	return checkCount(tx, dir, n)
}
