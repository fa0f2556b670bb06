package daemon

import (
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
	dials    map[*dialing]bool
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
		d.links.forgive(p.key, false)
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
