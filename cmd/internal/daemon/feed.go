package daemon

import (
	"context"
	"sync"
	"time"

	"bazil/ctlfs"
	"bazil/merge/replica"
	"bazil/noiseconn"
	"bazil/noiseconn/peer"
)

// How a feed paces itself.
const (
	// feedGather is the least time from the beginning of one pull to the next,
	// in which changes gather: each pull makes the peer's changes durable.
	feedGather = 20 * time.Millisecond
	// feedRetry is how long a feed waits after its first failure, twice as long
	// after each further one, up to feedPatience. A peer that connects to this
	// device ends the wait.
	feedRetry    = 500 * time.Millisecond
	feedPatience = time.Minute
)

// feed follows a peer's copy of a volume: it waits for changes there, pulls
// them, and fetches the content that came with them.
type feed struct {
	d   *Daemon
	v   *openVolume
	key noiseconn.PublicKey

	cancel  context.CancelFunc
	running sync.WaitGroup
	knocked chan struct{} // capacity 1: the peer has connected
	came    chan *origin  // capacity 1: names came from there, perhaps with content

	mu      sync.Mutex // guards all below
	live    bool       // it hears of changes
	behind  bool       // it has heard of some that are not here yet
	lacking bool       // their content may not be
	problem error      // why it does not hear, or why content is missing
	again   time.Time  // when it tries again
	pulled  time.Time  // when changes last came in
}

// origin is a peer's copy of a volume.
type origin struct {
	*peer.VolumeSource
	peer peerEntry
	link *link
	at   remoteVolume
}

func newFeed(d *Daemon, v *openVolume, key noiseconn.PublicKey) *feed {
	f := &feed{d: d, v: v, key: key, knocked: make(chan struct{}, 1), came: make(chan *origin, 1)}
	ctx, cancel := context.WithCancel(v.ctx)
	f.cancel = cancel
	f.running.Go(func() { f.run(ctx) })
	f.running.Go(func() { f.fetch(ctx) })
	return f
}

func (f *feed) stop() {
	f.cancel()
	f.running.Wait()
}

// knock ends the wait after a failure.
func (f *feed) knock() {
	select {
	case f.knocked <- struct{}{}:
	default:
	}
}

// run listens again and again.
func (f *feed) run(ctx context.Context) {
	for wait := feedRetry; ; wait = min(2*wait, feedPatience) {
		began := time.Now()
		err := f.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > feedPatience {
			wait = feedRetry
		}
		f.lost(err, wait)
		select {
		case <-time.After(wait):
		case <-f.knocked:
			wait = feedRetry
		case <-ctx.Done():
			return
		}
	}
}

// listen pulls when there are changes, until something fails.
func (f *feed) listen(ctx context.Context) error {
	from, err := f.d.origin(ctx, f.v.name, f.key)
	if err != nil {
		return err
	}
	for since := uint64(0); ; {
		if since, err = from.Events(ctx, since); err != nil {
			return peerError(from.peer, from.at.name, err)
		}
		began := time.Now()
		f.set(func() { f.behind = true })
		if err := f.pull(ctx, from); err != nil {
			return err
		}
		select {
		case <-time.After(max(feedGather, time.Since(began)) - time.Since(began)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// origin finds a peer's copy of a volume.
func (d *Daemon) origin(ctx context.Context, volume string, key noiseconn.PublicKey) (*origin, error) {
	p, l, err := d.toPeer(key.String())
	if err != nil {
		return nil, err
	}
	remote, err := d.remoteVolume(ctx, volume, p, l)
	if err != nil {
		return nil, err
	}
	return &origin{l.client.Volume(remote.name), p, l, remote}, nil
}

// pull brings in what has changed there.
func (f *feed) pull(ctx context.Context, from *origin) error {
	turn := f.v.syncs.state(from.peer.key).turn
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	r, err := f.v.replica.Pull(ctx, from, replica.Options{})
	if err != nil {
		return peerError(from.peer, from.at.name, err)
	}
	f.d.learnReplicas(ctx, f.v, from.peer, from.VolumeSource, from.at.Info)
	f.heard(from, r)
	select {
	case f.came <- from:
	default: // the fetch to come gets this too
	}
	return nil
}

// heard notes a pull that went well.
func (f *feed) heard(from *origin, r replica.Result) {
	f.mu.Lock()
	was := f.live
	f.live, f.behind, f.lacking = true, false, true
	if !was {
		f.problem, f.again = nil, time.Time{}
	}
	if r.Changed > 0 {
		f.pulled = time.Now()
	}
	f.mu.Unlock()
	if !was {
		f.d.event("follow.live", "volume", f.v.name, "peer", from.peer.label())
	}
	if r.Changed > 0 {
		f.d.event("follow.pulled", "volume", f.v.name, "peer", from.peer.label(),
			"dirs", number(int64(r.Dirs)), "changed", number(int64(r.Changed)))
	}
}

// set changes what mu guards.
func (f *feed) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// lost notes that the peer cannot be followed, until it is tried after wait.
func (f *feed) lost(err error, wait time.Duration) {
	f.mu.Lock()
	was := f.live || f.problem == nil
	f.live, f.behind, f.problem, f.again = false, false, err, time.Now().Add(wait)
	f.mu.Unlock()
	if was {
		f.d.event("follow.lost", "volume", f.v.name, "peer", f.d.peerLabel(f.key), "error", err.Error())
	}
}

// fetch gets content when some came in. What could not be had is tried again
// when more comes in, or after a while.
func (f *feed) fetch(ctx context.Context) {
	var from *origin
	var again <-chan time.Time
	wait := feedRetry
	for {
		select {
		case from = <-f.came:
		case <-again:
		case <-ctx.Done():
			return
		}
		_, err := f.d.fetchContent(ctx, f.v, from.link, "", nil)
		if ctx.Err() != nil {
			return
		}
		f.fetched(err, wait)
		if again = nil; err != nil {
			again = time.After(wait)
			wait = min(2*wait, feedPatience)
		} else {
			wait = feedRetry
		}
	}
}

// fetched notes how a fetch of content ended, which is tried again after wait
// if it failed.
func (f *feed) fetched(err error, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.live {
		return
	}
	f.problem, f.again, f.lacking = err, time.Time{}, err != nil || len(f.came) > 0
	if err != nil {
		f.again = time.Now().Add(wait)
	}
}

// state is a word for how it stands.
func (f *feed) state() string {
	switch {
	case !f.live:
		return "lost"
	case f.behind, f.lacking:
		return "behind"
	}
	return "live"
}

// record tells how it stands.
func (f *feed) record() ctlfs.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := ctlfs.Rec("follow", f.v.name, "peer", f.d.peerLabel(f.key), "state", f.state())
	if !f.pulled.IsZero() {
		r = append(r, ctlfs.Rec("pulled", stamp(f.pulled))...)
	}
	if !f.again.IsZero() {
		r = append(r, ctlfs.Rec("again", stamp(f.again))...)
	}
	if f.problem != nil {
		r = append(r, ctlfs.Rec("error", f.problem.Error())...)
	}
	return r
}
