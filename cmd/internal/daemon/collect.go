package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/store"
	"bazil/store/vol"
)

// storeHandlers do the commands about the chunks of all volumes.
func (d *Daemon) storeHandlers() map[string]ctlfs.Handler {
	return map[string]ctlfs.Handler{
		"store collect": d.storeCollect,
		"store scrub":   d.storeScrub,
		"store repair":  d.storeRepair,
		"store auto":    d.storeAuto,
	}
}

// parseRate reads a number of bytes a second, 0 for none given.
func parseRate(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	digits := strings.TrimRight(text, "kMG")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, ok := map[string]uint{"": 0, "k": 10, "M": 20, "G": 30}[text[len(digits):]]
	if err != nil || !ok || n <= 0 || n > 1<<62>>shift {
		return 0, ctlfs.Errorf(syscall.EINVAL, "rate=%s: want bytes a second, as 500k or 20M", text)
	}
	return n << shift, nil
}

// storeCollect frees what nothing refers to.
func (d *Daemon) storeCollect(ctx context.Context, c *ctlfs.Call) error {
	rate, err := parseRate(c.Arg("rate"))
	if err != nil {
		return err
	}
	p, err := d.collect(ctx, store.CollectOptions{DryRun: c.Has("dry-run"), BytesPerSecond: rate}, c.Has("force"))
	if err != nil {
		return err
	}
	freed := "freed"
	if c.Has("dry-run") {
		freed = "would-free"
	}
	c.Records([]ctlfs.Record{ctlfs.Rec("collect", localBackend, "live-chunks", number(p.Live), "live-bytes", number(p.LiveBytes),
		"dead-chunks", number(p.Dead), "dead-bytes", number(p.DeadBytes), freed, number(p.Freed), "segments", number(int64(p.Segments)),
		"stuck", number(int64(p.Stuck)))})
	return nil
}

// collect marks everything that volumes refer to, removed ones included, and
// frees the rest.
func (d *Daemon) collect(ctx context.Context, o store.CollectOptions, force bool) (store.CollectProgress, error) {
	t, err := d.tasks.begin("store collect")
	if err != nil {
		return store.CollectProgress{}, err
	}
	defer t.end()
	o.Progress = func(p store.CollectProgress) {
		t.at("phase", "copying", "segments", number(int64(p.Segments)), "done", number(int64(p.Done)), "copied", number(p.Copied), "freed", number(p.Freed))
	}
	m := &marking{d: d, task: t, force: force, unique: make(map[[8]byte]struct{}), usage: usageRecord{Volumes: make(map[string]int64)}}
	p, err := d.store.Chunks().Collect(ctx, m.mark, o)
	if err != nil {
		return p, err
	}
	m.usage.At, m.usage.Live, m.usage.Dead = time.Now().UnixNano(), p.LiveBytes, p.DeadBytes
	if o.DryRun {
		m.usage.Free = p.Freed
	} else {
		m.usage.Dead = max(p.DeadBytes-p.Freed, 0)
		d.event("store.collect", "freed", number(p.Freed), "live", number(p.LiveBytes))
	}
	return p, d.remember(usageKey, &m.usage)
}

// marking is one mark under way.
type marking struct {
	d      *Daemon
	task   *task
	force  bool
	unique map[[8]byte]struct{} // chunks of content
	usage  usageRecord
	marked int64
}

// mark keeps what all volumes refer to. A volume that is made meanwhile refers
// to what is stored or found meanwhile, which is kept anyway.
func (m *marking) mark(ctx context.Context, keep func(store.ID)) error {
	counted := func(id store.ID) {
		keep(id)
		if m.marked++; m.marked%4096 == 0 {
			m.task.at("phase", "marking", "chunks", number(m.marked))
		}
	}
	var names []string
	err := m.d.alone(ctx, func() (err error) {
		if names, err = m.configured(); err != nil {
			return err
		}
		return m.removed(ctx, counted)
	})
	for _, name := range names {
		if err == nil {
			err = m.volume(ctx, name, counted)
		}
	}
	return err
}

func (m *marking) configured() (names []string, err error) {
	err = m.d.view(func(tx *store.Tx) error {
		all, err := listVolumes(tx)
		for _, e := range all {
			names = append(names, e.name)
		}
		return err
	})
	return names, err
}

func (m *marking) volume(ctx context.Context, name string, keep func(store.ID)) error {
	v, ctx, done, err := m.d.useVolume(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	if err := v.vol.Sync(ctx); err != nil { // so that what was removed just now counts
		return fmt.Errorf("volume %q: %w", name, err)
	}
	own := make(map[[8]byte]struct{})
	bytes := int64(0)
	found, err := v.vol.MarkContent(ctx, keep, func(id store.ID, n int64) {
		short := [8]byte(id[:8])
		if _, seen := own[short]; seen {
			return
		}
		own[short] = struct{}{}
		bytes += n
		if _, seen := m.unique[short]; !seen {
			m.unique[short] = struct{}{}
			m.usage.Unique += n
		}
	})
	if err != nil {
		return fmt.Errorf("volume %q: %w", name, err)
	}
	m.usage.Unique += found.Inline
	m.usage.Volumes[name] = bytes + found.Inline
	return m.damaged("volume "+strconv.Quote(name), found)
}

// damaged refuses to go on where chunks cannot be read that list others.
func (m *marking) damaged(where string, found vol.Marked) error {
	if len(found.Damaged) == 0 || m.force {
		return nil
	}
	return damagedChunk(where, found)
}

func damagedChunk(where string, found vol.Marked) error {
	return ctlfs.Errorf(syscall.EIO, "%s: chunk %v, which lists others, is damaged: store repair gets a good copy if a peer has one; with force what only it leads to is freed",
		where, found.Damaged[0])
}

// removed marks the volumes that were removed and can be restored: their files
// have no record.
func (m *marking) removed(ctx context.Context, keep func(store.ID)) error {
	ids := make(map[vol.ID]bool)
	err := m.d.view(func(tx *store.Tx) error {
		all, err := listVolumes(tx)
		for _, e := range all {
			ids[e.ID] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	files, err := os.ReadDir(filepath.Dir(m.d.volumePath(vol.ID{})))
	for _, f := range files {
		text, isVolume := strings.CutSuffix(f.Name(), ".db")
		id, bad := vol.ParseID(text)
		if !isVolume || bad != nil || ids[id] || err != nil {
			continue
		}
		err = m.removedFile(ctx, m.d.volumePath(id), keep)
	}
	return err
}

// removedFile marks a removed volume. Which sharing key it had is not
// recorded: all are tried, and one that reads all of it is its own. Where none
// does, since something is damaged, what any of them has led to is kept.
func (m *marking) removedFile(ctx context.Context, path string, keep func(store.ID)) error {
	if fi, err := os.Stat(path); err == nil && fi.Size() == 0 {
		return nil // its making was cut short
	}
	var errs []error
	marked := false
	for _, name := range m.d.store.SharingKeys() {
		found, err := m.removedUnder(ctx, path, name, keep)
		if err == nil && len(found.Damaged) == 0 || ctx.Err() != nil {
			return err
		}
		if err == nil {
			marked, err = true, damagedChunk("removed volume "+path, found)
		}
		errs = append(errs, fmt.Errorf("sharing key %q: %w", name, err))
	}
	if marked && m.force {
		return nil
	}
	return fmt.Errorf("removed volume %s cannot be read, so nothing is freed; remove the file if it is not to be restored: %w", path, errors.Join(errs...))
}

func (m *marking) removedUnder(ctx context.Context, path, sharing string, keep func(store.ID)) (vol.Marked, error) {
	key, err := m.d.sharingKey(sharing)
	if err != nil {
		return vol.Marked{}, err
	}
	o := m.d.volumeOptions(filepath.Base(path), key)
	o.Fetch = nil
	v, err := vol.Open(path, o)
	if err != nil {
		return vol.Marked{}, err
	}
	found, err := v.MarkContent(ctx, keep, nil)
	return found, errors.Join(err, v.Close())
}
