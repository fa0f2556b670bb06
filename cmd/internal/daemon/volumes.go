package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"bazil/ctlfs"
	"bazil/merge/replica"
	"bazil/noiseconn"
	"bazil/noiseconn/peer"
	"bazil/store"
	"bazil/store/vol"
)

// openVolume is a volume that is open, or one that could not be opened.
type openVolume struct {
	name   string
	id     vol.ID
	number uint16
	vol    *vol.Volume // nil: it could not be opened
	failed error       // why

	replica  *replica.Replica // what pulls into it
	fetching chan struct{}    // capacity 1: held by the one who fetches its content
	syncs    syncs
	feeds    feeds
	keeper   keeper
	reads    readTroubles
	// versionsKnown is 1 above the Stats.ConflictChange at which the replicas of
	// all versions in conflict were known; 0: not yet.
	versionsKnown atomic.Uint64

	ctx    context.Context // ends when the volume closes
	cancel context.CancelFunc

	mu     sync.Mutex // guards users and closed
	users  sync.WaitGroup
	closed bool
}

// use keeps the volume open until done is called. It fails for a volume that
// is closing or could not be opened. The context ends with the volume.
func (v *openVolume) use(ctx context.Context) (_ context.Context, done func(), err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failed != nil {
		return nil, nil, fmt.Errorf("volume %q could not be opened: %w", v.name, v.failed)
	}
	if v.closed {
		return nil, nil, noVolume(v.name)
	}
	v.users.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(v.ctx, cancel)
	return ctx, func() { stop(); cancel(); v.users.Done() }, nil
}

// close ends what uses the volume, and closes it.
func (v *openVolume) close() error {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.cancel()
	v.feeds.close()
	v.keeper.running.Wait()
	v.users.Wait()
	if v.vol == nil {
		return nil
	}
	return v.vol.Close()
}

// volumes is the open volumes by name.
type volumes struct {
	mu         sync.RWMutex // guards all below
	open       map[string]*openVolume
	generation uint64        // counts the changes of the set
	change     chan struct{} // closed at the next one; nil without a waiter
}

func (vs *volumes) get(name string) *openVolume {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	return vs.open[name]
}

func (vs *volumes) put(v *openVolume) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.open == nil {
		vs.open = make(map[string]*openVolume)
	}
	vs.open[v.name] = v
	vs.changed()
}

// take removes a volume from the map, for its closing.
func (vs *volumes) take(name string) *openVolume {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v := vs.open[name]
	delete(vs.open, name)
	vs.changed()
	return v
}

// changed is called with mu held.
func (vs *volumes) changed() {
	vs.generation++
	if vs.change != nil {
		close(vs.change)
		vs.change = nil
	}
}

func (vs *volumes) names() []string {
	names, _ := vs.namesAt()
	return names
}

// namesAt returns the names and the generation of that set.
func (vs *volumes) namesAt() ([]string, uint64) {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	return slices.Sorted(maps.Keys(vs.open)), vs.generation
}

// wait returns when the set is another one than at that generation.
func (vs *volumes) wait(ctx context.Context, generation uint64) {
	vs.mu.Lock()
	if vs.generation != generation {
		vs.mu.Unlock()
		return
	}
	if vs.change == nil {
		vs.change = make(chan struct{})
	}
	change := vs.change
	vs.mu.Unlock()
	select {
	case <-change:
	case <-ctx.Done():
	}
}

// Volume finds what the 9P tree has under a volume's name.
func (d *Daemon) Volume(name string) (*vol.Volume, uint16, bool) {
	v := d.volumes.get(name)
	if v == nil || v.vol == nil {
		return nil, 0, false
	}
	return v.vol, v.number, true
}

// VolumeNames lists the volumes that the 9P tree has.
func (d *Daemon) VolumeNames() []string {
	return slices.DeleteFunc(d.volumes.names(), func(name string) bool {
		_, _, ok := d.Volume(name)
		return !ok
	})
}

// useVolume finds an open volume and keeps it open until done is called.
func (d *Daemon) useVolume(ctx context.Context, name string) (*openVolume, context.Context, func(), error) {
	v := d.volumes.get(name)
	if v == nil {
		return nil, nil, nil, noVolume(name)
	}
	ctx, done, err := v.use(ctx)
	return v, ctx, done, err
}

// volumePath is the file of a volume's metadata.
func (d *Daemon) volumePath(id vol.ID) string {
	return filepath.Join(d.store.Dir(), "volumes", id.String()+".db")
}

// openVolumes opens what is configured. One that cannot be opened is told and
// stands in the way of nothing else.
func (d *Daemon) openVolumes() error {
	err := os.Mkdir(filepath.Dir(d.volumePath(vol.ID{})), 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	var all []volumeEntry
	err = d.view(func(tx *store.Tx) (err error) {
		all, err = listVolumes(tx)
		return err
	})
	for _, e := range all {
		v := d.openVolume(e)
		if v.failed != nil {
			d.log.Error("volume not opened", "volume", e.name, "err", v.failed)
			d.event("volume.failed", "volume", e.name, "error", v.failed.Error())
		}
		d.volumes.put(v)
	}
	return err
}

func (d *Daemon) openVolume(e volumeEntry) *openVolume {
	v := &openVolume{name: e.name, id: e.ID, number: e.Number, fetching: make(chan struct{}, 1)}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	key, err := d.sharingKey(e.Sharing)
	if err == nil {
		v.vol, err = vol.Open(d.volumePath(e.ID), d.volumeOptions(e.name, key))
	}
	if err == nil {
		if err = d.noteReplicas(e.ID, false, peer.ReplicaKey{Replica: v.vol.Replica(), Key: d.key.Public()}); err != nil {
			err = errors.Join(err, v.vol.Close())
			v.vol = nil
		}
	}
	v.failed = err
	v.replica = &replica.Replica{Volume: v.vol, Chunks: d.store.Chunks()}
	if v.vol != nil {
		v.keeper.start(d, v)
	}
	return v
}

func (d *Daemon) volumeOptions(name string, key store.SharingKey) vol.Options {
	return vol.Options{
		Chunks:     d.store.Chunks(),
		Sealer:     store.NewSealer(key),
		Fetch:      volumeFetcher{d, name, nil},
		DirtyLimit: d.o.DirtyBytes,
		Sealers:    d.o.Sealers,
		Log:        d.log.With("volume", name),
	}
}

func (d *Daemon) volumeCreate(_ context.Context, c *ctlfs.Call) error {
	return d.makeVolume(volumeEntry{c.Arg("name"), volumeRecord{ID: vol.NewID(), Sharing: sharingOf(c), Keep: keepOf(c.Arg("keep"))}})
}

// sharingOf is the sharing key that a command names.
func sharingOf(c *ctlfs.Call) string {
	if s := c.Arg("sharing"); s != "" {
		return s
	}
	return defaultSharing
}

func (d *Daemon) volumeConnect(ctx context.Context, c *ctlfs.Call) error {
	remote, name := c.Arg("remote"), c.Arg("as")
	if name == "" {
		name = remote
	}
	e := volumeEntry{name, volumeRecord{Sharing: sharingOf(c), OriginName: remote, Keep: keepOf(c.Arg("keep"))}}
	if err := d.volumeMakeable(e); err != nil {
		return err
	}
	p, l, err := d.toPeer(c.Arg("peer"))
	if err != nil {
		return err
	}
	info, err := l.client.VolumeInfo(ctx, remote)
	if err != nil {
		return peerError(p, remote, err)
	}
	e.ID, e.OriginPeer = info.ID, p.key.String()
	return d.alone(ctx, func() error { return d.makeVolume(e) })
}

// makeVolume makes the volume's file, then its record, then opens it.
func (d *Daemon) makeVolume(e volumeEntry) error {
	if err := d.volumeMakeable(e); err != nil {
		return err
	}
	key, err := d.sharingKey(e.Sharing)
	if err != nil {
		return err
	}
	path := d.volumePath(e.ID)
	if err := vol.Create(path, e.ID, d.volumeOptions(e.name, key)); err != nil {
		return fmt.Errorf("create volume %q: %w", e.name, err)
	}
	if err := d.enterVolume(e); err != nil {
		return errors.Join(err, vol.Remove(path))
	}
	return nil
}

// enterVolume makes the record of a volume whose file is there, and opens it.
func (d *Daemon) enterVolume(e volumeEntry) error {
	if e.Storage == nil {
		e.Storage = []string{localBackend}
	}
	err := d.update(func(tx *store.Tx) (err error) {
		if err := newVolume(tx, e); err != nil {
			return err
		}
		if e.Number, err = nextNumber(tx, "volume"); err != nil {
			return err
		}
		return e.put(tx)
	})
	if err != nil {
		return err
	}
	v := d.openVolume(e)
	if v.failed != nil {
		err := d.update(func(tx *store.Tx) error { return tx.Delete(volumeTable, e.name) })
		return errors.Join(fmt.Errorf("open volume %q: %w", e.name, v.failed), err)
	}
	d.volumes.put(v)
	d.event("volume.create", "volume", e.name, "id", e.ID.String())
	return nil
}

// volumeMakeable checks all that can be checked before a volume is made.
func (d *Daemon) volumeMakeable(e volumeEntry) error {
	if err := ctlfs.CheckName("volume", e.name); err != nil {
		return err
	}
	if _, err := d.sharingKey(e.Sharing); err != nil {
		return err
	}
	return d.view(func(tx *store.Tx) error { return newVolume(tx, e) })
}

// newVolume checks that neither the name nor the ID is taken.
func newVolume(tx *store.Tx, e volumeEntry) error {
	all, err := listVolumes(tx)
	for _, v := range all {
		switch {
		case v.name == e.name:
			return ctlfs.Errorf(syscall.EEXIST, "there is a volume %q already", e.name)
		case v.ID == e.ID:
			return ctlfs.Errorf(syscall.EEXIST, "that volume is here already, as %q", v.name)
		}
	}
	return err
}

func (d *Daemon) volumeRemove(_ context.Context, c *ctlfs.Call) error {
	name := c.Arg("volume")
	var e volumeEntry
	err := d.update(func(tx *store.Tx) (err error) {
		if e, err = findVolume(tx, name); err != nil {
			return err
		}
		if err := volumeUnused(tx, name); err != nil {
			return err
		}
		return errors.Join(putSchedule(tx, name, schedule{}), tx.Delete(volumeTable, name))
	})
	if err != nil {
		return err
	}
	if v := d.volumes.take(name); v != nil {
		err = v.close()
	}
	d.event("volume.remove", "volume", name, "id", e.ID.String())
	if c.Has("delete") {
		return errors.Join(err, vol.Remove(d.volumePath(e.ID)))
	}
	c.Printf("the files stay in the data directory: %s brings them back\n",
		ctlfs.Join([]string{"volume", "restore", e.ID.String(), name, "sharing=" + e.Sharing}))
	return err
}

// volumeUnused takes back what peers were allowed of the volume; exports must
// be removed by hand.
func volumeUnused(tx *store.Tx, name string) error {
	exports, err := listExports(tx)
	if err != nil {
		return err
	}
	for _, e := range exports {
		for _, w := range e.Words {
			if w == "volume="+name || strings.HasPrefix(w, "volume="+name+"/") {
				return ctlfs.Errorf(syscall.EBUSY, "volume %q is what export %q shows: export remove comes first", name, e.name)
			}
		}
	}
	peers, err := listPeers(tx)
	for _, p := range peers {
		if slices.Contains(p.Volumes, name) {
			p.Volumes = without(p.Volumes, name)
			err = errors.Join(err, p.put(tx))
		}
	}
	return err
}

func (d *Daemon) volumeRestore(_ context.Context, c *ctlfs.Call) error {
	id, err := vol.ParseID(c.Arg("id"))
	if err != nil {
		return ctlfs.Errorf(syscall.EINVAL, "volume restore: %v", err)
	}
	e := volumeEntry{c.Arg("name"), volumeRecord{ID: id, Sharing: sharingOf(c)}}
	if err := d.volumeMakeable(e); err != nil {
		return err
	}
	if _, err := os.Stat(d.volumePath(id)); err != nil {
		return ctlfs.Errorf(syscall.ENOENT, "no removed volume has the ID %s", id)
	}
	return d.enterVolume(e)
}

func (d *Daemon) volumeList(ctx context.Context, c *ctlfs.Call) error {
	records, err := d.volumeStatus(ctx)
	c.Records(records)
	return err
}

func (d *Daemon) volumeStorageAdd(_ context.Context, c *ctlfs.Call) error {
	return d.changeStorage(c, "volume.storage.add", func(tx *store.Tx, e *volumeEntry, backend string) error {
		if s := c.Arg("sharing"); s != "" && s != e.Sharing {
			if _, err := d.sharingKey(s); err != nil {
				return err
			}
			return ctlfs.Errorf(syscall.EINVAL, "volume %q is sealed under sharing key %q, not %q", e.name, e.Sharing, s)
		}
		if err := d.checkBackend(tx, backend); err != nil {
			return err
		}
		if slices.Contains(e.Storage, backend) {
			return ctlfs.Errorf(syscall.EEXIST, "volume %q has storage %s already", e.name, backend)
		}
		e.Storage = append(e.Storage, backend)
		return nil
	})
}

func (d *Daemon) volumeStorageRemove(_ context.Context, c *ctlfs.Call) error {
	return d.changeStorage(c, "volume.storage.remove", func(_ *store.Tx, e *volumeEntry, backend string) error {
		if backend == localBackend {
			return ctlfs.Errorf(syscall.EINVAL, "storage local is where volume %q is written: it cannot go", e.name)
		}
		if !slices.Contains(e.Storage, backend) {
			return ctlfs.Errorf(syscall.ENOENT, "volume %q has no storage %s", e.name, backend)
		}
		e.Storage = without(e.Storage, backend)
		return nil
	})
}

// changeStorage changes the record of the volume that c names.
func (d *Daemon) changeStorage(c *ctlfs.Call, event string, change func(tx *store.Tx, e *volumeEntry, backend string) error) error {
	backend := strings.ToLower(c.Arg("backend"))
	err := d.update(func(tx *store.Tx) error {
		e, err := findVolume(tx, c.Arg("volume"))
		if err != nil {
			return err
		}
		if err := change(tx, &e, backend); err != nil {
			return err
		}
		return e.put(tx)
	})
	if err == nil {
		d.event(event, "volume", c.Arg("volume"), "storage", backend)
	}
	return err
}

const peerBackendPrefix = "peerkey:"

// peerBackend is the storage of a peer, as a backend.
func peerBackend(key noiseconn.PublicKey) string { return peerBackendPrefix + key.String() }

// checkBackend wants local, or peerkey:KEY of a peer that is known.
func (d *Daemon) checkBackend(tx *store.Tx, backend string) error {
	hex, ok := strings.CutPrefix(backend, peerBackendPrefix)
	switch {
	case backend == localBackend:
		return nil
	case !ok:
		return ctlfs.Errorf(syscall.EINVAL, "storage %q is none of local, peerkey:KEY", backend)
	}
	key, err := noiseconn.ParsePublicKey(hex)
	if err != nil {
		return ctlfs.Errorf(syscall.EINVAL, "storage %q: %v", backend, err)
	}
	_, err = findPeer(tx, key.String())
	return err
}
