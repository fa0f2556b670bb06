package p9srv

import (
	"strings"
	"syscall"
	"time"
)

// dialect is what Tversion agreed on.
type dialect uint8

const (
	dialectNone dialect = iota // no Tversion yet
	dialectPlain
	dialectU
	dialectL
)

var dialectNames = [...]string{dialectNone: "unknown", dialectPlain: "9P2000", dialectU: "9P2000.u", dialectL: "9P2000.L"}

// dialectOf finds the dialect to answer a client with that asks for version.
// What follows a dialect and a period is an extension of it, which we do not
// know, as version(5) says; but 9P2000 itself has no others than ours.
func dialectOf(version string) dialect {
	for d := dialectL; d > dialectNone; d-- {
		rest, ok := strings.CutPrefix(version, dialectNames[d])
		if ok && (rest == "" || rest[0] == '.' && d != dialectPlain) {
			return d
		}
	}
	return dialectNone
}

type handler func(*request) error

// handler finds who answers messages of type t; nil: the dialect has none.
func (d dialect) handler(t MsgType) handler {
	switch {
	case t == Tversion:
		return version
	case t == Tflush:
		return flush
	case d == dialectL:
		return handlerL(t)
	case d != dialectNone:
		return handlerPlain(t)
	}
	return nil
}

// handlerL finds who answers a message of 9P2000.L.
func handlerL(t MsgType) handler {
	switch t {
	case Tauth:
		return auth
	case Tattach:
		return attach
	case Twalk:
		return walk
	case Tread:
		return read
	case Twrite:
		return write
	case Tclunk:
		return clunk
	case Tremove:
		return remove
	case Tgetattr:
		return getattr
	case Tsetattr:
		return setattr
	case Tlopen:
		return lopen
	case Tlcreate:
		return lcreate
	case Treaddir:
		return readdir
	case Tfsync:
		return fsync
	case Tstatfs:
		return statfs
	case Treadlink:
		return readlink
	case Tlock:
		return lock
	case Tgetlock:
		return getlock
	case Txattrwalk:
		return xattrwalk
	case Txattrcreate:
		return xattrcreate
	}
	return handlerNames(t)
}

// handlerNames finds who answers a message of 9P2000.L that makes, moves or
// removes a name.
func handlerNames(t MsgType) handler {
	switch t {
	case Tsymlink:
		return symlink
	case Tmknod:
		return mknod
	case Tmkdir:
		return mkdir
	case Tlink:
		return link
	case Trename:
		return rename
	case Trenameat:
		return renameat
	case Tunlinkat:
		return unlinkat
	}
	return nil
}

// session is what lies between two Tversion: the fids. c.mu guards it.
type session struct {
	c       *conn
	dialect dialect
	msize   uint32
	fids    map[uint32]*fid
	working int   // its requests that run beside the holder of the baton
	room    int   // fids that may be had without asking
	held    int64 // bytes of memory for fids
	closed  bool
}

func newSession(c *conn, d dialect, msize uint32) *session {
	return &session{c: c, dialect: d, msize: msize, fids: make(map[uint32]*fid)}
}

// close empties the fid table; the caller puts what was in it, without mu.
func (s *session) close() []*fid {
	s.closed = true
	fids := make([]*fid, 0, len(s.fids))
	for _, f := range s.fids {
		fids = append(fids, f)
	}
	clear(s.fids)
	s.c.memory.Give(s.held)
	s.held = 0
	return fids
}

// version answers Tversion: msize[4] version[s].
func version(r *request) error {
	msize, asked := r.in.U32(), r.in.String()
	if err := r.parsed(); err != nil {
		return err
	}
	c := r.c
	msize = min(msize, c.srv.maxMsize())
	if msize < SmallestMsize {
		return &Error{Errno: syscall.EINVAL, Text: "message size too small"}
	}
	d := dialectOf(asked)
	s := newSession(c, d, msize)
	c.renew(r, s)
	if d != dialectNone {
		msize = s.msize
	}
	r.out = AppendString(put32(r.out, msize), dialectNames[d])
	return nil
}

// versionWait is how long Tversion waits for the requests of the session
// before it. Those that go on are not heard of any more.
const versionWait = 100 * time.Millisecond

// renew ends the session: its requests are cancelled and its fids clunked.
func (c *conn) renew(r *request, s *session) {
	c.mu.Lock()
	c.dropBacklog()
	for _, other := range c.tags {
		if other != r {
			other.abandoned = true
			other.ctx.cancel()
		}
	}
	clear(c.tags)
	c.setFlushed(nil)
	old := c.sess.Load()
	fids := old.close()
	if s.dialect == dialectNone {
		s.msize = firstMsize
	}
	s.msize = c.memory.agree(s.msize)
	c.sess.Store(s)
	c.awaitWork(old, r)
	c.mu.Unlock()
	c.srv.releaseAll(fids)
}

// awaitWork waits for a while until no request of a session is at work but r;
// mu is held, but not meanwhile.
func (c *conn) awaitWork(s *session, r *request) {
	t := time.NewTimer(versionWait)
	defer t.Stop()
	for {
		others := s.working
		if r.passed {
			others--
		}
		if others <= 0 {
			return
		}
		c.mu.Unlock()
		select {
		case <-c.room:
			c.mu.Lock()
		case <-t.C:
			c.mu.Lock()
			return
		}
	}
}

// attach answers Tattach: fid[4] afid[4] uname[s] aname[s], and n_uname[4]
// in 9P2000.L and .u.
func attach(r *request) error {
	num, afid := r.in.U32(), r.in.U32()
	user, aname := User{Name: r.in.String(), UID: NoUID}, r.in.String()
	if r.sess.dialect != dialectPlain && r.in.Len() > 0 {
		user.UID = r.in.U32()
	}
	if err := r.parsed(); err != nil {
		return err
	}
	if afid != NoFid {
		return errNoAuth
	}
	node, err := r.c.srv.Tree.Attach(&r.ctx, user, aname)
	if err != nil {
		return err
	}
	qid := node.QID()
	f := newFid(r.c, newNodeRef(node, qid), place{root: qid.Path})
	if err := r.install(num, f); err != nil {
		f.put()
		return err
	}
	r.out = AppendQID(r.out, plainQID(qid, r.sess.dialect))
	return nil
}

// auth refuses Tauth, as a server does that asks for no authentication.
func auth(*request) error { return errNoAuth }

var errNoAuth = &Error{Errno: syscall.EOPNOTSUPP, Text: "authentication not required"}
