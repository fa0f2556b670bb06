package vol

import (
	"fmt"
	"syscall"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

// entryList is the ring of all entries in memory that a directory knows, the
// hand of a clock between the newest and the oldest.
type entryList struct {
	hand  *entry
	n     int
	bytes int // of memory that they take, about
}

func (l *entryList) add(e *entry) {
	if l.hand == nil {
		l.hand, e.next, e.prev = e, e, e
	} else {
		e.next, e.prev = l.hand, l.hand.prev
		e.prev.next, e.next.prev = e, e
	}
	l.n++
	l.bytes += e.size
}

func (l *entryList) remove(e *entry) {
	if l.hand == e {
		l.hand = e.next
	}
	if l.n--; l.n == 0 {
		l.hand = nil
	}
	l.bytes -= e.size
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}

// find returns the entry of a name, which may have no record. v.mu is held.
func (v *Volume) find(d *dir, name string) (*entry, error) {
	if e := d.children[name]; e != nil {
		e.used = true
		return e, nil
	}
	if d.cached == d.records {
		return v.insert(d, name, nil), nil
	}
	var rec *record
	err := v.db.View(func(tx *bbolt.Tx) (err error) {
		rec, err = readRecord(tx, d.num, name)
		return err
	})
	if err != nil {
		return nil, v.damage(err)
	}
	return v.insert(d, name, rec), nil
}

// plainName is about what a name without content takes of memory.
const plainName = 512

// takes is about how much memory e takes, with the bytes that will be part of
// its record: a commit group holds them several times over while it is written.
func (e *entry) takes() int {
	n := plainName + e.rec.contentLen()
	if e.node != nil {
		n += e.node.small
	}
	return n
}

// contentLen is how many bytes of content stand in the record.
func (r *record) contentLen() (n int) {
	if r != nil {
		for i := range r.Versions {
			n += len(r.Versions[i].Content)
		}
	}
	return n
}

// resize counts what e takes now that its record is another.
func (v *Volume) resize(e *entry) {
	more := e.takes() - e.size
	e.size += more
	if e.next != nil {
		v.cache.bytes += more
	}
	if e.gen == v.now.gen {
		v.now.bytes += more
	}
}

// damage is what callers get for what the Bolt file does not have as it must.
func (v *Volume) damage(err error) error {
	v.o.Log.Error("volume cannot be read", "volume", v.id.String(), "err", err)
	return fmt.Errorf("%w: %w", syscall.EIO, err)
}

// insert adds an entry that has just been read.
func (v *Volume) insert(d *dir, name string, rec *record) *entry {
	e := &entry{dir: d, name: name, rec: rec, used: true}
	e.size = e.takes()
	d.children[name] = e
	if !rec.empty() {
		d.cached++
	}
	v.cache.add(e)
	return e
}

// shrink lets go of entries beyond the bound, looking at a few only, more where
// there are many. Those that are not durable cannot go and do not count.
func (v *Volume) shrink(looks int) {
	bound := v.o.CacheEntries*plainName + v.now.bytes
	if v.commit != nil {
		bound += v.commit.bytes
	}
	over := (v.cache.bytes - bound) / plainName
	for looks += min(max(over, 0)/8, 1024); looks > 0 && v.cache.bytes > bound; looks-- {
		e := v.cache.hand
		v.cache.hand = e.next
		if e.used {
			e.used = false
		} else if v.idle(e) {
			v.evict(e)
		}
	}
}

// idle says whether nothing is lost when e leaves memory.
func (v *Volume) idle(e *entry) bool {
	if v.dirty(e.gen) || e == v.root.at {
		return false
	}
	if s := e.sub; s != nil && (len(s.children) > 0 || v.dirty(s.gen)) {
		return false
	}
	in := e.node
	return in == nil || in.refs == 0 && in.file == nil
}

// dirty says whether what was last changed in that group is not durable.
func (v *Volume) dirty(gen uint64) bool {
	return gen == v.now.gen || v.commit != nil && gen == v.commit.gen
}

func (v *Volume) evict(e *entry) {
	v.cache.remove(e)
	delete(e.dir.children, e.name)
	e.dir.left++
	if !e.rec.empty() {
		e.dir.cached--
	}
	if e.sub != nil {
		delete(v.dirs, e.sub.num)
	}
	if e.node != nil {
		e.node.evicted = true
		delete(v.inodes, e.node.num)
	}
}

// subdir returns the directory at e's place, nil if there is none.
func (v *Volume) subdir(e *entry) (*dir, error) {
	if e.sub != nil || e.rec == nil || e.rec.Sub == 0 {
		return e.sub, nil
	}
	var r *dirRecord
	err := v.db.View(func(tx *bbolt.Tx) (err error) {
		r, err = readDirRecord(tx, e.rec.Sub)
		return err
	})
	if err == nil && (r == nil || r.Parent != e.dir.num || r.Name != e.name) {
		err = fmt.Errorf("%w: directory %d of %q in %d is another", ErrDamaged, e.rec.Sub, e.name, e.dir.num)
	}
	if err != nil {
		return nil, v.damage(err)
	}
	return v.addDir(e.rec.Sub, e, r), nil
}

func (v *Volume) addDir(num uint64, e *entry, r *dirRecord) *dir {
	d := newDir(num, r)
	d.at, e.sub = e, d
	v.dirs[num] = d
	return d
}

// dirByNumber returns a directory by its number, 0 standing for the root;
// ESTALE if there is none.
func (v *Volume) dirByNumber(num uint64) (*dir, error) {
	if num == 0 {
		return v.root, nil
	}
	if d := v.dirs[num]; d != nil {
		return d, nil
	}
	var r *dirRecord
	err := v.db.View(func(tx *bbolt.Tx) (err error) {
		r, err = readDirRecord(tx, num)
		return err
	})
	if err != nil {
		return nil, v.damage(err)
	}
	if r == nil || r.Parent == 0 {
		return nil, syscall.ESTALE
	}
	p, err := v.dirByNumber(r.Parent)
	if err != nil {
		return nil, err
	}
	e, err := v.find(p, r.Name)
	if err != nil {
		return nil, err
	}
	if e.rec == nil || e.rec.Sub != num {
		return nil, syscall.ESTALE
	}
	return v.subdir(e)
}

// addInode makes the inode that e shows.
func (v *Volume) addInode(num uint64, kind merge.Kind, e *entry) *inode {
	in := &inode{num: num, kind: kind, at: e}
	e.node = in
	v.inodes[num] = in
	return in
}

// inodeOf returns the inode that e shows, nil for none.
func (v *Volume) inodeOf(e *entry) *inode {
	if e.node == nil {
		if ino, kind := e.shows(); kind != 0 {
			return v.addInode(ino, kind, e)
		}
	}
	return e.node
}

// inodeByNumber returns the inode of a number: ESTALE if there is none.
func (v *Volume) inodeByNumber(num uint64) (*inode, error) {
	if in := v.inodes[num]; in != nil {
		in.at.used = true
		return in, nil
	}
	var at []byte
	err := v.db.View(func(tx *bbolt.Tx) error {
		b, err := getSummed(tx.Bucket(bucketInodes), numKey(num, ""))
		at = append(at, b...)
		return err
	})
	if err != nil {
		return nil, v.damage(err)
	}
	if at == nil {
		return nil, syscall.ESTALE
	}
	dirNum, name := splitKey(at)
	d, err := v.dirByNumber(dirNum)
	if err != nil {
		return nil, err
	}
	e, err := v.find(d, string(name))
	if err != nil {
		return nil, err
	}
	if in := v.inodeOf(e); in != nil && in.num == num {
		return in, nil
	}
	return nil, syscall.ESTALE
}
