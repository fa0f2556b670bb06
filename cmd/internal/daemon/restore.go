package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/merge"
	"bazil/store/vol"
)

// cleanPath is a path in a volume without slashes at its ends. The directory
// of snapshots is not of the volume.
func cleanPath(p string) (string, error) {
	clean := strings.Trim(path.Clean("/"+p), "/")
	for elem := range strings.SplitSeq(p, "/") {
		if elem == "." || elem == ".." {
			return "", ctlfs.Errorf(syscall.EINVAL, "path %q: take one without . and ..", p)
		}
	}
	if clean == ".snap" || strings.HasPrefix(clean, ".snap/") {
		return "", ctlfs.Errorf(syscall.EINVAL, "path %q is among the snapshots, where nothing can be changed", p)
	}
	return clean, nil
}

// snapshotRestore brings what a snapshot has back into the live tree.
func (d *Daemon) snapshotRestore(ctx context.Context, c *ctlfs.Call) error {
	v, ctx, done, err := d.useVolume(ctx, c.Arg("volume"))
	if err != nil {
		return err
	}
	defer done()
	r := &restoring{d: d, v: v, c: c, snapshot: c.Arg("name")}
	if r.path, err = cleanPath(c.Arg("path")); err != nil {
		return err
	}
	r.to = r.path
	if c.Has("to") {
		if r.to, err = cleanPath(c.Arg("to")); err != nil {
			return err
		}
	}
	if err := r.find(ctx); err != nil {
		return err
	}
	err = r.run(ctx)
	d.followers.settle(ctx)
	return err
}

// restoring is one restore under way.
type restoring struct {
	d        *Daemon
	v        *openVolume
	c        *ctlfs.Call
	snapshot string
	path, to string
	root     *vol.SnapNode // of the snapshot
	from     *vol.SnapNode // at path
	dir      *vol.Node     // the directory of to, in the live tree
	name     string        // in dir; empty for the volume's root
}

// find looks all up that is needed, and changes nothing.
func (r *restoring) find(ctx context.Context) (err error) {
	if r.root, err = openSnapshot(ctx, r.v, r.snapshot); err != nil {
		return err
	}
	if r.from, err = r.root.Find(ctx, r.path); err != nil {
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
			return ctlfs.Errorf(syscall.ENOENT, "snapshot %q of volume %q has no %q", r.snapshot, r.v.name, r.path)
		}
		return err
	}
	if r.to == "" && r.from.Kind() != merge.KindDir {
		return ctlfs.Errorf(syscall.EINVAL, "%q is no directory: to= must name what it is to be called", r.path)
	}
	return nil
}

// parent finds the directory that to stands in. Where the restore goes to
// where things were, directories that are gone come back with it.
func (r *restoring) parent(ctx context.Context) error {
	r.dir = r.v.vol.Root()
	dirs, name := path.Split(r.to)
	r.name = name
	at := ""
	for elem := range strings.SplitSeq(strings.Trim(dirs, "/"), "/") {
		if elem == "" {
			continue
		}
		at = path.Join(at, elem)
		next, err := r.dir.Lookup(ctx, elem)
		if errors.Is(err, syscall.ENOENT) && r.to == r.path {
			next, err = r.makeDir(ctx, at, elem)
		}
		if err == nil && next.Kind() != merge.KindDir {
			err = syscall.ENOTDIR
		}
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
			return ctlfs.Errorf(syscall.ENOENT, "volume %q has no directory %q to restore into", r.v.name, at)
		}
		if err != nil {
			return err
		}
		r.dir = next
	}
	return nil
}

// makeDir brings a directory on the way back, with nothing in it.
func (r *restoring) makeDir(ctx context.Context, at, elem string) (*vol.Node, error) {
	n, err := r.root.Find(ctx, at)
	if err != nil {
		return nil, err
	}
	a := n.Attr()
	return r.dir.Create(ctx, elem, vol.New{Kind: merge.KindDir, Mode: a.Mode, UID: a.UID, GID: a.GID})
}

// run keeps what is there now in a snapshot, and restores.
func (r *restoring) run(ctx context.Context) error {
	kept, now, err := r.keep(ctx)
	if err != nil {
		return err
	}
	var res vol.RestoreResult
	if err = r.parent(ctx); err == nil {
		res, err = r.v.vol.Restore(ctx, r.dir, r.name, r.from, vol.RestoreOptions{Now: now, Exact: r.c.Has("exact")})
	}
	if err == nil {
		err = r.v.vol.Sync(ctx)
	}
	if res.Replaced+res.Removed == 0 {
		kept, err = "", errors.Join(err, r.d.dropSnapshot(context.WithoutCancel(ctx), r.v, kept))
	}
	if err != nil {
		if kept != "" {
			err = fmt.Errorf("%w; what was replaced is kept in snapshot %s", err, kept)
		}
		return err
	}
	r.tell(res, kept)
	return nil
}

// keep makes the snapshot in which is found again what is replaced.
func (r *restoring) keep(ctx context.Context) (name string, now *vol.SnapNode, err error) {
	base := "before-restore-" + snapshotTime(time.Now())
	name = base
	for i := 2; ; i++ {
		_, err = r.d.takeSnapshot(ctx, r.v, name)
		if !errors.Is(err, syscall.EEXIST) {
			break
		}
		name = fmt.Sprintf("%s-%d", base, i)
	}
	if err != nil {
		return "", nil, err
	}
	now, err = openSnapshot(ctx, r.v, name)
	if err == nil {
		now, err = now.Find(ctx, r.to)
	}
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return name, nil, nil
	}
	return name, now, err
}

// tell says what was done.
func (r *restoring) tell(res vol.RestoreResult, kept string) {
	r.d.event("snapshot.restore", "volume", r.v.name, "snapshot", r.snapshot, "path", r.path, "to", r.to)
	r.c.Records([]ctlfs.Record{ctlfs.Rec("restored", "/"+r.to, "volume", r.v.name, "snapshot", r.snapshot,
		"made", number(res.Made), "replaced", number(res.Replaced), "removed", number(res.Removed),
		"left", number(res.Extra), "incomplete", number(res.Partial), "kept", kept)})
}
