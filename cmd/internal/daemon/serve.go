package daemon

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"

	"bazil/noiseconn"
	"bazil/noiseconn/peer"
	"bazil/p9srv"
	"bazil/store"
	"bazil/store/vol"
)

// guests is the connections of peers to this device.
type guests struct {
	serving sync.WaitGroup // the goroutine that accepts, and one for each connection

	mu    sync.Mutex // guards conns
	conns map[*noiseconn.Conn]bool
}

func (g *guests) add(c *noiseconn.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		g.conns = make(map[*noiseconn.Conn]bool)
	}
	g.conns[c] = true
}

func (g *guests) remove(c *noiseconn.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// hangUp closes the connections of a peer.
func (g *guests) hangUp(key noiseconn.PublicKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		if c.RemoteKey() == key {
			go c.Close() // it tells the other side, which may take a while
		}
	}
}

// here tells whether a peer is connected to this device.
func (g *guests) here(key noiseconn.PublicKey) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		if c.RemoteKey() == key {
			return true
		}
	}
	return false
}

// servePeers accepts connections until the listener is closed.
func (d *Daemon) servePeers(ctx context.Context) {
	for {
		c, err := d.listener.AcceptPeer()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			d.log.Error("no peers are accepted any more", "err", err)
			d.event("listen.failed", "error", err.Error())
			return
		}
		d.guests.serving.Go(func() { d.servePeer(ctx, c) })
	}
}

// servePeer shows a peer the tree that its key may see.
func (d *Daemon) servePeer(ctx context.Context, c *noiseconn.Conn) {
	d.guests.add(c)
	defer d.guests.remove(c)
	key := c.RemoteKey()
	if !d.known(key) { // removed since the handshake
		c.Close()
		return
	}
	d.event("peer.connected", "peer", d.peerLabel(key))
	d.knock(key)
	s := &p9srv.Server{Tree: peer.NewTree(backend{d}, key, d.log), MaxMsize: 1 << 20, Log: d.log}
	err := s.ServeConn(ctx, c)
	if err != nil && ctx.Err() == nil {
		d.log.Info("connection of a peer ended", "peer", key.Short(), "err", err)
	}
	d.event("peer.gone", "peer", d.peerLabel(key))
}

// known tells whether a key is a peer's.
func (d *Daemon) known(key noiseconn.PublicKey) bool {
	_, err := d.peer(key.String())
	return err == nil
}

// peerLabel is what to call the peer with that key.
func (d *Daemon) peerLabel(key noiseconn.PublicKey) string {
	p, err := d.peer(key.String())
	if err != nil {
		return key.String()
	}
	return p.label()
}

// backend is what peers get to see, each what it is allowed.
type backend struct{ d *Daemon }

// Volumes lists the volumes that a peer may see.
func (b backend) Volumes(key noiseconn.PublicKey) []string {
	p, err := b.d.peer(key.String())
	if err != nil {
		return nil
	}
	return p.Volumes
}

// Storage lists the backends that a peer may fetch chunks from.
func (b backend) Storage(key noiseconn.PublicKey) []string {
	p, err := b.d.peer(key.String())
	if err != nil {
		return nil
	}
	return p.Storage
}

// Volume returns a volume that the peer may see. Of others it does not tell
// whether they are there.
func (b backend) Volume(key noiseconn.PublicKey, name string) (*vol.Volume, error) {
	if !slices.Contains(b.Volumes(key), name) {
		return nil, &peer.Denied{Key: key, What: "volume", Name: name}
	}
	v, _, ok := b.d.Volume(name)
	if !ok {
		return nil, &peer.Absent{What: "volume", Name: name}
	}
	return v, nil
}

// Chunks returns the storage that the peer may fetch from.
func (b backend) Chunks(key noiseconn.PublicKey, name string) (*store.Chunks, error) {
	if !slices.Contains(b.Storage(key), name) {
		return nil, &peer.Denied{Key: key, What: "storage", Name: name}
	}
	if name != localBackend {
		return nil, &peer.Absent{What: "storage", Name: name}
	}
	return b.d.store.Chunks(), nil
}
