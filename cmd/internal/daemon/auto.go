package daemon

import (
	"context"
	"time"

	"bazil/ctlfs"
	"bazil/store"
)

// What the server does about space by itself, once it was told to.
const (
	autoEvery = 24 * time.Hour
	autoFree  = 1 << 30  // so much is worth it
	autoPart  = 4        // or one part in so many of what is on disk
	autoRate  = 50 << 20 // bytes a second that are copied
)

// autoRecord says whether the server collects by itself.
type autoRecord struct {
	On bool `cbor:"1,keyasint"`
}

// storeAuto switches that on or off.
func (d *Daemon) storeAuto(_ context.Context, c *ctlfs.Call) error {
	return d.remember(autoKey, autoRecord{On: c.Arg("switch") == "on"})
}

func (d *Daemon) auto() bool {
	var r autoRecord
	return d.remembered(autoKey, &r) == nil && r.On
}

func (d *Daemon) autoWord() string {
	if d.auto() {
		return "on"
	}
	return "off"
}

// worthIt says whether a collection would free enough.
func worthIt(free, disk int64) bool { return free >= autoFree || free > 0 && free >= disk/autoPart }

// keepCollected counts what nothing refers to, once a day, and frees it if it
// is much.
func (d *Daemon) keepCollected(ctx context.Context, now time.Time) error {
	var u usageRecord
	err := d.remembered(usageKey, &u)
	at := time.Unix(0, u.At)
	if err != nil || !d.auto() || at.Before(now) && now.Sub(at) < autoEvery {
		return err
	}
	p, err := d.collect(ctx, store.CollectOptions{DryRun: true}, false)
	if err != nil || !worthIt(p.Freed, d.store.Chunks().Stats().Disk) {
		return err
	}
	_, err = d.collect(ctx, store.CollectOptions{BytesPerSecond: autoRate}, false)
	return err
}
