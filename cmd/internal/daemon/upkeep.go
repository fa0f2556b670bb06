package daemon

import (
	"context"
	"sync"
	"time"
)

// upkeep is what the server does by itself: by the clock, and when damage is
// found.
type upkeep struct {
	soon    chan struct{} // capacity 1: look at once
	damage  chan struct{} // capacity 1: there is something to repair
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Looking is cheap, so it is done often: a timer does not run while the
// machine sleeps, and the clock may be set.
const (
	upkeepEvery = time.Minute
	upkeepPause = 10 * time.Minute // after a failure
)

func newUpkeep() upkeep {
	return upkeep{soon: make(chan struct{}, 1), damage: make(chan struct{}, 1)}
}

// startUpkeep begins once everything is open, with what was missed.
func (d *Daemon) startUpkeep() {
	ctx, stop := context.WithCancel(context.Background())
	d.upkeep.stop = stop
	for _, id := range d.store.Chunks().Damaged() { // found when the store was opened
		d.event("chunk.damaged", "chunk", id.String())
	}
	d.upkeep.running.Go(func() { d.keepRepairing(ctx) })
	d.upkeep.running.Go(func() {
		d.keepUp(ctx, "snapshots by schedule", d.upkeep.soon, d.keepSchedules)
	})
	d.upkeep.running.Go(func() { d.keepUp(ctx, "collection", nil, d.keepCollected) })
}

// end stops it and waits.
func (u *upkeep) end() {
	if u.stop != nil {
		u.stop()
		u.running.Wait()
	}
}

// kick has the schedules looked at at once.
func (u *upkeep) kick() {
	select {
	case u.soon <- struct{}{}:
	default:
	}
}

// keepUp looks again and again, less often when it fails.
func (d *Daemon) keepUp(ctx context.Context, what string, soon <-chan struct{}, look func(context.Context, time.Time) error) {
	for ctx.Err() == nil {
		wait := upkeepEvery
		if err := look(ctx, time.Now()); err != nil && ctx.Err() == nil {
			d.log.Error(what, "err", err)
			d.event("upkeep.failed", "what", what, "error", err.Error())
			wait = upkeepPause
		}
		pause(ctx, wait, soon)
	}
}

// pause returns after a time, or before when there is something on a channel.
func pause(ctx context.Context, wait time.Duration, soon <-chan struct{}) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-soon:
	case <-ctx.Done():
	}
}
