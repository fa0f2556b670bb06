package fusemount

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// signalPoll is how often an interrupted request looks at its caller's
// signals, orphanAfter how long a caller may be without any.
const (
	signalPoll  = 50 * time.Millisecond
	orphanAfter = time.Second
)

// wait says which signals end a request.
type wait bool

const (
	brief wait = false // those that end the process, as for a file on a disk
	long  wait = true  // any: reads of streams, waiting for locks
)

// op is one request of the kernel, as the context of what is done for it.
//
// The kernel tells of an interrupt once, for whatever signal. A file on a
// disk never answers EINTR, so programs do not expect it of stat or read:
// only a signal that ends the process may cancel such a request. op.watch
// looks at the signals that are pending for the caller, until the request is
// over.
type op struct {
	caller uint32 // thread number, 0 if it has none that we can see
	wait   wait
	done   chan struct{} // closed: the request is cancelled
	over   chan struct{} // closed: the request was answered
}

var _ context.Context = (*op)(nil)

// waits says whether what is done with ctx may take any time.
func waits(ctx context.Context) bool {
	o, ok := ctx.(*op)
	return ok && o.wait == long
}

// Deadline is none.
func (o *op) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed when the request is cancelled.
func (o *op) Done() <-chan struct{} { return o.done }

// Err is context.Canceled after Done.
func (o *op) Err() error {
	select {
	case <-o.done:
		return context.Canceled
	default:
		return nil
	}
}

// Value is nil.
func (o *op) Value(any) any { return nil }

// ops starts requests and ends them all when the mount ends.
type ops struct {
	stop     chan struct{} // closed: no request waits any more
	stopOnce sync.Once
	watchers sync.WaitGroup
}

// begin makes a request's context; end must be called when it is answered.
func (a *ops) begin(cancel <-chan struct{}, caller uint32, w wait) *op {
	o := &op{caller: caller, wait: w, done: make(chan struct{}), over: make(chan struct{})}
	a.watchers.Go(func() { o.watch(cancel, a.stop) })
	return o
}

func (o *op) end() { close(o.over) }

// cancelAll cancels all requests, those that come too.
func (a *ops) cancelAll() { a.stopOnce.Do(func() { close(a.stop) }) }

func (o *op) watch(cancel, stop <-chan struct{}) {
	select {
	case <-o.over:
		return
	case <-stop:
		close(o.done)
		return
	case <-cancel:
	}
	t := time.NewTicker(signalPoll)
	defer t.Stop()
	for began := time.Now(); !o.mustEnd(time.Since(began)); {
		select {
		case <-o.over:
			return
		case <-stop:
			close(o.done)
			return
		case <-t.C:
		}
	}
	close(o.done)
}

// mustEnd judges the caller's signals. One that is gone, or whose signals
// went away while we still hold its request (the mount was aborted), needs no
// answer any more.
func (o *op) mustEnd(waited time.Duration) bool {
	if o.caller == 0 {
		return o.wait == long || waited >= orphanAfter
	}
	p, err := pendingSignals(o.caller)
	switch {
	case err != nil, p.fatal:
		return true
	case p.any && o.wait == long:
		return true
	}
	return !p.some && waited >= orphanAfter
}

// maxErrno bounds what the kernel takes as an answer: it leaves a request
// with any other number unanswered for ever.
const maxErrno = 511

// status is err as the kernel wants it. ENOSYS from the server would switch
// the operation off for the whole mount.
func status(err error) fuse.Status {
	if errors.Is(err, context.Canceled) {
		return fuse.EINTR
	}
	errno, said := err.(syscall.Errno)
	switch {
	case err == nil:
		return fuse.OK
	case !said || errno == 0 || errno > maxErrno:
		return fuse.EIO
	case errno == syscall.ENOSYS:
		return fuse.ENOTSUP
	}
	return fuse.Status(errno)
}
