package fusemount

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// handle is an open file or directory. It pins its inode.
//
// When the connection was lost, use opens the file again by its path, if it
// still is the same file, and takes its locks again. Where that fails, the
// handle's requests get the error of then: ESTALE if the file is gone, EIO if
// somebody else got its locks or what it was writing is not what is there now
// (stand), and that for good.
//
// The server lets a fid that is open for reading go on with the version of
// the file that it opened, when a peer's takes its place. The kernel cannot: it
// has one set of pages for all who have the file open, and would give the
// pages that one reader of the old version asked for to those who opened the
// new one. So a handle that only reads opens the file again when it has
// changed (inode.turned); what is removed, it goes on reading.
//
// Another node of the kernel for the version that a peer brought would keep the
// pages apart, as those of a file that was renamed over are, and the volume could
// say in its change event that a peer replaced the file, which a QID does not tell
// from a write here, whose bytes a reader must see. But the two nodes would be one
// file, with one number, one name and one set of locks. What is changed through
// one (bytes, size, times) would have to be told the kernel of the other each time;
// a writer that has the old one open or mapped would go on over its pages while
// the server shows one version to both; and the event comes when some have
// already opened the new version by the old node. Without the kernel's pages every
// read would be a request.
type handle struct {
	b      *bridge
	n      *inode
	flags  uint32 // of open(2), to open it again with
	stream bool   // never cached; reads may wait

	now    atomic.Pointer[opened]
	turned atomic.Uint64 // inode.turned when now was opened

	turn chan struct{} // holds one token; who has it may change the rest
	dead error         // its locks were lost, or what it writes
	both opened        // see other
	list listing       // of a directory
}

// opened is a handle's fid in one session, or why it has none.
type opened struct {
	sess *session
	fid  *client.Fid
	err  error
}

// openFlags are those of open(2) that the server gets: O_SYNC becomes fsync
// requests of the kernel, O_DIRECT is the kernel's business too.
const openFlags = syscall.O_ACCMODE | syscall.O_APPEND | syscall.O_TRUNC | syscall.O_DIRECTORY | syscall.O_CREAT | syscall.O_EXCL

// newHandle makes the handle of a file whose fid was just opened, and pins n.
func (b *bridge) newHandle(s *session, n *inode, fid *client.Fid, flags uint32) *handle {
	h := &handle{b: b, n: n, flags: flags &^ (syscall.O_TRUNC | syscall.O_CREAT | syscall.O_EXCL),
		stream: fid.QID().Version == 0 && fid.QID().Type&p9srv.QTDir == 0, turn: make(chan struct{}, 1)}
	h.now.Store(&opened{sess: s, fid: fid})
	h.turned.Store(n.turned.Load())
	b.inodes.pin(n, s)
	return h
}

// take gets the handle's turn, give returns it.
func (h *handle) take(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *handle) give() { <-h.turn }

// use is the handle's fid in s.
func (h *handle) use(ctx context.Context, s *session) (*client.Fid, error) {
	if o := h.now.Load(); o.sess == s && !h.isOld() {
		return o.fid, o.err
	}
	if err := h.take(ctx); err != nil {
		return nil, err
	}
	defer h.give()
	return h.useInTurn(ctx, s)
}

// useInTurn is use for those who have the handle's turn: until they give it,
// the fid stays the handle's.
func (h *handle) useInTurn(ctx context.Context, s *session) (*client.Fid, error) {
	if o := h.now.Load(); o.sess == s {
		return h.renew(ctx, o)
	}
	h.turned.Store(h.n.turned.Load())
	o := opened{sess: s, err: h.dead}
	if o.err == nil {
		o.fid, o.err = h.reopen(ctx, s)
	}
	if _, said := o.err.(syscall.Errno); o.err != nil && !said {
		return nil, o.err // a lost connection, an interrupt: try again
	}
	h.now.Store(&o)
	return o.fid, o.err
}

// isOld says whether a handle that only reads may have an old version. One
// with locks keeps its fid: they are the fid's.
func (h *handle) isOld() bool {
	return h.turned.Load() != h.n.turned.Load() && h.flags&syscall.O_ACCMODE == syscall.O_RDONLY &&
		h.n.typ == syscall.S_IFREG && !h.stream && !h.b.locks.holds(h)
}

// renew opens the file again in the session that it is open in, if it may
// have changed.
func (h *handle) renew(ctx context.Context, o *opened) (*client.Fid, error) {
	turned := h.n.turned.Load()
	if !h.isOld() || o.err != nil {
		return o.fid, o.err
	}
	fid, err := h.openAgain(ctx, o.sess, h.flags)
	if _, said := err.(syscall.Errno); err != nil && !said {
		return nil, err
	}
	h.turned.Store(turned)
	if err != nil {
		return o.fid, nil // it is gone, or not for us any more
	}
	h.now.Store(&opened{sess: o.sess, fid: fid})
	h.b.clunk(o.fid)
	return fid, nil
}

// reopen opens the file in a new session.
func (h *handle) reopen(ctx context.Context, s *session) (*client.Fid, error) {
	fid, err := h.openAgain(ctx, s, h.flags)
	if err == nil && h.writes() && !h.b.judge(h.n, s, fid.QID().Version) {
		err = errTurned
	}
	if err == nil {
		err = h.relock(ctx, s, fid)
	}
	if err == nil {
		return fid, nil
	}
	h.b.log.Warn("fusemount: an open file could not be opened again", "inode", h.n.path, "err", err)
	if fid != nil {
		h.b.clunk(fid)
	}
	if errors.Is(err, errLockLost) || errors.Is(err, errTurned) {
		h.dead = syscall.EIO
		return nil, h.dead
	}
	return nil, err
}

// errTurned says that a file is not what its writer left.
var errTurned = errors.New("it is not the version that was being written")

// writes says whether bytes of a file may be changed through h.
func (h *handle) writes() bool {
	return h.flags&syscall.O_ACCMODE != syscall.O_RDONLY && h.n.typ == syscall.S_IFREG && !h.stream
}

// openAgain walks to the file and opens it.
func (h *handle) openAgain(ctx context.Context, s *session, flags uint32) (*client.Fid, error) {
	fid, err := h.b.clone(ctx, s, h.n, h.b.link.uid)
	if err != nil {
		return nil, err
	}
	if err = fid.Open(ctx, flags); err != nil {
		h.b.clunk(fid)
		return nil, err
	}
	return fid, nil
}

// other is a fid of the file that reads and writes and does not append. Two
// things need it: the kernel writes mapped pages back through any open file
// that can write, also one that appends; and flock(2) takes an exclusive lock
// of a file that is only open for reading.
func (h *handle) other(ctx context.Context, s *session) (*client.Fid, error) {
	if err := h.take(ctx); err != nil {
		return nil, err
	}
	defer h.give()
	return h.otherInTurn(ctx, s)
}

// otherInTurn is other for those who have the handle's turn.
func (h *handle) otherInTurn(ctx context.Context, s *session) (*client.Fid, error) {
	if h.both.sess == s {
		return h.both.fid, nil
	}
	fid, err := h.openAgain(ctx, s, syscall.O_RDWR)
	if err != nil {
		return nil, err
	}
	h.both = opened{sess: s, fid: fid}
	return fid, nil
}

// close clunks what the handle has; no request uses it any more.
func (h *handle) close() {
	for _, o := range []*opened{h.now.Load(), &h.both} {
		if o.fid != nil {
			h.b.clunk(o.fid)
		}
	}
	h.b.inodes.unpin(h.n)
}

// handles numbers the open files for the kernel.
type handles struct {
	mu   sync.Mutex // guards the rest
	next uint64
	open map[uint64]*handle
}

func newHandles() *handles { return &handles{open: make(map[uint64]*handle)} }

func (t *handles) add(h *handle) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	t.open[t.next] = h
	return t.next
}

func (t *handles) get(fh uint64) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[fh]
}

func (t *handles) remove(fh uint64) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.open[fh]
	delete(t.open, fh)
	return h
}

func (t *handles) all() []*handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*handle, 0, len(t.open))
	for _, h := range t.open {
		list = append(list, h)
	}
	return list
}

// restore opens the open files again over a new session, so that files that
// are renamed or removed later are still the same, and locks are ours before
// anybody asks.
func (b *bridge) restore(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	b.recall(ctx, s)
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, maxRestores)
	for _, h := range b.handles.all() {
		slots <- struct{}{}
		under.Go(func() {
			h.use(ctx, s) //nolint:errcheck // the handle keeps its error
			<-slots
		})
	}
}
