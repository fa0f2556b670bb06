package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"bazil/ctlfs"
	"bazil/noiseconn"
	"bazil/store"
)

// readTroubles is why content of a volume that somebody wanted to read could
// not be had, by peer, until that peer gives some again.
type readTroubles struct {
	mu    sync.Mutex // guards byKey
	byKey map[noiseconn.PublicKey]readTrouble
}

type readTrouble struct {
	err    error
	lacks  bool // the peer was reached, and does not have it
	since  time.Time
	latest time.Time
}

// note takes in how a peer was asked for a chunk, and tells whether that is
// news of trouble.
func (r *readTroubles) note(key noiseconn.PublicKey, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, had := r.byKey[key]
	if err == nil {
		delete(r.byKey, key)
		return false
	}
	if !had {
		t.since = time.Now()
	}
	t.err, t.latest, t.lacks = err, time.Now(), errors.Is(err, store.ErrNotFound)
	if r.byKey == nil {
		r.byKey = make(map[noiseconn.PublicKey]readTrouble)
	}
	r.byKey[key] = t
	return !had
}

// noteRead takes in how a peer was asked for a chunk that is not here.
func (f volumeFetcher) noteRead(l *link, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	v := f.d.volumes.get(f.name)
	if v != nil && v.reads.note(l.key, err) {
		f.d.event("read.failed", "volume", f.name, "peer", f.d.peerLabel(l.key), "error", err.Error())
	}
}

// records tells which peers reads miss.
func (r *readTroubles) records(d *Daemon, volume string) (all []ctlfs.Record) {
	r.mu.Lock()
	troubles := make(map[noiseconn.PublicKey]readTrouble, len(r.byKey))
	for key, t := range r.byKey {
		troubles[key] = t
	}
	r.mu.Unlock()
	for key, t := range troubles {
		reason := "away"
		if t.lacks {
			reason = "lacks"
		}
		all = append(all, ctlfs.Rec("read", volume, "peer", d.peerLabel(key), "reason", reason,
			"since", stamp(t.since), "latest", stamp(t.latest), "error", t.err.Error()))
	}
	slices.SortFunc(all, func(a, b ctlfs.Record) int { return cmp.Compare(a.Get("peer"), b.Get("peer")) })
	return all
}
