package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/store"
	"bazil/store/vol"
)

// scheduleTable has the schedules of snapshots, by the volume's name.
const scheduleTable = "schedules"

func getSchedule(tx *store.Tx, volume string) (s schedule, err error) {
	err = tx.Get(scheduleTable, volume, &s)
	if errors.Is(err, store.ErrNotFound) {
		return schedule{}, nil
	}
	return s, err
}

// putSchedule records a schedule; the zero one is that there is none.
func putSchedule(tx *store.Tx, volume string, s schedule) error {
	if s != (schedule{}) {
		return tx.Put(scheduleTable, volume, s)
	}
	if err := tx.Delete(scheduleTable, volume); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

func (d *Daemon) schedules() (all map[string]schedule, err error) {
	all = make(map[string]schedule)
	err = d.view(func(tx *store.Tx) error {
		return tx.Each(scheduleTable, func(volume string, get func(any) error) error {
			var s schedule
			err := get(&s)
			all[volume] = s
			return err
		})
	})
	return all, err
}

// snapshotSchedule sets or tells a volume's schedule.
func (d *Daemon) snapshotSchedule(_ context.Context, c *ctlfs.Call) error {
	name := c.Arg("volume")
	s, told, err := parseSchedule(c)
	if err != nil {
		return err
	}
	err = d.update(func(tx *store.Tx) error {
		if _, err := findVolume(tx, name); err != nil {
			return err
		}
		if told {
			return putSchedule(tx, name, s)
		}
		s, err = getSchedule(tx, name)
		return err
	})
	switch {
	case err != nil:
		return err
	case told:
		d.event("snapshot.schedule", "volume", name, "schedule", strings.Join(s.words(), " "))
		d.upkeep.kick()
	case s == (schedule{}):
		c.Printf("volume %s has no schedule\n", ctlfs.Quote(name))
	default:
		c.Printf("%s\n", ctlfs.Join(append([]string{"snapshot", "schedule", name}, s.words()...)))
	}
	return nil
}

// parseSchedule reads a schedule from a command; told says whether there is one.
func parseSchedule(c *ctlfs.Call) (s schedule, told bool, err error) {
	for key, n := range map[string]*int{"hourly": &s.Hourly, "daily": &s.Daily, "weekly": &s.Weekly} {
		if !c.Has(key) {
			continue
		}
		told = true
		if *n, err = strconv.Atoi(c.Arg(key)); err != nil || *n < 0 || *n > maxScheduled {
			return s, told, ctlfs.Errorf(syscall.EINVAL, "%s=%s: want how many to keep, a number up to %d", key, c.Arg(key), maxScheduled)
		}
	}
	switch off := c.Has("off"); {
	case off && told:
		return s, told, ctlfs.Errorf(syscall.EINVAL, "off and a number of snapshots cannot stand together")
	case told && s == (schedule{}):
		return s, told, ctlfs.Errorf(syscall.EINVAL, "a schedule that keeps nothing: off ends it")
	default:
		return s, told || off, nil
	}
}

// keepSchedules makes the snapshots that are due at now and removes those
// that schedules do not keep. A volume that fails stands in the way of none.
func (d *Daemon) keepSchedules(ctx context.Context, now time.Time) error {
	all, err := d.schedules()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := d.keepSchedule(ctx, name, all[name], now); err != nil && ctx.Err() == nil {
			d.event("snapshot.failed", "volume", name, "error", err.Error())
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *Daemon) keepSchedule(ctx context.Context, name string, s schedule, now time.Time) error {
	v, ctx, done, err := d.useVolume(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	list, err := scheduled(ctx, v)
	if err != nil {
		return err
	}
	if s.due(now, times(list)) {
		if _, err := d.takeSnapshot(ctx, v, vol.AutoPrefix+snapshotTime(now)); err != nil && !errors.Is(err, syscall.EEXIST) {
			return err
		}
		if list, err = scheduled(ctx, v); err != nil {
			return err
		}
	}
	for _, i := range s.spare(now, times(list)) {
		if err := d.dropSnapshot(ctx, v, list[i].name); err != nil && !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	return nil
}

// scheduledSnapshot is a snapshot that a schedule made. Its time is the one in
// its name.
type scheduledSnapshot struct {
	name string
	at   time.Time
}

// scheduled are the snapshots that schedules made.
func scheduled(ctx context.Context, v *openVolume) (out []scheduledSnapshot, err error) {
	all, err := v.vol.Snapshots(ctx)
	for _, s := range all {
		if text, ok := strings.CutPrefix(s.Name, vol.AutoPrefix); ok {
			if at, err := time.Parse(snapshotStamp, text); err == nil {
				out = append(out, scheduledSnapshot{s.Name, at})
			}
		}
	}
	return out, err
}

func times(list []scheduledSnapshot) []time.Time {
	out := make([]time.Time, len(list))
	for i, s := range list {
		out[i] = s.at
	}
	return out
}
