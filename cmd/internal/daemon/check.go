package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bazil/store"
	"bazil/store/vol"
)

// CheckReport is what Check found.
type CheckReport struct {
	Faults    int
	Volumes   int
	Names     int64
	Snapshots int64
	Absent    int64 // chunks that other storage has to have
	Replaced  int64 // damaged copies of chunks of which there is a good one, no faults
}

// Check reads all of a data directory that no server has open: keys,
// configuration, chunks, index, and every volume with its snapshots. It
// changes nothing. The error says that the check itself could not be done.
func Check(ctx context.Context, dir string, o store.CheckOptions) (CheckReport, error) {
	k := &dirCheck{dir: dir}
	o.More = k.volumes
	note := o.Note
	o.Note = func(f store.Fault) {
		k.report.Replaced++
		if note != nil {
			note(f)
		}
	}
	faults, err := store.Check(ctx, dir, o)
	k.report.Faults = len(faults)
	return k.report, err
}

// dirCheck is one Check under way.
type dirCheck struct {
	dir    string
	report CheckReport
}

// volumes checks the files of all volumes, removed ones included.
func (k *dirCheck) volumes(ctx context.Context, c *store.Checked) error {
	var all []volumeEntry
	err := c.View(func(tx *store.Tx) (err error) {
		all, err = listVolumes(tx)
		return err
	})
	if err != nil {
		c.Fault(filepath.Join(k.dir, "config.db"), err)
	}
	known := make(map[string]bool)
	for _, e := range all {
		path := k.path(e.ID.String())
		known[path] = true
		if err := k.volume(ctx, c, path, e); err != nil {
			return err
		}
	}
	files, err := os.ReadDir(filepath.Join(k.dir, "volumes"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, f := range files {
		path := filepath.Join(k.dir, "volumes", f.Name())
		if known[path] || !strings.HasSuffix(path, ".db") {
			continue
		}
		if err := k.removed(ctx, c, path); err != nil {
			return err
		}
	}
	return nil
}

func (k *dirCheck) path(id string) string { return filepath.Join(k.dir, "volumes", id+".db") }

// volume checks a volume's file.
func (k *dirCheck) volume(ctx context.Context, c *store.Checked, path string, e volumeEntry) error {
	c.Progress(path)
	k.report.Volumes++
	key, err := c.SharingKey(e.Sharing)
	if err != nil {
		c.Fault(path, fmt.Errorf("volume %q: %w", e.name, err))
		return nil
	}
	remote := slices.ContainsFunc(e.Storage, func(b string) bool { return b != localBackend })
	found, err := vol.CheckFile(ctx, path, c, store.NewSealer(key), remote, func(err error) {
		c.Fault(path, fmt.Errorf("volume %q: %w", e.name, err))
	})
	k.report.Names += found.Names
	k.report.Snapshots += found.Snapshots
	if remote {
		k.report.Absent += found.Absent
	}
	if err != nil && ctx.Err() == nil {
		c.Fault(path, fmt.Errorf("volume %q: %w", e.name, err))
	}
	return ctx.Err()
}

// removed checks the structure of a file that no volume's record names.
func (k *dirCheck) removed(ctx context.Context, c *store.Checked, path string) error {
	c.Progress(path)
	if fi, err := os.Stat(path); err == nil && fi.Size() == 0 {
		return nil // its making was cut short
	}
	if err := vol.CheckRemoved(ctx, path, func(err error) { c.Fault(path, err) }); err != nil {
		c.Fault(path, err)
	}
	return ctx.Err()
}
