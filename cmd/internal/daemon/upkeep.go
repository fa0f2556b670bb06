package daemon

import (
	"context"
	"sync"
	"time"
)

// upkeep is what the server does by itself, by the clock.
type upkeep struct {
	soon    chan struct{} // capacity 1: look at once
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Looking is cheap, so it is done often: a timer does not run while the
// machine sleeps, and the clock may be set.
const (
	upkeepEvery = time.Minute
	upkeepPause = 10 * time.Minute // after a failure
)

// startUpkeep begins once everything is open, with what was missed.
func (d *Daemon) startUpkeep() {
	ctx, stop := context.WithCancel(context.Background())
	d.upkeep.stop = stop
	d.upkeep.running.Go(func() { d.keepUp(ctx) })
}

// end stops it and waits.
func (u *upkeep) end() {
	if u.stop != nil {
		u.stop()
		u.running.Wait()
	}
}

// kick has it look at once.
func (u *upkeep) kick() {
	select {
	case u.soon <- struct{}{}:
	default:
	}
}

func (d *Daemon) keepUp(ctx context.Context) {
	for ctx.Err() == nil {
		wait := upkeepEvery
		if err := d.keepSchedules(ctx, time.Now()); err != nil && ctx.Err() == nil {
			d.log.Error("snapshots by schedule", "err", err)
			wait = upkeepPause
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-d.upkeep.soon:
		case <-ctx.Done():
		}
		t.Stop()
	}
}
