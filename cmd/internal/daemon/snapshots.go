package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/store/vol"
)

// snapshotHandlers do the commands about snapshots.
func (d *Daemon) snapshotHandlers() map[string]ctlfs.Handler {
	return map[string]ctlfs.Handler{
		"snapshot create":  d.snapshotCreate,
		"snapshot list":    d.snapshotList,
		"snapshot remove":  d.snapshotRemove,
		"snapshot rename":  d.snapshotRename,
		"snapshot diff":    d.snapshotDiff,
		"snapshot restore": d.snapshotRestore,
		"snapshot pointer": d.snapshotPointer,
		"snapshot schedule": func(ctx context.Context, c *ctlfs.Call) error {
			return d.alone(ctx, func() error { return d.snapshotSchedule(ctx, c) })
		},
		"snapshot import": func(ctx context.Context, c *ctlfs.Call) error {
			return d.alone(ctx, func() error { return d.snapshotImport(ctx, c) })
		},
	}
}

// snapshotStamp is how a time stands in the name of a snapshot, in UTC.
const snapshotStamp = "20060102T150405Z"

func snapshotTime(t time.Time) string { return t.UTC().Format(snapshotStamp) }

// snapshotCreate makes a snapshot.
func (d *Daemon) snapshotCreate(ctx context.Context, c *ctlfs.Call) error {
	v, ctx, done, err := d.useVolume(ctx, c.Arg("volume"))
	if err != nil {
		return err
	}
	defer done()
	name := c.Arg("name")
	if name == "" && !c.Has("name") {
		name = snapshotTime(time.Now())
	}
	if err := vol.CheckSnapshotName(name); err != nil {
		return err
	}
	s, err := d.takeSnapshot(ctx, v, name)
	if err == nil {
		c.Records([]ctlfs.Record{snapshotRecord(v.name, s)})
	}
	return err
}

// takeSnapshot makes a snapshot and tells of it.
func (d *Daemon) takeSnapshot(ctx context.Context, v *openVolume, name string) (vol.SnapshotInfo, error) {
	s, err := v.vol.Snapshot(ctx, name)
	if err != nil {
		return s, snapshotError(v.name, name, err)
	}
	d.event("snapshot.create", "volume", v.name, "snapshot", name)
	return s, nil
}

// snapshotError says which snapshot an error is about.
func snapshotError(volume, name string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return ctlfs.Errorf(syscall.ENOENT, "volume %q has no snapshot %q: snapshot list tells those there are", volume, name)
	case errors.Is(err, syscall.EEXIST):
		return ctlfs.Errorf(syscall.EEXIST, "volume %q has a snapshot %q already", volume, name)
	}
	return fmt.Errorf("snapshot %q of volume %q: %w", name, volume, err)
}

func snapshotRecord(volume string, s vol.SnapshotInfo) ctlfs.Record {
	return ctlfs.Rec("snapshot", s.Name, "volume", volume, "created", stamp(time.Unix(0, s.Created)),
		"files", number(s.Files), "bytes", number(s.Bytes))
}

// snapshotList lists snapshots by age.
func (d *Daemon) snapshotList(ctx context.Context, c *ctlfs.Call) error {
	names := []string{c.Arg("volume")}
	if !c.Has("volume") {
		names = d.VolumeNames()
	}
	for _, name := range names {
		v, ctx, done, err := d.useVolume(ctx, name)
		if err != nil {
			return err
		}
		all, err := v.vol.Snapshots(ctx)
		done()
		if err != nil {
			return fmt.Errorf("volume %q: %w", name, err)
		}
		slices.SortStableFunc(all, func(a, b vol.SnapshotInfo) int { return cmp.Compare(a.Created, b.Created) })
		for _, s := range all {
			c.Records([]ctlfs.Record{snapshotRecord(name, s)})
		}
	}
	return nil
}

// snapshotRemove forgets a snapshot.
func (d *Daemon) snapshotRemove(ctx context.Context, c *ctlfs.Call) error {
	v, ctx, done, err := d.useVolume(ctx, c.Arg("volume"))
	if err != nil {
		return err
	}
	defer done()
	return d.dropSnapshot(ctx, v, c.Arg("name"))
}

func (d *Daemon) dropSnapshot(ctx context.Context, v *openVolume, name string) error {
	if err := v.vol.RemoveSnapshot(ctx, name); err != nil {
		return snapshotError(v.name, name, err)
	}
	d.event("snapshot.remove", "volume", v.name, "snapshot", name)
	return nil
}

// snapshotRename gives a snapshot another name.
func (d *Daemon) snapshotRename(ctx context.Context, c *ctlfs.Call) error {
	v, ctx, done, err := d.useVolume(ctx, c.Arg("volume"))
	if err != nil {
		return err
	}
	defer done()
	name, newName := c.Arg("name"), c.Arg("new")
	if err := vol.CheckSnapshotName(newName); err != nil {
		return err
	}
	err = v.vol.RenameSnapshot(ctx, name, newName)
	switch {
	case errors.Is(err, syscall.EEXIST):
		return snapshotError(v.name, newName, err)
	case err != nil:
		return snapshotError(v.name, name, err)
	}
	d.event("snapshot.rename", "volume", v.name, "snapshot", newName, "was", name)
	return nil
}

// snapshotPointer tells a snapshot's pointer, sealed under the volume's key.
func (d *Daemon) snapshotPointer(ctx context.Context, c *ctlfs.Call) error {
	v, ctx, done, err := d.useVolume(ctx, c.Arg("volume"))
	if err != nil {
		return err
	}
	defer done()
	s, err := v.vol.SnapshotInfo(ctx, c.Arg("name"))
	if err != nil {
		return snapshotError(v.name, c.Arg("name"), err)
	}
	e, err := volumeObject{d, v.name}.entry()
	if err != nil {
		return err
	}
	key, err := d.sharingKey(e.Sharing)
	if err == nil {
		c.Printf("%s\n", key.SealPointer(s.Pointer))
	}
	return err
}

// openSnapshot returns a snapshot's root directory.
func openSnapshot(ctx context.Context, v *openVolume, name string) (*vol.SnapNode, error) {
	n, err := v.vol.OpenSnapshot(ctx, name)
	if err != nil {
		return nil, snapshotError(v.name, name, err)
	}
	return n, nil
}

// snapshotDiff tells in what two trees differ.
func (d *Daemon) snapshotDiff(ctx context.Context, c *ctlfs.Call) error {
	v, ctx, done, err := d.useVolume(ctx, c.Arg("volume"))
	if err != nil {
		return err
	}
	defer done()
	a, err := openSnapshot(ctx, v, c.Arg("from"))
	if err != nil {
		return err
	}
	var b *vol.SnapNode
	if c.Has("to") {
		b, err = openSnapshot(ctx, v, c.Arg("to"))
	} else {
		var release func()
		if b, release, err = v.vol.Freeze(ctx); err == nil {
			defer release()
		}
	}
	if err != nil {
		return err
	}
	all, err := vol.Diff(ctx, a, b)
	if err != nil {
		return fmt.Errorf("compare snapshots of volume %q: %w", v.name, err)
	}
	for _, x := range all {
		c.Records([]ctlfs.Record{differenceRecord(x)})
	}
	return nil
}

func differenceRecord(x vol.Difference) ctlfs.Record {
	path := x.Path
	if path == "" {
		path = "/"
	}
	return ctlfs.Rec(x.Change.String(), path, "from", x.From, "kind", x.Kind.String(), "size", number(x.Size),
		"what", strings.Join(x.What, ","))
}
