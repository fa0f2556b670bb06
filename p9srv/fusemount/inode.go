package fusemount

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// maxDepth bounds the path of an inode, should the server show a tree that
// goes round in circles.
const maxDepth = 4096

// inode is a file that the kernel knows. Its fields are guarded by the
// table's mutex unless they say otherwise.
type inode struct {
	id   uint64 // the kernel's number, never used again in this mount
	path uint64 // QID.Path
	typ  uint32 // S_IFMT bits

	lookups uint64 // how many answers the kernel holds
	pins    int    // requests and open handles that need the fid

	// Where it was seen last. No parent: the root, or it has no name any more.
	parent   *inode
	name     string
	children map[string]*inode   // the known entries of a directory
	absent   map[string]struct{} // names the kernel was told are not there

	sess *session    // of fid
	fid  *client.Fid // unopened; nil: to be walked to

	prev, next *inode // in the table's ring of idle fids
	idle       bool   // in that ring

	epoch    uint64    // counts the events about it
	volatile bool      // QID.Version 0: must not be cached
	mode     uint32    // as last seen
	gid      uint32    // as last seen
	size     uint64    // of a file: the kernel takes it for no longer than that
	cached   uint32    // QID.Version that the kernel's pages are of; 0: none
	wrote    time.Time // when it was last written through this mount
	rest     time.Time // a directory is not compared again before
	unsynced *session  // in which it was changed first since its last fsync; nil: in none

	opened uint32 // QID.Version that was opened last; 0: none, or it was written through this mount since

	stand stand  // of those who write it
	seen  uint32 // QID.Version as last told; 0: not known since it was changed
	left  uint32 // QID.Version of a directory whose session was left; 0: none was, or it is forgotten

	// turned counts how often the file may have got other bytes by another
	// way than this mount's; see handle. It needs no lock.
	turned atomic.Uint64

	// telling is held while the kernel is told of an event about it, and taken
	// before the table's mutex.
	telling sync.Mutex
}

// table holds the inodes by the kernel's number and by QID.Path.
//
// An inode leaves it when the kernel forgets it. The fids of inodes that no
// request needs are kept in a list, at most maxIdle of them; the ones beyond
// are clunked, oldest first, and walked to again when needed. The fid of an
// open file or of one without a name is never given up.
type table struct {
	maxIdle int
	clunk   func(fid *client.Fid) // must not block

	mu     sync.Mutex // guards the rest and the inodes
	next   uint64     // the kernel's number of the next inode
	byID   map[uint64]*inode
	byPath map[uint64]*inode
	idle   inode // head of the ring: next is the oldest, prev the newest
	nidle  int
	missed uint64 // counts the events about files that are not in it
}

func newTable(maxIdle int, clunk func(*client.Fid)) *table {
	t := &table{
		maxIdle: maxIdle,
		clunk:   clunk,
		next:    fuse.FUSE_ROOT_ID + 1,
		byID:    make(map[uint64]*inode),
		byPath:  make(map[uint64]*inode),
	}
	t.idle.prev, t.idle.next = &t.idle, &t.idle
	return t
}

// setRoot makes the inode that stays as long as the mount.
func (t *table) setRoot(q p9srv.QID) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &inode{id: fuse.FUSE_ROOT_ID, path: q.Path, typ: syscall.S_IFDIR, lookups: 1, volatile: q.Version == 0}
	t.byID[n.id], t.byPath[n.path] = n, n
	return n
}

// get is the inode with the kernel's number id, nil if there is none.
func (t *table) get(id uint64) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// find is the inode with that QID.Path that an event is about, nil if the kernel
// knows none.
func (t *table) find(path uint64) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byPath[path]
	if n == nil {
		t.missed++
	}
	return n
}

// all lists the inodes, each of which an event is about.
func (t *table) all() []*inode {
	t.mu.Lock()
	t.missed++
	t.mu.Unlock()
	return t.which(func(*inode) bool { return true })
}

// which lists the inodes for which want is true.
func (t *table) which(want func(*inode) bool) (list []*inode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.byID {
		if want(n) {
			list = append(list, n)
		}
	}
	return list
}

// before is what was known of a file when the server was asked for it.
type before struct {
	n     *inode // nil: nothing
	epoch uint64 // its events, or those of unknown files
	moves uint64
}

// before is taken before a file's attributes are asked for.
func (t *table) before(path uint64) before {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byPath[path]; n != nil {
		return before{n, n.epoch, n.stand.moves}
	}
	return before{epoch: t.missed}
}

// epochAt is the epoch that n had at before. If it was not known then, an event
// about an unknown file may have been about it.
func (t *table) epochAt(n *inode, was before) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if was.n == n {
		return was.epoch
	}
	if was.n == nil && was.epoch == t.missed {
		return 0 // n was unknown, and nothing unknown has changed
	}
	return n.epoch + 1
}

// found is what a walk came to.
type found struct {
	sess *session
	fid  *client.Fid
	attr p9srv.Attr
}

// enter counts a lookup of name in dir that found f, whose fid the table
// takes over. The same QID.Path with another type is another file.
func (t *table) enter(dir *inode, name string, f found) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := f.fid.QID()
	n := t.byPath[q.Path]
	if n == nil || n.typ != f.attr.Mode&syscall.S_IFMT {
		n = &inode{id: t.next, path: q.Path, typ: f.attr.Mode & syscall.S_IFMT}
		t.next++
		t.byID[n.id], t.byPath[n.path] = n, n
	}
	n.lookups++
	n.volatile = q.Version == 0
	t.put(n, dir, name)
	t.keep(n, f.sess, f.fid)
	return n
}

// keep gives n the fid if it has none of that session, else clunks it. A
// request that outlived its session must not bring back its fid.
func (t *table) keep(n *inode, s *session, fid *client.Fid) {
	if n.sess == s && n.fid != nil || s.ended() {
		t.clunk(fid)
	} else {
		n.sess, n.fid = s, fid
	}
	t.rest(n)
}

// put notes that n is called name in dir.
func (t *table) put(n, dir *inode, name string) {
	delete(dir.absent, name)
	if n.id == fuse.FUSE_ROOT_ID || n.parent == dir && n.name == name {
		return
	}
	t.vacate(n)
	if old := dir.children[name]; old != nil {
		t.vacate(old)
	}
	if dir.children == nil {
		dir.children = make(map[string]*inode)
	}
	n.parent, n.name, dir.children[name] = dir, name, n
}

// vacate takes n's name away.
func (t *table) vacate(n *inode) {
	if n.parent != nil && n.parent.children[n.name] == n {
		delete(n.parent.children, n.name)
	}
	n.parent, n.name = nil, ""
	t.wake(n)
}

// moved notes a rename.
func (t *table) moved(dir *inode, name string, to *inode, newName string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := dir.children[name]
	if n != nil {
		t.put(n, to, newName)
		t.rest(n)
	} else if old := to.children[newName]; old != nil {
		t.vacate(old)
	}
}

// gone notes that dir has no entry name any more.
func (t *table) gone(dir *inode, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := dir.children[name]; n != nil {
		t.vacate(n)
	}
}

// child is the inode known as name in dir.
func (t *table) child(dir *inode, name string) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return dir.children[name]
}

// names is the path from the root; ESTALE for a file without a name.
func (t *table) names(n *inode) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for ; n.id != fuse.FUSE_ROOT_ID; n = n.parent {
		if n.parent == nil || len(names) == maxDepth {
			return nil, syscall.ESTALE
		}
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return names, nil
}

// forget takes back n answers; the last one ends the inode.
func (t *table) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil || n.id == fuse.FUSE_ROOT_ID {
		return
	}
	n.lookups -= min(lookups, n.lookups)
	if n.lookups > 0 {
		return
	}
	t.wake(n)
	t.vacate(n)
	delete(t.byID, n.id)
	if t.byPath[n.path] == n {
		delete(t.byPath, n.path)
	}
	if n.pins == 0 {
		t.giveUp(n)
	}
}

// pin keeps n's fid from being given up and returns it, if there is one of
// that session.
func (t *table) pin(n *inode, s *session) *client.Fid {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.pins++
	t.wake(n)
	if n.sess == s {
		return n.fid
	}
	return nil
}

// unpin ends a pin.
func (t *table) unpin(n *inode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.pins--
	t.rest(n)
}

// adopt gives a pinned inode the fid that was walked to, and returns the one
// to use: another request may have been faster.
func (t *table) adopt(n *inode, s *session, fid *client.Fid) *client.Fid {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(n, s, fid)
	if n.sess == s {
		return n.fid
	}
	return fid
}

// rest puts n into the list of idle fids if it may be, and gives up the
// oldest beyond the limit.
func (t *table) rest(n *inode) {
	if n.pins > 0 || n.idle || n.fid == nil {
		return
	}
	if n.lookups == 0 {
		t.giveUp(n)
		return
	}
	if n.parent == nil {
		return
	}
	n.idle = true
	n.prev, n.next = t.idle.prev, &t.idle
	n.prev.next, n.next.prev = n, n
	if t.nidle++; t.nidle > t.maxIdle {
		oldest := t.idle.next
		t.wake(oldest)
		t.giveUp(oldest)
	}
}

// wake takes n out of the list of idle fids.
func (t *table) wake(n *inode) {
	if !n.idle {
		return
	}
	n.prev.next, n.next.prev = n.next, n.prev
	n.prev, n.next, n.idle = nil, nil, false
	t.nidle--
}

func (t *table) giveUp(n *inode) {
	if n.fid != nil {
		t.clunk(n.fid)
	}
	n.sess, n.fid = nil, nil
}
