package daemon

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"syscall"

	"bazil/ctlfs"
	"bazil/noiseconn"
	"bazil/store"
)

// feeds is what an open volume follows.
type feeds struct {
	mu     sync.Mutex // guards all below
	byKey  map[noiseconn.PublicKey]*feed
	closed bool
}

// start follows a peer, unless that is done already.
func (fs *feeds) start(d *Daemon, v *openVolume, key noiseconn.PublicKey) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed || fs.byKey[key] != nil {
		return
	}
	if fs.byKey == nil {
		fs.byKey = make(map[noiseconn.PublicKey]*feed)
	}
	fs.byKey[key] = newFeed(d, v, key)
}

// stop follows a peer no longer.
func (fs *feeds) stop(key noiseconn.PublicKey) {
	fs.mu.Lock()
	f := fs.byKey[key]
	delete(fs.byKey, key)
	fs.mu.Unlock()
	if f != nil {
		f.stop()
	}
}

// close ends all feeds for good.
func (fs *feeds) close() {
	fs.mu.Lock()
	fs.closed = true
	all := fs.byKey
	fs.byKey = nil
	fs.mu.Unlock()
	for _, f := range all {
		f.stop()
	}
}

// list returns the feeds in a fixed order.
func (fs *feeds) list() (all []*feed) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.byKey {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *feed) int { return cmp.Compare(a.key.String(), b.key.String()) })
	return all
}

// records tells what the volume follows.
func (fs *feeds) records() (all []ctlfs.Record) {
	for _, f := range fs.list() {
		all = append(all, f.record())
	}
	return all
}

// knock tells all feeds from a peer that it is there.
func (d *Daemon) knock(key noiseconn.PublicKey) {
	for _, name := range d.volumes.names() {
		v := d.volumes.get(name)
		if v == nil {
			continue
		}
		if v.vol != nil {
			v.keeper.kick()
		}
		for _, f := range v.feeds.list() {
			if f.key == key {
				f.knock()
			}
		}
	}
}

// startFeeds follows what the configuration says.
func (d *Daemon) startFeeds() error {
	return d.view(func(tx *store.Tx) error {
		all, err := listVolumes(tx)
		for _, e := range all {
			for _, key := range e.Follow {
				d.startFeed(e.name, key)
			}
		}
		return err
	})
}

// startFeed follows a peer with a volume that is open.
func (d *Daemon) startFeed(volume, key string) {
	v := d.volumes.get(volume)
	k, err := noiseconn.ParsePublicKey(key)
	if v != nil && v.vol != nil && err == nil {
		v.feeds.start(d, v, k)
	}
}

// volumeFollow is the command.
func (d *Daemon) volumeFollow(_ context.Context, c *ctlfs.Call) error {
	on := c.Arg("mode") != "off"
	name := c.Arg("volume")
	var p peerEntry
	err := d.update(func(tx *store.Tx) error {
		e, err := findVolume(tx, name)
		if err != nil {
			return err
		}
		if p, err = findPeer(tx, c.Arg("peer")); err != nil {
			return err
		}
		key := p.key.String()
		switch has := slices.Contains(e.Follow, key); {
		case on && p.Location == "":
			return ctlfs.Errorf(syscall.EADDRNOTAVAIL, "peer %s has no location: peer location set tells one", p.label())
		case !on && !has:
			return ctlfs.Errorf(syscall.ENOENT, "volume %q does not follow peer %s", name, p.label())
		case on && !has:
			e.Follow = append(e.Follow, key)
		case !on:
			e.Follow = without(e.Follow, key)
		}
		return e.put(tx)
	})
	switch {
	case err != nil:
		return err
	case on:
		d.startFeed(name, p.key.String())
		d.event("volume.follow", "volume", name, "peer", p.label())
	default:
		if v := d.volumes.get(name); v != nil {
			v.feeds.stop(p.key)
		}
		d.event("volume.follow.off", "volume", name, "peer", p.label())
	}
	return nil
}
