package daemon

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"

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
		if v := d.volumes.get(name); v != nil && v.failed != nil && c.Arg("volume") == "" {
			continue // status tells why it could not be opened
		}
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
	names, err := o.d.replicaNames()
	if err != nil {
		return nil, err
	}
	all, err := v.vol.Conflicts(ctx)
	conflicts := make([]ctlfs.Conflict, len(all))
	for i := range all {
		c := &all[i]
		slices.SortFunc(c.Siblings, later)
		files := versionFiles(c, names)
		conflicts[i].Path = c.Path
		for j, s := range c.Siblings {
			shown, err := version{v.vol, o.name, c.Path, s}.show(ctx, files[j], names)
			if err != nil {
				return nil, err
			}
			conflicts[i].Versions = append(conflicts[i].Versions, shown)
		}
	}
	return conflicts, err
}

// later is the order of versions: the one that was changed last first.
func later(a, b vol.Sibling) int {
	if a.MTime != b.MTime {
		return cmp.Compare(b.MTime, a.MTime)
	}
	return b.Dot.Compare(a.Dot)
}

// version is one version of a name in conflict.
type version struct {
	vol    *vol.Volume
	volume string
	path   string
	vol.Sibling
}

// show is the version as ctl has it.
func (v version) show(ctx context.Context, file string, names *replicaNames) (ctlfs.ConflictVersion, error) {
	shown, content, replica, device := "", "", "", ""
	if v.Shown {
		shown = "yes"
	}
	if v.Dot != (merge.Dot{}) {
		replica = v.Dot.Replica.String()
		here, err := v.vol.SiblingHere(ctx, v.path, v.Dot)
		if err == nil && !here {
			content = "missing"
		}
	}
	if key, ok := names.key(v.Dot); ok {
		device = key.String()
	}
	made := ctlfs.ConflictVersion{File: file, Size: v.Size, Open: v.open}
	if v.Kind != merge.KindFile {
		text, err := v.describe(ctx)
		if err != nil {
			return made, err
		}
		made.Size, made.Open = int64(len(text)), func(context.Context) (p9srv.File, error) { return versionText(text), nil }
	}
	made.Info = ctlfs.Rec("file", file, "peer", names.label(v.Dot), "device", device, "replica", replica,
		"kind", kindName(v.Kind), "size", number(v.Size), "time", stamp(time.Unix(0, v.MTime)), "shown", shown, "content", content)
	return made, ctx.Err()
}

// describe is what is told of a version that is no file.
func (v version) describe(ctx context.Context) (string, error) {
	switch {
	case v.Kind == merge.KindSymlink:
		return v.vol.SiblingTarget(ctx, v.path, v.Dot)
	case v.Kind == merge.KindDir && v.Shown:
		return fmt.Sprintf("a directory: its files are in /%s/%s\n", v.volume, v.path), nil
	}
	return fmt.Sprintf("a %s\n", kindName(v.Kind)), nil
}

// versionFiles are what the versions of a conflict are called: NAME.PEER.TIME,
// with the number of the change behind it where two would be called the same.
func versionFiles(c *vol.Conflict, names *replicaNames) []string {
	files := make([]string, len(c.Siblings))
	count := make(map[string]int)
	for i, s := range c.Siblings {
		files[i] = "." + names.label(s.Dot) + "." + time.Unix(0, s.MTime).UTC().Format(fileTime)
		count[files[i]]++
	}
	for i, s := range c.Siblings {
		tag := files[i]
		if count[tag] > 1 {
			tag += fmt.Sprintf("-%d", s.Dot.N)
		}
		files[i] = cutName(path.Base(c.Path), tag)
	}
	return files
}

// fileTime is UTC, in an order that names sort by.
const fileTime = "20060102T150405Z"

// cutName puts tag behind a name, of which an end is left out where both would
// be longer than a file name may be.
func cutName(name, tag string) string {
	if room := ctlfs.MaxName - len(tag); len(name) > room {
		name = name[:max(room, 0)]
		for len(name) > 0 && !utf8.ValidString(name) {
			name = name[:len(name)-1]
		}
	}
	return name + tag
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
	case merge.KindDevice:
		return "device"
	default:
		return "special"
	}
}

// open opens the version for reading.
func (v version) open(ctx context.Context) (p9srv.File, error) {
	h, err := v.vol.OpenSibling(ctx, v.path, v.Dot)
	if err != nil {
		return nil, err
	}
	return versionBytes{h}, nil
}

// versionBytes is a version as a file that can only be read.
type versionBytes struct{ h *vol.Handle }

func (f versionBytes) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return f.h.ReadAt(ctx, p, off)
}

func (f versionBytes) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EBADF }
func (f versionBytes) Sync(context.Context, bool) error                    { return nil }
func (f versionBytes) Close() error                                        { return f.h.Close() }

// versionText is what is told of a version that is no file.
type versionText string

func (f versionText) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(f)) {
		return 0, nil
	}
	return copy(p, f[off:]), nil
}

func (f versionText) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EBADF }
func (f versionText) Sync(context.Context, bool) error                    { return nil }
func (f versionText) Close() error                                        { return nil }
