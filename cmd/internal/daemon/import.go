package daemon

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"bazil/ctlfs"
	"bazil/store"
	"bazil/store/vol"
)

// snapshotImport makes a volume of the snapshot that a pointer leads to.
func (d *Daemon) snapshotImport(ctx context.Context, c *ctlfs.Call) error {
	e := volumeEntry{c.Arg("name"), volumeRecord{ID: vol.NewID(), Sharing: sharingOf(c), Storage: []string{localBackend}}}
	if err := d.volumeMakeable(e); err != nil {
		return err
	}
	key, err := d.sharingKey(e.Sharing)
	if err != nil {
		return err
	}
	pointer, err := key.OpenPointer(c.Arg("pointer"))
	if err != nil {
		return ctlfs.Errorf(syscall.EINVAL, "sharing key %q: %v", e.Sharing, err)
	}
	if backend := c.Arg("storage"); backend != "" && backend != localBackend {
		if err := d.view(func(tx *store.Tx) error { return d.checkBackend(tx, backend) }); err != nil {
			return err
		}
		e.Storage = append(e.Storage, backend)
	}
	res, err := d.importSnapshot(ctx, e, key, pointer)
	if err != nil {
		return fmt.Errorf("import into volume %q: %w", e.name, err)
	}
	c.Records([]ctlfs.Record{ctlfs.Rec("imported", e.name, "id", e.ID.String(), "names", number(res.Made),
		"incomplete", number(res.Partial), "devices", number(res.Skipped))})
	return nil
}

// importSnapshot makes the volume's file and fills it; only when it is whole
// it gets its record.
func (d *Daemon) importSnapshot(ctx context.Context, e volumeEntry, key store.SharingKey, p store.Pointer) (res vol.RestoreResult, err error) {
	o := d.volumeOptions(e.name, key)
	o.Fetch = volumeFetcher{d, e.name, e.Storage}
	path := d.volumePath(e.ID)
	if err := vol.Create(path, e.ID, o); err != nil {
		return res, err
	}
	if res, err = fillVolume(ctx, path, o, p); err == nil {
		err = d.enterVolume(e)
	}
	if err != nil {
		err = errors.Join(err, vol.Remove(path))
	}
	return res, err
}

// fillVolume puts what a snapshot has into a volume that is not in use.
func fillVolume(ctx context.Context, path string, o vol.Options, p store.Pointer) (res vol.RestoreResult, err error) {
	v, err := vol.Open(path, o)
	if err != nil {
		return res, err
	}
	from, err := v.OpenSnapshotAt(ctx, p)
	if err == nil {
		res, err = v.Restore(ctx, v.Root(), "", from, vol.RestoreOptions{NoDevices: true})
	}
	if err == nil {
		err = v.Sync(ctx)
	}
	return res, errors.Join(err, v.Close())
}
