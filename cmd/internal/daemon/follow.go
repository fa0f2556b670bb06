package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"bazil/ctlfs"
)

// settlePatience is how long a command waits for those who follow changes.
const settlePatience = time.Second

// followers is the open changes files.
//
// What a command brought into a volume must be seen when the command returns,
// also where somebody caches: the FUSE bridge. A follower has dealt with the
// changes that it was told when it asks for the next ones, but for those that
// it may put off because they are much work. So a command settles: every
// follower is told, at once, what has changed by now, then an empty batch,
// which asks it to deal with all that it put off, and the command waits until
// it has asked again after that.
type followers struct {
	mu  sync.Mutex // guards all
	all map[*follower]bool
}

// source is where a follower's changes come from.
type source interface {
	// next waits for changes. What it returns is not told again, also when
	// there is an error beside it.
	next(ctx context.Context) (batch, error)
	// poll returns at once what next would tell, perhaps nothing.
	poll(ctx context.Context) (batch, error)
}

func (fs *followers) add(s source) *follower {
	f := &follower{set: fs, source: s, change: make(chan struct{})}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.all == nil {
		fs.all = make(map[*follower]bool)
	}
	fs.all[f] = true
	return f
}

// settle returns when all followers have dealt with what has changed by now,
// or have taken too long.
func (fs *followers) settle(ctx context.Context) { fs.round(ctx, false) }

// stop returns when all followers are ready for the end of the server, or have
// taken too long.
func (fs *followers) stop(ctx context.Context) { fs.round(ctx, true) }

func (fs *followers) round(ctx context.Context, last bool) {
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	fs.mu.Lock()
	targets := make(map[*follower]uint64, len(fs.all))
	for f := range fs.all {
		targets[f] = f.want(last)
	}
	fs.mu.Unlock()
	for f, round := range targets {
		f.wait(ctx, round)
	}
}

// follower is one open changes file.
type follower struct {
	set    *followers
	source source
	missed batch // told by source to a read that was flushed; only Next uses it

	mu     sync.Mutex    // guards all below
	change chan struct{} // closed and replaced when one of them changes
	wanted uint64        // rounds of settling that were begun
	polled uint64        // the last one whose changes were told
	told   uint64        // the last one whose empty batch was told too
	done   uint64        // the last one whose changes are dealt with
	last   uint64        // the one before the server stops; 0: it does not
	closed bool
}

// update changes what mu guards.
func (f *follower) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.change)
	f.change = make(chan struct{})
}

// want begins a round, perhaps the last one.
func (f *follower) want(last bool) (round uint64) {
	f.update(func() {
		f.wanted++
		round = f.wanted
		if last {
			f.last = round
		}
	})
	return round
}

// wait returns when a round is dealt with.
func (f *follower) wait(ctx context.Context, round uint64) {
	for {
		f.mu.Lock()
		over, change := f.closed || f.done >= round, f.change
		f.mu.Unlock()
		if over {
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

// Next waits for changes, or for a round of settling, which ends in an empty
// batch, the last one in ErrStopping.
func (f *follower) Next(ctx context.Context) ([]uint64, bool, error) {
	f.update(func() { f.done = f.told })
	told := false
	for !told && f.missed.isEmpty() {
		more, round, err := f.step(ctx)
		f.missed.add(more)
		if err != nil {
			return nil, false, err
		}
		told = round
	}
	switch {
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case told && f.isLast():
		return nil, false, ctlfs.ErrStopping
	}
	b := f.missed
	f.missed = batch{}
	slices.Sort(b.paths)
	return slices.Compact(b.paths), b.all, nil
}

// isLast says whether the round that was told is the last one.
func (f *follower) isLast() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last != 0 && f.told >= f.last
}

// step waits for changes, until a round begins; told: one ends here.
func (f *follower) step(ctx context.Context) (b batch, told bool, err error) {
	f.mu.Lock()
	wanted, polled, ending, change := f.wanted, f.polled, f.polled > f.told, f.change
	f.mu.Unlock()
	switch {
	case ending:
		f.update(func() { f.told = polled })
		return batch{}, true, nil
	case wanted > polled:
		b, err = f.source.poll(ctx)
		if err == nil {
			f.update(func() { f.polled = wanted })
		}
		return b, false, err
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-change:
			cancel()
		case <-waiting.Done():
		}
	}()
	b, err = f.source.next(waiting)
	if waiting.Err() != nil && ctx.Err() == nil {
		err = nil // a round has begun
	}
	cancel()
	<-ended
	return b, false, err
}

// Close lets nobody wait for this follower any more.
func (f *follower) Close() error {
	f.update(func() { f.closed = true })
	f.set.mu.Lock()
	defer f.set.mu.Unlock()
	delete(f.set.all, f)
	return nil
}
