package p9srv

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// request is one message at work, and the context of the Node methods that
// it calls.
type request struct {
	c    *conn
	sess *session // of the time when it came
	typ  MsgType
	tag  uint16
	size int  // bytes that it is charged with
	more bool // another had come whole when it was begun
	in   Decoder

	frame  *buffer // holds the message, unless it stands in the connection's read buffer
	pinned *buffer // the read buffer that the message stands in, once the baton is gone

	out  []byte   // the reply: its header and what follows, small
	data [][]byte // the rest of the reply, not copied
	free *buffer  // holds data

	ctx requestContext

	// Guarded by c.mu.
	passed    bool     // runs beside the holder of the baton
	slow      bool     // the watchdog passed it
	finished  bool     // its reply stands in the output
	committed bool     // took effect on the fids: it will be answered
	abandoned bool     // was answered for by an Rflush, or its session is gone
	flushes   []uint16 // tags of the Tflush that wait for its end
	deadline  time.Time
}

var requestPool = sync.Pool{New: func() any { return &request{out: make([]byte, 0, 512)} }}

func newRequest(c *conn) *request {
	r := requestPool.Get().(*request)
	r.c = c
	r.ctx.parent = c.ctx
	return r
}

// recycle gives back what r borrowed, and r itself unless its context was
// seen by someone who may still look at it.
func (r *request) recycle() {
	r.frame.release()
	r.pinned.release()
	seen := r.ctx.end()
	if seen || r.passed {
		return
	}
	out, data := r.out, r.data
	clear(data)
	if cap(out) > 2*copyLimit {
		out = nil
	}
	*r = request{out: out[:0], data: data[:0]}
	requestPool.Put(r)
}

// charge counts the n bytes of data that the reply will hold, unless they are
// few. It comes before the baton is passed: the next request is begun only if there
// is memory left.
func (r *request) charge(n int) {
	if n <= copyLimit {
		return
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.size += n
	if r.passed {
		r.c.holds(n)
	}
}

// begin starts the reply.
func (r *request) begin() {
	r.out = append(r.out[:0], 0, 0, 0, 0, byte(r.typ)+1, byte(r.tag), byte(r.tag>>8))
	clear(r.data)
	r.data, r.free = r.data[:0], nil
}

// fail makes the reply an error.
func (r *request) fail(err error) {
	r.free.release()
	r.begin()
	switch r.sess.dialect {
	case dialectL:
		r.out[4] = byte(Rlerror)
		r.out = put32(r.out, uint32(errnoOf(err)))
	case dialectU:
		r.out[4] = byte(Rerror)
		r.out = put32(AppendString(r.out, textOf(err)), uint32(errnoOf(err)))
	default:
		r.out[4] = byte(Rerror)
		r.out = AppendString(r.out, textOf(err))
	}
}

// seal sets the reply's size. One that is too long becomes an error.
func (r *request) seal() {
	n := len(r.out)
	for _, p := range r.data {
		n += len(p)
	}
	if n > int(r.sess.msize) {
		r.fail(syscall.EMSGSIZE)
		n = len(r.out)
	}
	binary.LittleEndian.PutUint32(r.out, uint32(n))
}

// run calls the message's handler and leaves the reply in r.
func (r *request) run() (err error) {
	r.begin()
	h := r.sess.dialect.handler(r.typ)
	if h == nil {
		return syscall.EOPNOTSUPP
	}
	defer r.c.srv.recovered(r.typ, &err)
	return h(r)
}

// parsed is the error of a message that was too short.
func (r *request) parsed() error {
	if r.in.Bad() {
		return syscall.EINVAL
	}
	return nil
}

// requestContext is the context of one request. Unlike context.WithCancel
// it costs nothing until somebody waits for it.
type requestContext struct {
	parent  context.Context // for values only
	stopped atomic.Bool

	mu   sync.Mutex // guards closing and replacing done
	done atomic.Pointer[chan struct{}]
}

// Deadline is none.
func (x *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value is the connection's.
func (x *requestContext) Value(key any) any { return x.parent.Value(key) }

// Err is context.Canceled once the request was flushed or its connection lost.
func (x *requestContext) Err() error {
	if x.stopped.Load() {
		return context.Canceled
	}
	return nil
}

// Done is closed when Err becomes something.
func (x *requestContext) Done() <-chan struct{} {
	if done := x.done.Load(); done != nil {
		return *done
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if done := x.done.Load(); done != nil {
		return *done
	}
	done := make(chan struct{})
	if x.stopped.Load() {
		close(done)
	}
	x.done.Store(&done)
	return done
}

func (x *requestContext) cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if done := x.done.Load(); !x.stopped.Swap(true) && done != nil {
		close(*done)
	}
}

// end ends the context with its request; true: somebody may still hold it.
func (x *requestContext) end() bool {
	seen := x.done.Load() != nil
	if seen {
		x.cancel()
	}
	return seen
}
