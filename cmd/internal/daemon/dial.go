package daemon

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/noiseconn"
)

// redialPause is how long a failed dial answers for the next ones, so that a
// peer that is away does not cost every reader a time-out; and how old one that
// is under way must be for a command to begin it anew.
const redialPause = time.Second

// dialing is a dial under way.
type dialing struct {
	began  time.Time
	cancel context.CancelCauseFunc
}

// errDialAgain is why a dial ends that is to begin anew.
var errDialAgain = errors.New("the peer may be elsewhere by now")

// dial connects to the peer where its location is now, also where that changes
// while it is about it.
func (l *link) dial(ctx context.Context) (net.Conn, error) {
	for {
		if err := l.lately(); err != nil {
			return nil, err
		}
		c, err := l.dialOnce(ctx)
		if !errors.Is(err, errDialAgain) {
			return c, err
		}
	}
}

// dialOnce is dial until it is told to begin anew: errDialAgain.
func (l *link) dialOnce(ctx context.Context) (net.Conn, error) {
	dialCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	this := l.beginDial(cancel)
	defer l.endDial(this)
	p, err := l.d.peer(l.key.String())
	if err != nil {
		return nil, err
	}
	if p.Location == "" {
		return nil, ctlfs.Errorf(syscall.EADDRNOTAVAIL, "peer %s has no location: peer location set tells one", p.label())
	}
	c, err := noiseconn.Dial(dialCtx, noiseconn.Config{Key: l.d.key, Log: l.d.log}, p.Location, l.key)
	switch {
	case err == nil:
		l.conns.Add(1)
		return &counted{Conn: c, ended: sync.OnceFunc(func() { l.conns.Add(-1) })}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case dialCtx.Err() != nil:
		return nil, context.Cause(dialCtx)
	}
	err = l.explain(p, err)
	l.remember(err, this.began)
	return nil, err
}

// beginDial notes that a dial is under way that cancel ends.
func (l *link) beginDial(cancel context.CancelCauseFunc) *dialing {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := &dialing{time.Now(), cancel}
	if l.dials == nil {
		l.dials = make(map[*dialing]bool)
	}
	l.dials[n] = true
	return n
}

func (l *link) endDial(n *dialing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.dials, n)
}

// explain says what a failed dial means.
func (l *link) explain(p peerEntry, err error) error {
	errno := syscall.EHOSTUNREACH
	if errors.Is(err, noiseconn.ErrRefused) {
		return ctlfs.Errorf(syscall.EACCES, "peer %s at %s does not let this device in: peer add %s there, and check that %s is its key",
			p.label(), p.Location, l.d.PublicKey(), l.key)
	}
	errors.As(err, &errno)
	return ctlfs.Errorf(errno, "peer %s does not answer at %s: %v", p.label(), p.Location, err)
}

// lately returns the error of a dial that failed a moment ago.
func (l *link) lately() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.failedAt) < redialPause {
		return l.failed
	}
	return nil
}

// remember notes that a dial failed, and when that had begun.
func (l *link) remember(err error, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = err
	if began.After(l.forgiven) {
		l.failedAt = time.Now()
	}
}

// forgive lets the next dial try at once: the peer may be back, or be somewhere
// else, since the last one failed or the one under way began. Of those under way
// all begin anew if the peer has moved, else those that are old: they may wait
// for an answer that was lost, and whoever joins them would wait with them.
func (ls *links) forgive(key noiseconn.PublicKey, moved bool) {
	ls.mu.Lock()
	l := ls.byKey[key]
	ls.mu.Unlock()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed, l.failedAt, l.forgiven = nil, time.Time{}, time.Now()
	for n := range l.dials {
		if moved || time.Since(n.began) >= redialPause {
			n.cancel(errDialAgain)
		}
	}
}
