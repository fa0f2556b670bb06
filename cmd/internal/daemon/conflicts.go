package daemon

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/merge"
	"bazil/p9srv"
	"bazil/store/vol"
)

// conflicts lists the names with several versions.
func (d *Daemon) conflicts(ctx context.Context, c *ctlfs.Call) error {
	names := d.volumes.names()
	if v := c.Arg("volume"); v != "" {
		names = []string{v}
	}
	for _, name := range names {
		all, err := volumeObject{d, name}.Conflicts(ctx)
		if err != nil {
			return err
		}
		for _, conflict := range all {
			for _, v := range conflict.Versions {
				c.Records([]ctlfs.Record{append(ctlfs.Rec("conflict", conflict.Path, "volume", name), v.Info...)})
			}
		}
	}
	return nil
}

// Conflicts is what the volume's conflicts directory shows.
func (o volumeObject) Conflicts(ctx context.Context) ([]ctlfs.Conflict, error) {
	v, ctx, done, err := o.d.useVolume(ctx, o.name)
	if err != nil {
		return nil, err
	}
	defer done()
	all, err := v.vol.Conflicts(ctx)
	conflicts := make([]ctlfs.Conflict, len(all))
	for i, c := range all {
		conflicts[i].Path = strings.TrimPrefix(c.Path, "/")
		for _, s := range c.Siblings {
			conflicts[i].Versions = append(conflicts[i].Versions, version(v.vol, c, s))
		}
	}
	return conflicts, err
}

func version(v *vol.Volume, c vol.Conflict, s vol.Sibling) ctlfs.ConflictVersion {
	shown := ""
	if s.Shown {
		shown = "yes"
	}
	made := ctlfs.ConflictVersion{File: versionFile(c.Path, s), Size: s.Size}
	made.Info = ctlfs.Rec("file", made.File, "replica", s.Dot.Replica.String(), "kind", kindName(s.Kind),
		"size", number(s.Size), "time", stamp(time.Unix(0, s.MTime)), "shown", shown)
	if s.Kind == merge.KindFile {
		made.Open = func(ctx context.Context) (p9srv.File, error) { return openVersion(ctx, v, c.Path, s.Dot) }
	}
	return made
}

// versionFile is what a version is called beside the others: unlike any other
// version of that name, wherever it is seen.
func versionFile(p string, s vol.Sibling) string {
	return fmt.Sprintf("%s.%s.%s-%d", path.Base(p), s.Dot.Replica.String()[:8],
		time.Unix(0, s.MTime).UTC().Format("20060102T150405Z"), s.Dot.N)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func kindName(k merge.Kind) string {
	switch k {
	case merge.KindFile:
		return "file"
	case merge.KindDir:
		return "directory"
	case merge.KindSymlink:
		return "symlink"
	default:
		return "special"
	}
}

// versionBytes is a version as a file that can only be read.
type versionBytes struct{ h *vol.Handle }

func openVersion(ctx context.Context, v *vol.Volume, path string, dot merge.Dot) (p9srv.File, error) {
	h, err := v.OpenSibling(ctx, path, dot)
	if err != nil {
		return nil, err
	}
	return versionBytes{h}, nil
}

func (f versionBytes) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return f.h.ReadAt(ctx, p, off)
}

func (f versionBytes) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EBADF }
func (f versionBytes) Sync(context.Context, bool) error                    { return nil }
func (f versionBytes) Close() error                                        { return f.h.Close() }

// resolve ends a conflict.
func (d *Daemon) resolve(ctx context.Context, c *ctlfs.Call) error {
	name, path := c.Arg("volume"), strings.Trim(c.Arg("path"), "/")
	v, ctx, done, err := d.useVolume(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	all, err := v.vol.Conflicts(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(c vol.Conflict) bool { return strings.Trim(c.Path, "/") == path })
	if i < 0 {
		return ctlfs.Errorf(syscall.ENOENT, "volume %q has no conflict at %q", name, path)
	}
	keep, err := choose(all[i], c.Arg("which"))
	if err != nil {
		return err
	}
	if err := v.vol.Resolve(ctx, all[i].Path, all[i].Dots(), keep.Dot); err != nil {
		return fmt.Errorf("resolve %q in volume %q: %w", path, name, err)
	}
	d.followers.settle(ctx)
	d.event("resolve", "volume", name, "path", path, "kept", versionFile(path, keep))
	return nil
}

// choose picks the version that a user's word means. It must be one.
func choose(c vol.Conflict, which string) (vol.Sibling, error) {
	var found []vol.Sibling
	for _, s := range c.Siblings {
		if means(which, c, s) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return vol.Sibling{}, ctlfs.Errorf(syscall.EINVAL, "%q means %d of the %d versions of %q: conflicts tells how they are called",
			which, len(found), len(c.Siblings), c.Path)
	}
	return found[0], nil
}

func means(which string, c vol.Conflict, s vol.Sibling) bool {
	switch which {
	case "mine":
		return s.Shown
	case "theirs":
		return !s.Shown
	case "newest":
		return !slices.ContainsFunc(c.Siblings, func(o vol.Sibling) bool { return o.MTime > s.MTime })
	default:
		replica := s.Dot.Replica.String()
		return which == replica || which == replica[:8] || which == versionFile(c.Path, s)
	}
}
