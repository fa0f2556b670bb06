package daemon

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"bazil/ctlfs"
	"bazil/noiseconn"
	"bazil/store"
)

func (d *Daemon) peerAdd(_ context.Context, c *ctlfs.Call) error {
	key, err := noiseconn.ParsePublicKey(c.Arg("key"))
	if err != nil {
		return ctlfs.Errorf(syscall.EINVAL, "peer add: %v", err)
	}
	p := peerEntry{key: key, peerRecord: peerRecord{Name: c.Arg("name")}}
	if key == d.key.Public() {
		return ctlfs.Errorf(syscall.EINVAL, "peer add: that is this device's own key")
	}
	err = d.update(func(tx *store.Tx) error {
		err := tx.Get(peerTable, key.String(), new(peerRecord))
		if err == nil {
			return ctlfs.Errorf(syscall.EEXIST, "peer %s is known already", key)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := freePeerName(tx, p.Name); err != nil {
			return err
		}
		return p.put(tx)
	})
	if err == nil {
		d.event("peer.add", "peer", p.label(), "key", key.String())
	}
	return err
}

// freePeerName checks that a new name for a peer can be told from all others
// and from keys; "" is no name.
func freePeerName(tx *store.Tx, name string) error {
	if name == "" {
		return nil
	}
	if err := ctlfs.CheckName("peer", name); err != nil {
		return err
	}
	if _, err := noiseconn.ParsePublicKey(name); err == nil {
		return ctlfs.Errorf(syscall.EINVAL, "peer name %q is a public key: choose another", name)
	}
	switch _, err := findPeer(tx, name); {
	case err == nil:
		return ctlfs.Errorf(syscall.EEXIST, "there is a peer %q already", name)
	case errors.Is(err, syscall.ENOENT):
		return nil
	default:
		return err
	}
}

// changePeer changes the record of the peer that c names, in one transaction.
func (d *Daemon) changePeer(c *ctlfs.Call, event string, change func(tx *store.Tx, p *peerEntry) error) error {
	var p peerEntry
	err := d.update(func(tx *store.Tx) (err error) {
		if p, err = findPeer(tx, c.Arg("peer")); err != nil {
			return err
		}
		if err := change(tx, &p); err != nil {
			return err
		}
		return p.put(tx)
	})
	if err == nil {
		d.event(event, "peer", p.label(), "volume", c.Arg("volume"), "storage", c.Arg("backend"), "location", c.Arg("addr"))
	}
	return err
}

func (d *Daemon) peerRename(_ context.Context, c *ctlfs.Call) error {
	return d.changePeer(c, "peer.rename", func(tx *store.Tx, p *peerEntry) error {
		if p.Name == c.Arg("name") {
			return nil
		}
		p.Name = c.Arg("name")
		return freePeerName(tx, p.Name)
	})
}

func (d *Daemon) peerRemove(_ context.Context, c *ctlfs.Call) error {
	var p peerEntry
	err := d.update(func(tx *store.Tx) (err error) {
		if p, err = findPeer(tx, c.Arg("peer")); err != nil {
			return err
		}
		volumes, err := listVolumes(tx)
		if err != nil {
			return err
		}
		for _, v := range volumes {
			if slices.Contains(v.Storage, peerBackend(p.key)) {
				return ctlfs.Errorf(syscall.EBUSY, "peer %s is storage of volume %q: volume storage remove comes first", p.label(), v.name)
			}
			if slices.Contains(v.Follow, p.key.String()) {
				return ctlfs.Errorf(syscall.EBUSY, "peer %s is followed by volume %q: volume follow %s %s off comes first", p.label(), v.name, v.name, p.label())
			}
		}
		return tx.Delete(peerTable, p.key.String())
	})
	if err != nil {
		return err
	}
	d.event("peer.remove", "peer", p.label())
	return d.hangUp(p.key)
}

func (d *Daemon) peerLocationSet(_ context.Context, c *ctlfs.Call) error {
	addr := c.Arg("addr")
	if err := checkAddr(addr); err != nil {
		return err
	}
	var key noiseconn.PublicKey
	err := d.changePeer(c, "peer.location", func(_ *store.Tx, p *peerEntry) error {
		p.Location, key = addr, p.key
		return nil
	})
	if err == nil {
		d.links.forgive(key, true)
	}
	return err
}

// checkAddr wants HOST:PORT.
func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
			return nil
		}
	}
	return ctlfs.Errorf(syscall.EINVAL, "location %q is not HOST:PORT, as in 192.0.2.42:34211 or [2001:db8::1]:34211", addr)
}

func (d *Daemon) peerLocationClear(_ context.Context, c *ctlfs.Call) error {
	return d.changePeer(c, "peer.location", func(_ *store.Tx, p *peerEntry) error {
		p.Location = ""
		return nil
	})
}

func (d *Daemon) peerStorageAllow(_ context.Context, c *ctlfs.Call) error {
	backend := c.Arg("backend")
	if backend != localBackend {
		return ctlfs.Errorf(syscall.EINVAL, "storage %q cannot be allowed to a peer: local can", backend)
	}
	return d.changePeer(c, "peer.storage.allow", func(_ *store.Tx, p *peerEntry) error {
		p.Storage = with(p.Storage, backend)
		return nil
	})
}

func (d *Daemon) peerStorageRevoke(_ context.Context, c *ctlfs.Call) error {
	return d.changePeer(c, "peer.storage.revoke", func(_ *store.Tx, p *peerEntry) error {
		if !slices.Contains(p.Storage, c.Arg("backend")) {
			return ctlfs.Errorf(syscall.ENOENT, "peer %s is not allowed storage %q", p.label(), c.Arg("backend"))
		}
		p.Storage = without(p.Storage, c.Arg("backend"))
		return nil
	})
}

func (d *Daemon) peerVolumeAllow(_ context.Context, c *ctlfs.Call) error {
	return d.changePeer(c, "peer.volume.allow", func(tx *store.Tx, p *peerEntry) error {
		if _, err := findVolume(tx, c.Arg("volume")); err != nil {
			return err
		}
		p.Volumes = with(p.Volumes, c.Arg("volume"))
		return nil
	})
}

func (d *Daemon) peerVolumeRevoke(_ context.Context, c *ctlfs.Call) error {
	return d.changePeer(c, "peer.volume.revoke", func(_ *store.Tx, p *peerEntry) error {
		if !slices.Contains(p.Volumes, c.Arg("volume")) {
			return ctlfs.Errorf(syscall.ENOENT, "peer %s is not allowed volume %q", p.label(), c.Arg("volume"))
		}
		p.Volumes = without(p.Volumes, c.Arg("volume"))
		return nil
	})
}

// with and without return the sorted set with s in it, and not in it.
func with(set []string, s string) []string {
	i, ok := slices.BinarySearch(set, s)
	if ok {
		return set
	}
	return slices.Insert(slices.Clone(set), i, s)
}

func without(set []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(set), func(t string) bool { return t == s })
}

func (d *Daemon) peerList(ctx context.Context, c *ctlfs.Call) error {
	records, err := d.peerStatus(ctx)
	c.Records(records)
	return err
}

func (d *Daemon) peerStatus(context.Context) ([]ctlfs.Record, error) {
	var records []ctlfs.Record
	err := d.view(func(tx *store.Tx) error {
		all, err := listPeers(tx)
		for _, p := range all {
			records = append(records, d.peerRecord(p))
		}
		return err
	})
	return records, err
}

func (d *Daemon) peerRecord(p peerEntry) ctlfs.Record {
	link, problem := d.linkState(p.key)
	return ctlfs.Rec("peer", p.label(), "key", p.key.String(), "location", p.Location,
		"link", link, "problem", problem, "storage", strings.Join(p.Storage, ","), "volumes", ctlfs.Join(p.Volumes))
}

// peerObjects is the peers as ctl shows them.
type peerObjects struct{ d *Daemon }

// Names lists the peers.
func (o peerObjects) Names(context.Context) (names []string, err error) {
	err = o.d.view(func(tx *store.Tx) error {
		all, err := listPeers(tx)
		for _, p := range all {
			names = append(names, p.label())
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

// Get finds a peer by name or key.
func (o peerObjects) Get(_ context.Context, name string) (ctlfs.Object, error) {
	p := peerObject{d: o.d}
	err := o.d.view(func(tx *store.Tx) (err error) {
		p.p, err = findPeer(tx, name)
		return err
	})
	return p, err
}

// peerObject is one peer as it was found.
type peerObject struct {
	d *Daemon
	p peerEntry
}

// Name is the name of its directory.
func (o peerObject) Name() string { return o.p.label() }

// PublicKey is the peer's key.
func (o peerObject) PublicKey() string { return o.p.key.String() }

// Status is one record.
func (o peerObject) Status(context.Context) ([]ctlfs.Record, error) {
	p, err := o.now()
	return []ctlfs.Record{o.d.peerRecord(p)}, err
}

// Config is the commands that give it what it has.
func (o peerObject) Config(context.Context) ([][]string, error) {
	p, err := o.now()
	if err != nil {
		return nil, err
	}
	return scoped(append(p.config(), p.volumeConfig()...)), nil
}

// now reads the peer anew.
func (o peerObject) now() (p peerEntry, err error) {
	err = o.d.view(func(tx *store.Tx) error {
		p, err = findPeer(tx, o.p.key.String())
		return err
	})
	return p, err
}

// config is the commands that say where the peer is and what it may fetch.
func (p peerEntry) config() []command {
	var all []command
	if p.Location != "" {
		all = append(all, command{"peer location set", p.label(), []string{p.Location}})
	}
	for _, s := range p.Storage {
		all = append(all, command{"peer storage allow", p.label(), []string{s}})
	}
	return all
}

// volumeConfig is the commands that say what volumes it may see.
func (p peerEntry) volumeConfig() []command {
	var all []command
	for _, v := range p.Volumes {
		all = append(all, command{"peer volume allow", p.label(), []string{v}})
	}
	return all
}
