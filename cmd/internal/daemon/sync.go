package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/merge/replica"
	"bazil/noiseconn"
	"bazil/noiseconn/peer"
	"bazil/store"
	"bazil/store/vol"
)

// syncs is how the syncs of an open volume with each peer go.
type syncs struct {
	mu     sync.Mutex // guards all below, and what states have but turn and now
	byPeer map[noiseconn.PublicKey]*syncState
}

// syncState is how the syncs with one peer go.
type syncState struct {
	turn   chan struct{}                // held by the one that runs
	now    atomic.Pointer[syncProgress] // of that one
	record ctlfs.Record                 // of the one that ended last
}

// syncProgress is how far a sync is.
type syncProgress struct {
	phase   string // names, content
	started time.Time
	names   replica.Result
	content replica.Result
}

func (s *syncs) state(key noiseconn.PublicKey) *syncState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPeer == nil {
		s.byPeer = make(map[noiseconn.PublicKey]*syncState)
	}
	if s.byPeer[key] == nil {
		s.byPeer[key] = &syncState{turn: make(chan struct{}, 1)}
	}
	return s.byPeer[key]
}

func (s *syncs) ended(key noiseconn.PublicKey, r ctlfs.Record) {
	state := s.state(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	state.record = r
}

// records returns what there is to tell of each peer: the sync that runs, or the
// last one.
func (s *syncs) records() map[noiseconn.PublicKey]ctlfs.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[noiseconn.PublicKey]ctlfs.Record)
	for key, state := range s.byPeer {
		if now := state.now.Load(); now != nil {
			all[key] = now.record()
		} else if state.record != nil {
			all[key] = state.record
		}
	}
	return all
}

// syncRecords tells of the syncs of a volume with those who are peers still.
func (d *Daemon) syncRecords(v *openVolume) (all []ctlfs.Record) {
	for key, r := range v.syncs.records() {
		if p, err := d.peer(key.String()); err == nil {
			all = append(all, append(ctlfs.Rec("sync", v.name, "peer", p.label()), r...))
		}
	}
	slices.SortFunc(all, func(a, b ctlfs.Record) int { return strings.Compare(a.Get("peer"), b.Get("peer")) })
	return all
}

func (p *syncProgress) record() ctlfs.Record {
	r := ctlfs.Rec("state", p.phase, "started", stamp(p.started),
		"dirs", number(int64(p.names.Dirs)), "changed", number(int64(p.names.Changed)))
	if p.phase == phaseContent {
		r = append(r, ctlfs.Rec("files", number(int64(p.content.Files)), "chunks", number(int64(p.content.Chunks)),
			"bytes", number(p.content.Bytes))...)
	}
	return r
}

// The phases of a sync.
const (
	phaseNames   = "names"
	phaseContent = "content"
)

// syncOptions are a sync's.
type syncOptions struct {
	noWait bool   // return when the names are here
	dryRun bool   // tell what would change
	under  string // only what is at that path
}

func syncOptionsOf(c *ctlfs.Call) syncOptions {
	return syncOptions{noWait: c.Has("no-wait"), dryRun: c.Has("dry-run"), under: c.Arg("path")}
}

// waits says whether the sync of a volume is over only when its content is here.
func (o syncOptions) waits(e volumeEntry) bool { return !o.noWait && !o.dryRun && e.Keep != keepLazy }

// prepare begins to connect for the content that a sync will wait for.
func (d *Daemon) prepare(name string, o syncOptions, l *link) {
	if e, err := (volumeObject{d, name}).entry(); err == nil && o.waits(e) {
		l.client.Prepare()
	}
}

// sync is the command: one volume, or each that the peer shares.
func (d *Daemon) sync(ctx context.Context, c *ctlfs.Call) error {
	name := c.Arg("volume")
	if name != "" && d.volumes.get(name) == nil {
		return noVolume(name)
	}
	if at := c.Arg("path"); at != "" && (name == "" || !fs.ValidPath(at) || at == ".") {
		return ctlfs.Errorf(syscall.EINVAL, "path %q is not a path inside of a volume that the command names", at)
	}
	p, l, err := d.toPeer(c.Arg("peer"))
	if err != nil {
		return err
	}
	if name == "" {
		found, err := d.syncPeer(ctx, c, p, l)
		if err != nil || found > 0 {
			return err
		}
		return ctlfs.Errorf(syscall.ENOENT, "peer %s shows this device no volume that is here: peer volume allow there, volume connect here", p.label())
	}
	d.prepare(name, syncOptionsOf(c), l)
	remote, err := d.remoteVolume(ctx, name, p, l)
	if err != nil {
		return err
	}
	return d.syncVolume(ctx, c, name, remote, p, l)
}

// syncAll is the command: one volume or each, with every peer that has a
// location and allows it. It goes on after a failure.
func (d *Daemon) syncAll(ctx context.Context, c *ctlfs.Call) error {
	var peers []peerEntry
	err := d.view(func(tx *store.Tx) (err error) {
		peers, err = listPeers(tx)
		return err
	})
	if err != nil {
		return err
	}
	if name := c.Arg("volume"); name != "" && d.volumes.get(name) == nil {
		return noVolume(name)
	}
	var errs []error
	for _, p := range peers {
		if p.Location == "" {
			c.Printf("peer %s has no location: left out\n", p.label())
			continue
		}
		p, l, err := d.toPeer(p.key.String())
		found := 0
		if err == nil {
			found, err = d.syncPeer(ctx, c, p, l)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			errs = append(errs, err)
		} else if found == 0 {
			c.Printf("peer %s allows this device no volume that is here\n", p.label())
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d peers: %w", len(errs), len(peers), errors.Join(errs...))
	}
	return nil
}

// syncPeer syncs the volume that c names, or each, as far as it is here and the
// peer lets this device see it.
func (d *Daemon) syncPeer(ctx context.Context, c *ctlfs.Call, p peerEntry, l *link) (found int, err error) {
	theirs, err := l.client.Volumes(ctx)
	if err != nil {
		return 0, peerError(p, "", err)
	}
	var errs []error
	for _, remote := range theirs {
		info, err := l.client.VolumeInfo(ctx, remote)
		if err != nil {
			errs = append(errs, peerError(p, remote, err))
			continue
		}
		v := d.volumes.byID(info.ID)
		if v == nil || c.Arg("volume") != "" && c.Arg("volume") != v.name {
			continue
		}
		found++
		errs = append(errs, d.syncVolume(ctx, c, v.name, remoteVolume{remote, info}, p, l))
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
	}
	return found, errors.Join(errs...)
}

// byID finds an open volume.
func (vs *volumes) byID(id vol.ID) *openVolume {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	for _, v := range vs.open {
		if v.id == id {
			return v
		}
	}
	return nil
}

// remoteVolume is a peer's copy of a volume: what it is called there, and which
// replica it is.
type remoteVolume struct {
	name string
	vol.Info
}

// remoteVolume finds the peer's copy of a volume that is here: under the name
// that it was connected under or has here, if there it is the same volume, else
// under that of the one that is.
func (d *Daemon) remoteVolume(ctx context.Context, name string, p peerEntry, l *link) (r remoteVolume, err error) {
	v, err := volumeObject{d, name}.entry()
	if err != nil {
		return r, err
	}
	likely := name
	if v.OriginPeer == p.key.String() {
		likely = v.OriginName
	}
	info, err := l.client.VolumeInfo(ctx, likely)
	if err == nil && info.ID == v.ID {
		return remoteVolume{likely, info}, nil
	}
	if err != nil && !errors.Is(err, peer.ErrDenied) && !errors.Is(err, peer.ErrAbsent) {
		return r, peerError(p, likely, err)
	}
	others, listErr := l.client.Volumes(ctx)
	for _, o := range others {
		if info, err := l.client.VolumeInfo(ctx, o); err == nil && info.ID == v.ID {
			return remoteVolume{o, info}, nil
		}
	}
	if err := errors.Join(err, listErr); err != nil {
		return r, peerError(p, likely, err)
	}
	return r, ctlfs.Errorf(syscall.ENOENT, "peer %s has a volume %q, but it is another one than here", p.label(), likely)
}

// peerError gives what a peer's answer means an errno.
func peerError(p peerEntry, volume string, err error) error {
	what := "peer " + p.label()
	if volume != "" {
		what += fmt.Sprintf(", volume %q", volume)
	}
	switch {
	case errors.Is(err, peer.ErrDenied):
		return ctlfs.Errorf(syscall.EACCES, "%s: %v", what, err)
	case errors.Is(err, peer.ErrAbsent):
		return ctlfs.Errorf(syscall.ENOENT, "%s: %v", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// syncVolume brings the peer's changes of one volume in, or tells what they
// are.
func (d *Daemon) syncVolume(ctx context.Context, c *ctlfs.Call, name string, remote remoteVolume, p peerEntry, l *link) error {
	v, ctx, done, err := d.useVolume(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	o := syncOptionsOf(c)
	if o.dryRun {
		return d.preview(ctx, c, v, remote, p, l, o.under)
	}
	state := v.syncs.state(p.key)
	select {
	case state.turn <- struct{}{}:
		defer func() { <-state.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	d.event("sync.start", "volume", name, "peer", p.label())
	start := time.Now()
	state.now.Store(&syncProgress{phase: phaseNames, started: start})
	result, err := d.pull(ctx, v, remote.name, l, o, &state.now)
	state.now.Store(nil)
	if err == nil {
		d.learnReplicas(ctx, v, p, l.client.Volume(remote.name), remote.Info)
	}
	d.followers.settle(ctx)
	r := append(slices.Clone(result), ctlfs.Rec("ended", stamp(time.Now()), "took", time.Since(start).Round(time.Millisecond).String())...)
	if err != nil {
		err = peerError(p, name, err)
		r = append(r, ctlfs.Rec("error", err.Error())...)
		d.event("sync.failed", "volume", name, "peer", p.label(), "error", err.Error())
	} else {
		d.event("sync.done", append([]string{"volume", name, "peer", p.label()}, pairs(result)...)...)
	}
	v.syncs.ended(p.key, r)
	return err
}

// preview tells what a sync would change.
func (d *Daemon) preview(ctx context.Context, c *ctlfs.Call, v *openVolume, remote remoteVolume, p peerEntry, l *link, top string) error {
	changes, err := v.replica.Preview(ctx, l.client.Volume(remote.name))
	if err != nil {
		return peerError(p, v.name, err)
	}
	for _, change := range changes {
		if !under(change.Path, top) {
			continue
		}
		c.Printf("%s %s\n", change.What, ctlfs.Quote(v.name+"/"+change.Path))
	}
	return nil
}

func pairs(r ctlfs.Record) []string {
	var all []string
	for _, f := range r {
		all = append(all, f.Name, f.Value)
	}
	return all
}
