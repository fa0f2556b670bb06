package p9srv

import (
	"context"
	"sync/atomic"
	"syscall"
)

// fid is what a number of the client stands for. Its node never changes: a
// message that gives a number to another file puts another fid in its place,
// so that requests at work keep the one that they began with.
type fid struct {
	refs atomic.Int32 // the table's and those of the requests at work
	conn *conn
	node *nodeRef
	dir  *nodeRef // in 9P2000 and .u: where node was found; nil: unknown
	at   place
	file atomic.Pointer[openFile] // nil until opened
	attr *xattr                   // not nil: an extended attribute, see xattr.go

	locked atomic.Bool // may hold locks
}

// place is where a fid stands below its attach.
type place struct {
	root  uint64 // QID path of the attached directory
	depth int    // walked steps below it
	name  string // the last of them
}

// nodeRef is a Node that several fids share; the last one releases it.
type nodeRef struct {
	Node
	isDir bool // which a Node is or is not for good
	refs  atomic.Int32
}

// newNodeRef takes over a Node with that QID.
func newNodeRef(n Node, qid QID) *nodeRef {
	ref := &nodeRef{Node: n, isDir: qid.Type&QTDir != 0}
	ref.refs.Store(1)
	return ref
}

func (n *nodeRef) hold() *nodeRef {
	n.refs.Add(1)
	return n
}

func (n *nodeRef) drop() {
	if n.refs.Add(-1) == 0 {
		n.Node.Release()
	}
}

// openFile is a File and what the server knows of it.
type openFile struct {
	File
	lender  BufferReader // nil if it lends nothing
	stream  bool
	isDir   bool
	dir     DirReader // of a directory; nil if it cannot be listed
	read    bool
	write   bool
	remove  bool   // when the fid is clunked
	claimed uint64 // QID path of a file for exclusive use, if sole
	sole    bool
	pause   atomic.Bool // the next read of a stream gives 0 bytes
	listing *listing    // of a directory in 9P2000
}

// Flags of Tlopen and Tlcreate, which are Linux's on x86 whatever the
// machine; Node.Open gets them so.
const (
	openAccess    = 0x3
	openWrite     = 0x1
	openReadWrite = 0x2
	openCreate    = 0x40
	openExcl      = 0x80
	openTrunc     = 0x200
	openAppend    = 0x400
	openDirectory = 0x10000
	// Those that mean something at the client only: O_NOCTTY, O_ASYNC,
	// O_LARGEFILE, O_NOFOLLOW and O_CLOEXEC.
	openElsewhere = 0x100 | 0x2000 | 0x8000 | 0x20000 | 0x80000
)

// newOpenFile looks at the File of a node of that kind.
func newOpenFile(file File, kind QIDType, flags uint32) *openFile {
	o := &openFile{File: file, isDir: kind&QTDir != 0}
	access := flags & openAccess
	o.read, o.write = access != openWrite, access == openWrite || access == openReadWrite
	o.lender, _ = file.(BufferReader)
	if s, ok := file.(Stream); ok {
		o.stream = s.IsStream()
	}
	if o.isDir {
		o.dir, _ = file.(DirReader)
		o.listing = newListing()
	}
	return o
}

// newFid makes a fid that owns ref.
func newFid(c *conn, ref *nodeRef, at place) *fid {
	f := &fid{conn: c, node: ref, at: at}
	f.refs.Store(1)
	return f
}

// setDir notes where node was found, in the dialects that need it.
func (f *fid) setDir(d dialect, dir, node *nodeRef) {
	if f.dir != nil {
		f.dir.drop()
		f.dir = nil
	}
	if d != dialectL && f.at.name != "" && node != dir {
		f.dir = dir.hold()
	}
}

// put gives up a reference; the last one closes the file.
func (f *fid) put() error {
	if f.refs.Add(-1) > 0 {
		return nil
	}
	var err error
	if f.locked.Load() {
		f.conn.srv.locks().releaseFid(f)
	}
	o := f.file.Load()
	if o != nil {
		err = o.close(f.conn)
	}
	if o != nil && o.remove {
		if e := f.removeFile(f.conn.ctx); err == nil {
			err = e
		}
	}
	f.node.drop()
	if f.dir != nil {
		f.dir.drop()
	}
	if f.attr != nil {
		f.conn.xattrs.Add(-f.attr.held)
		f.conn.memory.Give(f.attr.held)
	}
	return err
}

// removeFile removes the file of f, which is not the root of its attach.
func (f *fid) removeFile(ctx context.Context) error {
	p, ok := f.node.Node.(Placed)
	switch {
	case f.at.depth == 0:
		return syscall.EBUSY
	case !ok:
		return syscall.EOPNOTSUPP
	}
	return p.Remove(ctx)
}

func (s *Server) releaseAll(fids []*fid) {
	for _, f := range fids {
		s.release(f)
	}
}

func (s *Server) release(f *fid) (err error) {
	defer s.recovered(Tclunk, &err)
	return f.put()
}

// fid finds the client's fid and holds it until put.
func (r *request) fid(num uint32) (*fid, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	f := r.sess.fids[num]
	if f == nil {
		return nil, syscall.EBADF
	}
	f.refs.Add(1)
	return f, nil
}

// take finds the client's fid and removes it from the table, whose
// reference is the caller's now.
func (r *request) take(num uint32) (*fid, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	f := r.sess.fids[num]
	if f == nil {
		return nil, syscall.EBADF
	}
	delete(r.sess.fids, num)
	r.committed = true
	return f, nil
}

// commit says that the request takes effect now: it will be answered. c.mu
// is held.
func (r *request) commit() error {
	if r.abandoned || r.sess.closed {
		return errAbandoned
	}
	r.committed = true
	return nil
}

// install enters f, which the table owns then, under a number that is free.
func (r *request) install(num uint32, f *fid) error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.sess.fids[num] != nil || num == NoFid {
		return errFidInUse
	}
	if err := r.commit(); err != nil {
		return err
	}
	if !r.sess.roomForFid() {
		return syscall.EMFILE
	}
	r.sess.fids[num] = f
	return nil
}

// replace enters f in the place of old; both numbers are one.
func (r *request) replace(num uint32, old, f *fid) error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.sess.fids[num] != old {
		return syscall.EBADF
	}
	if err := r.commit(); err != nil {
		return err
	}
	r.sess.fids[num] = f
	return nil
}

// errFidInUse refuses a new fid whose number is taken.
var errFidInUse = &Error{Errno: syscall.EBADF, Text: "fid in use"}
