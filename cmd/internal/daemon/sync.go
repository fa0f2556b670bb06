package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/noiseconn/peer"
	"bazil/store/vol"
)

// pair is a volume here and a peer that it is synced with.
type pair struct{ volume, peer string }

// syncs is how the syncs since the start went.
type syncs struct {
	mu   sync.Mutex // guards all below
	last map[pair]*syncState
}

// syncState is how the syncs of one pair go.
type syncState struct {
	turn   chan struct{} // held by the one that runs
	record ctlfs.Record  // of the one that ended last
}

func (s *syncs) state(p pair) *syncState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[pair]*syncState)
	}
	if s.last[p] == nil {
		s.last[p] = &syncState{turn: make(chan struct{}, 1)}
	}
	return s.last[p]
}

func (s *syncs) ended(p pair, r ctlfs.Record) {
	state := s.state(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	state.record = r
}

// records tells of the last sync of a volume with each peer.
func (s *syncs) records(volume string) []ctlfs.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []ctlfs.Record
	for p, state := range s.last {
		if p.volume == volume && state.record != nil {
			all = append(all, state.record)
		}
	}
	slices.SortFunc(all, func(a, b ctlfs.Record) int { return strings.Compare(a.Get("peer"), b.Get("peer")) })
	return all
}

// sync is the command: one volume, or each that the peer shares.
func (d *Daemon) sync(ctx context.Context, c *ctlfs.Call) error {
	var names []string
	if v := c.Arg("volume"); v != "" {
		if d.volumes.get(v) == nil {
			return noVolume(v)
		}
		names = []string{v}
	}
	p, l, err := d.toPeer(c.Arg("peer"))
	if err != nil {
		return err
	}
	if names == nil {
		return d.syncAll(ctx, p, l)
	}
	remote, err := d.remoteVolume(ctx, names[0], p, l)
	if err != nil {
		return err
	}
	return d.syncVolume(ctx, names[0], remote, p, l)
}

// syncAll syncs every volume here that the peer lets this device see.
func (d *Daemon) syncAll(ctx context.Context, p peerEntry, l *link) error {
	theirs, err := l.client.Volumes(ctx)
	if err != nil {
		return peerError(p, "", err)
	}
	var errs []error
	found := 0
	for _, remote := range theirs {
		info, err := l.client.VolumeInfo(ctx, remote)
		if err != nil {
			errs = append(errs, peerError(p, remote, err))
			continue
		}
		if v := d.volumes.byID(info.ID); v != nil {
			found++
			errs = append(errs, d.syncVolume(ctx, v.name, remoteVolume{remote, info}, p, l))
		}
	}
	if err := errors.Join(errs...); err != nil || found > 0 {
		return err
	}
	return ctlfs.Errorf(syscall.ENOENT, "peer %s shows this device no volume that is here: peer volume allow there, volume connect here", p.label())
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

// syncVolume brings the peer's changes of one volume in.
func (d *Daemon) syncVolume(ctx context.Context, name string, remote remoteVolume, p peerEntry, l *link) error {
	v, ctx, done, err := d.useVolume(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	pair := pair{name, p.label()}
	state := d.syncs.state(pair)
	select {
	case state.turn <- struct{}{}:
		defer func() { <-state.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	d.event("sync.start", "volume", name, "peer", p.label())
	start := time.Now()
	result, err := d.pull(ctx, v, remote.name, l)
	if err == nil {
		d.learnReplicas(ctx, v, p, l.client.Volume(remote.name), remote.Info)
	}
	d.followers.settle(ctx)
	r := append(ctlfs.Rec("sync", name, "peer", p.label()), result...)
	r = append(r, ctlfs.Rec("ended", stamp(time.Now()), "took", time.Since(start).Round(time.Millisecond).String())...)
	if err != nil {
		err = peerError(p, name, err)
		r = append(r, ctlfs.Rec("error", err.Error())...)
		d.event("sync.failed", "volume", name, "peer", p.label(), "error", err.Error())
	} else {
		d.event("sync.done", append([]string{"volume", name, "peer", p.label()}, pairs(result)...)...)
	}
	d.syncs.ended(pair, r)
	return err
}

func pairs(r ctlfs.Record) []string {
	var all []string
	for _, f := range r {
		all = append(all, f.Name, f.Value)
	}
	return all
}
