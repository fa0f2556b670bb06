package daemon

import (
	"context"
	"errors"
	"strconv"
	"syscall"

	"bazil/ctlfs"
	"bazil/store"
)

// PublicKey is the device's key in hex.
func (d *Daemon) PublicKey() string { return d.key.Public().String() }

// Status is the root's status file: everything there is.
func (d *Daemon) Status(ctx context.Context) ([]ctlfs.Record, error) {
	records := []ctlfs.Record{d.deviceStatus(), d.storeStatus()}
	for _, part := range []func(context.Context) ([]ctlfs.Record, error){
		func(context.Context) ([]ctlfs.Record, error) { return d.sharingStatus() },
		d.peerStatus, d.volumesStatus, d.exportStatus,
		func(context.Context) ([]ctlfs.Record, error) { return d.tasks.records(), nil },
	} {
		more, err := part(ctx)
		if err != nil {
			return records, err
		}
		records = append(records, more...)
	}
	return records, nil
}

func (d *Daemon) deviceStatus() ctlfs.Record {
	return ctlfs.Rec("device", d.PublicKey(), "dir", d.store.Dir(), "listen", d.Addr().String(),
		"started", stamp(d.started))
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func (d *Daemon) status(ctx context.Context, c *ctlfs.Call) error {
	records, err := d.Status(ctx)
	c.Records(records)
	return err
}

// volumesStatus is all that the volumes' status files tell.
func (d *Daemon) volumesStatus(ctx context.Context) (records []ctlfs.Record, err error) {
	for _, name := range d.volumes.names() {
		more, err := volumeObject{d, name}.Status(ctx)
		if err != nil && !errors.Is(err, syscall.ENOENT) { // it may be gone by now
			return records, err
		}
		records = append(records, more...)
	}
	return records, nil
}

func (d *Daemon) volumeStatus(ctx context.Context) ([]ctlfs.Record, error) {
	var all []volumeEntry
	err := d.view(func(tx *store.Tx) (err error) {
		all, err = listVolumes(tx)
		return err
	})
	var records []ctlfs.Record
	for _, e := range all {
		records = append(records, d.volumeRecord(ctx, e))
	}
	return records, err
}

// volumeRecord tells of one volume; its figures only where it is open.
func (d *Daemon) volumeRecord(ctx context.Context, e volumeEntry) ctlfs.Record {
	r := ctlfs.Rec("volume", e.name, "id", e.ID.String(), "sharing", e.Sharing, "storage", ctlfs.Join(e.Storage),
		"keep", e.keepWord(), "pins", pinList(e.Pins))
	v, ctx, done, err := d.useVolume(ctx, e.name)
	if err != nil {
		return append(r, ctlfs.Rec("state", "failed", "error", err.Error())...)
	}
	defer done()
	r = append(r, ctlfs.Rec("state", "open", "replica", v.vol.Replica().String())...)
	s, err := v.vol.Stats(ctx)
	if err != nil {
		return append(r, ctlfs.Rec("error", err.Error())...)
	}
	r = append(r, ctlfs.Rec("files", number(s.Files), "dirs", number(s.Dirs), "bytes", number(s.LogicalBytes),
		"dirty", number(s.DirtyBytes), "conflicts", number(s.Conflicts))...)
	return append(r, d.usageOf(ctx, v)...)
}

// volumeObjects is the volumes as ctl shows them.
type volumeObjects struct{ d *Daemon }

// Names lists the volumes.
func (o volumeObjects) Names(context.Context) ([]string, error) { return o.d.volumes.names(), nil }

// Get finds a volume.
func (o volumeObjects) Get(_ context.Context, name string) (ctlfs.Object, error) {
	v := volumeObject{o.d, name}
	_, err := v.entry()
	return v, err
}

// volumeObject is one volume.
type volumeObject struct {
	d    *Daemon
	name string
}

func (o volumeObject) entry() (e volumeEntry, err error) {
	err = o.d.view(func(tx *store.Tx) error {
		e, err = findVolume(tx, o.name)
		return err
	})
	return e, err
}

// Name is the volume's name.
func (o volumeObject) Name() string { return o.name }

// Status is one record of the volume, one for each peer that it was synced with
// and one for each that it follows, and what tells why content is not here.
func (o volumeObject) Status(ctx context.Context) ([]ctlfs.Record, error) {
	e, err := o.entry()
	if err != nil {
		return nil, err
	}
	records := []ctlfs.Record{o.d.volumeRecord(ctx, e)}
	v, ctx, done, err := o.d.useVolume(ctx, o.name)
	if err != nil {
		return records, nil // which the volume's record tells
	}
	defer done()
	records = append(append(records, o.d.syncRecords(v)...), v.feeds.records()...)
	content, err := o.d.contentStatus(ctx, v, e)
	return append(append(records, content...), v.reads.records(o.d, o.name)...), err
}

// Config is the commands that give it what it has.
func (o volumeObject) Config(context.Context) ([][]string, error) {
	var all []command
	err := o.d.view(func(tx *store.Tx) error {
		e, err := findVolume(tx, o.name)
		if err != nil {
			return err
		}
		s, err := getSchedule(tx, o.name)
		all = append(e.config(), s.config(o.name)...)
		return err
	})
	return scoped(all), err
}

// Logs is true for the volume's own events.
func (o volumeObject) Logs(event ctlfs.Record) bool { return event.Get("volume") == o.name }

// peer finds a peer by name or key.
func (d *Daemon) peer(ref string) (p peerEntry, err error) {
	err = d.view(func(tx *store.Tx) error {
		p, err = findPeer(tx, ref)
		return err
	})
	return p, err
}
