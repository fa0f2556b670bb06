package p9srv

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one connection. Whoever holds the baton (sched.go) reads it.
type conn struct {
	srv    *Server
	id     uint64
	ctx    context.Context // the parent of values in the requests' contexts
	nc     net.Conn
	memory Account
	in     input          // the baton's holder's
	out    output         // has a lock of its own, taken after mu
	turn   atomic.Uint64  // odd: the holder runs cur; goes up with every change
	cur    *request       // set before turn becomes odd
	wg     sync.WaitGroup // the goroutines of this connection
	ticked uint64         // the watchdog's: turn when it last looked

	sess     atomic.Pointer[session]
	overdue  atomic.Bool  // flushed is not empty; set under mu
	slowSync atomic.Bool  // the last sync took a watchdog's tick or longer
	xattrs   atomic.Int64 // bytes of extended attributes that fids stand for
	slow     atomic.Int32 // requests that the watchdog found, and that go on; set under mu
	working  atomic.Int32 // requests that run beside the holder, abandoned ones too; set under mu

	mu      sync.Mutex          // guards what follows, all fid tables and the requests' flags
	tags    map[uint16]*request // requests not answered that run beside the holder or wait in backlog
	backlog []*request          // came when the connection was full
	waiting int                 // bytes charged to the backlog
	held    int                 // bytes charged to those at work
	flushed []*request          // with flushes that wait until a deadline
	closed  bool
	err     error
	room    chan struct{} // gets a token when something ended, for the holder
}

func newConn(ctx context.Context, s *Server, nc net.Conn) *conn {
	c := &conn{
		srv: s, id: s.lastConn.Add(1), nc: nc,
		memory: Account{srv: s},
		tags:   make(map[uint16]*request),
		room:   make(chan struct{}, 1),
	}
	c.ctx = context.WithValue(ctx, accountKey{}, &c.memory)
	c.sess.Store(newSession(c, dialectNone, firstMsize))
	c.in.start(nc)
	c.out.start(nc, s.WriteTimeout, &c.memory)
	return c
}

// end ends the connection; only the baton's holder calls it, once.
func (c *conn) end(err error) {
	c.nc.Close()
	c.out.stop(net.ErrClosed)
	c.mu.Lock()
	c.closed, c.err = true, err
	c.dropBacklog()
	for _, r := range c.tags {
		r.abandoned = true
		r.ctx.cancel()
	}
	clear(c.tags)
	c.setFlushed(nil)
	fids := c.sess.Load().close()
	c.mu.Unlock()
	c.in.stop()
	c.srv.releaseAll(fids)
}

// result is what ServeConn returns of the connection's end.
func (c *conn) result() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.err, io.EOF) || errors.Is(c.err, net.ErrClosed) {
		return nil
	}
	return c.err
}

// next reads the next request to be run by the holder. Requests that come
// while the connection is full go to the backlog; a Tflush does not wait.
func (c *conn) next() (*request, error) {
	for {
		if err := c.out.waitRoom(c.maxUnread()); err != nil {
			return nil, err
		}
		r, err := c.receive()
		if err != nil {
			return nil, err
		}
		run, err := c.admit(r)
		if run || err != nil {
			return r, err
		}
		if !c.in.ready() {
			c.out.flush()
		}
	}
}

// receive reads one message.
func (c *conn) receive() (*request, error) {
	if err := c.in.fill(4); err != nil {
		return nil, err
	}
	sess := c.sess.Load() // a Tversion may have been answered while we waited
	msg, own, err := c.in.next(sess.msize)
	if err != nil {
		return nil, err
	}
	r := newRequest(c)
	r.sess, r.frame, r.size = sess, own, len(msg)
	r.typ = MsgType(msg[4])
	r.tag = uint16(msg[5]) | uint16(msg[6])<<8
	r.in = NewDecoder(msg[HeaderSize:])
	return r, nil
}

// Limits of one connection beside those of the Server.
const (
	maxBacklog      = 4096             // requests
	maxBacklogBytes = 4 << 20          // bytes, and at least one request
	requestOverhead = 512              // what a request is charged with beside its bytes
	maxStall        = 60 * time.Second // how long nothing may end while all is taken
)

// maxUnread is how many bytes of replies may wait for the client to read
// them before no more requests are taken. More than sureMemory are always on
// their way to it.
func (c *conn) maxUnread() int {
	if c.memory.crowded() {
		return sureMemory
	}
	return 1<<20 + int(c.sess.Load().msize)
}

// maxHeld is how many bytes the requests at work may hold together.
func (c *conn) maxHeld() int { return 16<<20 + 4*int(c.sess.Load().msize) }

// full is true while no more requests may be started; mu is held.
func (c *conn) full() bool {
	return int(c.working.Load()) >= c.srv.maxRequests() || c.held >= c.maxHeld() ||
		c.held > sureMemory && c.memory.crowded()
}

// holds counts n bytes more of requests at work; mu is held.
func (c *conn) holds(n int) {
	c.held += n
	c.memory.charge(int64(n))
}

// waits counts n bytes more of requests in the backlog; mu is held.
func (c *conn) waits(n int) {
	c.waiting += n
	c.memory.charge(int64(n))
}

// mustWait is true while the backlog has no room for n bytes; mu is held.
func (c *conn) mustWait(n int) bool {
	return c.full() && (c.waiting > 0 && c.waiting+n > maxBacklogBytes || c.waiting > sureMemory && c.memory.crowded())
}

var errStalled = errors.New("too many requests that do not end")

// admit decides whether the holder runs r now. If not, r went to the backlog.
func (c *conn) admit(r *request) (bool, error) {
	if c.working.Load() == 0 || r.typ == Tflush || r.typ == Tversion {
		return true, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.full() {
		return true, nil
	}
	for c.mustWait(r.size + requestOverhead) {
		if err := c.waitRoom(); err != nil {
			return false, err
		}
	}
	if !c.full() {
		return true, nil
	}
	if len(c.backlog) >= maxBacklog {
		return false, errStalled
	}
	if c.tags[r.tag] != nil {
		return true, nil // to be refused
	}
	c.enqueue(r)
	return false, nil
}

// waitRoom waits until something ended; mu is held, but not meanwhile.
func (c *conn) waitRoom() error {
	c.mu.Unlock()
	defer c.mu.Lock()
	c.out.flush()
	t := time.NewTimer(maxStall)
	defer t.Stop()
	select {
	case <-c.room:
		return nil
	case <-t.C:
		return errStalled
	case <-c.ctx.Done():
		return net.ErrClosed
	}
}

// freed says that something ended; mu is held.
func (c *conn) freed() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// enqueue puts r, whose bytes may stand in the read buffer, into the
// backlog; mu is held.
func (c *conn) enqueue(r *request) {
	if r.frame == nil {
		r.frame = newBuffer(r.in.Len())
		r.in = NewDecoder(r.frame.b[:copy(r.frame.b, r.in.b)])
	}
	r.passed = true
	c.backlog = append(c.backlog, r)
	c.waits(r.size + requestOverhead)
	c.tags[r.tag] = r
}

// dequeue takes a request out of the backlog; mu is held.
func (c *conn) dequeue() *request {
	if len(c.backlog) == 0 {
		return nil
	}
	r := c.backlog[0]
	c.backlog[0] = nil
	c.backlog = c.backlog[1:]
	c.waits(-r.size - requestOverhead)
	return r
}

// dropBacklog forgets the requests that were not begun; mu is held.
func (c *conn) dropBacklog() {
	for r := c.dequeue(); r != nil; r = c.dequeue() {
		delete(c.tags, r.tag)
		r.recycle()
	}
}
