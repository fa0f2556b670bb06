package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/noiseconn"
	"bazil/noiseconn/peer"
)

// redialPause is how long a failed dial answers for the next ones, so that a
// peer that is away does not cost every reader a time-out.
const redialPause = time.Second

// links is what this device uses of its peers: a client for each, made when
// something is first wanted of it.
type links struct {
	mu     sync.Mutex // guards all below
	byKey  map[noiseconn.PublicKey]*link
	closed bool
}

// link is this device's way to one peer.
type link struct {
	d       *Daemon
	key     noiseconn.PublicKey
	client  *peer.Client
	storage *peer.Storage // its own chunks

	conns atomic.Int32 // that are open

	mu       sync.Mutex // guards all below
	failed   error      // of the last dial
	failedAt time.Time
	forgiven time.Time // dials that began before answer for themselves only
}

// get returns the link to a peer.
func (ls *links) get(d *Daemon, key noiseconn.PublicKey) (*link, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return nil, errClosing
	}
	l := ls.byKey[key]
	if l == nil {
		l = &link{d: d, key: key}
		l.client = peer.New(l.dial, peer.Options{})
		l.storage = l.client.Storage(peer.LocalStorage)
		if ls.byKey == nil {
			ls.byKey = make(map[noiseconn.PublicKey]*link)
		}
		ls.byKey[key] = l
	}
	return l, nil
}

var errClosing = ctlfs.Errorf(syscall.ESHUTDOWN, "the server is stopping")

// drop ends the link to a peer, and all that uses it.
func (ls *links) drop(key noiseconn.PublicKey) error {
	ls.mu.Lock()
	l := ls.byKey[key]
	delete(ls.byKey, key)
	ls.mu.Unlock()
	if l == nil {
		return nil
	}
	return l.client.Close()
}

// close ends all links for good.
func (ls *links) close() error {
	ls.mu.Lock()
	ls.closed = true
	all := ls.byKey
	ls.byKey = nil
	ls.mu.Unlock()
	var errs []error
	for _, l := range all {
		errs = append(errs, l.client.Close())
	}
	return errors.Join(errs...)
}

// dial connects to the peer where its location is now.
func (l *link) dial(ctx context.Context) (net.Conn, error) {
	if err := l.lately(); err != nil {
		return nil, err
	}
	began := time.Now()
	p, err := l.d.peer(l.key.String())
	if err != nil {
		return nil, err
	}
	if p.Location == "" {
		return nil, ctlfs.Errorf(syscall.EADDRNOTAVAIL, "peer %s has no location: peer location set tells one", p.label())
	}
	c, err := noiseconn.Dial(ctx, noiseconn.Config{Key: l.d.key, Log: l.d.log}, p.Location, l.key)
	if ctx.Err() != nil && err != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		err = l.explain(p, err)
		l.remember(err, began)
		return nil, err
	}
	l.conns.Add(1)
	return &counted{Conn: c, ended: sync.OnceFunc(func() { l.conns.Add(-1) })}, nil
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

// forgive lets the next dial try at once, also if one is under way that fails:
// the peer may be back, or be somewhere else, since that began.
func (ls *links) forgive(key noiseconn.PublicKey) {
	ls.mu.Lock()
	l := ls.byKey[key]
	ls.mu.Unlock()
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failed, l.failedAt, l.forgiven = nil, time.Time{}, time.Now()
	}
}

// counted is a connection that tells when it is closed.
type counted struct {
	net.Conn
	ended func()
}

// Close closes the connection.
func (c *counted) Close() error {
	c.ended()
	return c.Conn.Close()
}

// linkState says how a peer is connected: out if this device dialed, in if it
// was dialed, or what went wrong last.
func (d *Daemon) linkState(key noiseconn.PublicKey) (state, problem string) {
	d.links.mu.Lock()
	l := d.links.byKey[key]
	d.links.mu.Unlock()
	out := l != nil && l.conns.Load() > 0
	in := d.guests.here(key)
	switch {
	case out && in:
		return "both", ""
	case out:
		return "out", ""
	case l != nil:
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.failed != nil {
			problem = l.failed.Error()
		}
	}
	if in {
		return "in", problem
	}
	return "none", problem
}

// toPeer finds a peer and the link to it.
func (d *Daemon) toPeer(ref string) (peerEntry, *link, error) {
	p, err := d.peer(ref)
	if err != nil {
		return p, nil, err
	}
	l, err := d.links.get(d, p.key)
	if err == nil {
		d.links.forgive(p.key)
	}
	return p, l, err
}

// hangUp ends all connections with a peer.
func (d *Daemon) hangUp(key noiseconn.PublicKey) error {
	d.guests.hangUp(key)
	if err := d.links.drop(key); err != nil {
		return fmt.Errorf("hang up on peer %s: %w", key, err)
	}
	return nil
}
