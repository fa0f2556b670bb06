package daemon

import (
	"cmp"
	"context"
	"errors"
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
		if err := d.volumeConflicts(ctx, c, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) volumeConflicts(ctx context.Context, c *ctlfs.Call, name string) error {
	v, ctx, done, err := d.useVolume(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	names, err := d.replicaNames()
	if err != nil {
		return err
	}
	for found, err := range v.vol.EachConflict(ctx) {
		if err != nil {
			return err
		}
		for _, shown := range versionsOf(v, &found, names) {
			info, err := shown.info(ctx)
			if err != nil {
				return err
			}
			c.Records([]ctlfs.Record{append(ctlfs.Rec("conflict", found.Path, "volume", name), info...)})
		}
	}
	return nil
}

// Conflict is what the volume's conflicts directory shows at a path.
func (o volumeObject) Conflict(ctx context.Context, path string) (made []ctlfs.ConflictVersion, err error) {
	v, ctx, done, err := o.d.useVolume(ctx, o.name)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := v.vol.ConflictAt(path)
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := o.d.replicaNames()
	if err != nil {
		return nil, err
	}
	for _, shown := range versionsOf(v, &c, names) {
		m, err := shown.show(ctx)
		if err != nil {
			return nil, err
		}
		made = append(made, m)
	}
	return made, nil
}

// InConflict tells whether the name at path is in conflict, or one below it.
func (o volumeObject) InConflict(ctx context.Context, path string) (bool, error) {
	v, _, done, err := o.d.useVolume(ctx, o.name)
	if err != nil {
		return false, err
	}
	defer done()
	return v.vol.InConflict(path)
}

// ConflictsIn are the names in the directory at path for which that is so.
func (o volumeObject) ConflictsIn(ctx context.Context, path string) ([]string, error) {
	v, _, done, err := o.d.useVolume(ctx, o.name)
	if err != nil {
		return nil, err
	}
	defer done()
	return v.vol.ConflictsIn(path)
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
	vol   *vol.Volume
	in    string // the volume's name
	path  string
	file  string // what it is called
	names *replicaNames
	vol.Sibling
}

// versionsOf are the versions of a conflict, in their order.
func versionsOf(v *openVolume, c *vol.Conflict, names *replicaNames) []version {
	slices.SortFunc(c.Siblings, later)
	all := make([]version, len(c.Siblings))
	for i, file := range versionFiles(c, names) {
		all[i] = version{v.vol, v.name, c.Path, file, names, c.Siblings[i]}
	}
	return all
}

// show is the version as ctl has it.
func (v version) show(ctx context.Context) (ctlfs.ConflictVersion, error) {
	made := ctlfs.ConflictVersion{File: v.file, Size: v.Size, Info: v.info, Open: v.open}
	if v.Kind != merge.KindFile {
		text, err := v.describe(ctx)
		if err != nil {
			return made, err
		}
		made.Size, made.Open = int64(len(text)), func(context.Context) (p9srv.File, error) { return versionText(text), nil }
	}
	return made, nil
}

// info is what is told of the version.
func (v version) info(ctx context.Context) (ctlfs.Record, error) {
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
	if key, ok := v.names.key(v.Dot); ok {
		device = key.String()
	}
	return ctlfs.Rec("file", v.file, "peer", v.names.label(v.Dot), "device", device, "replica", replica,
		"kind", kindName(v.Kind), "size", number(v.Size), "time", stamp(time.Unix(0, v.MTime)), "shown", shown, "content", content), ctx.Err()
}

// describe is what is told of a version that is no file.
func (v version) describe(ctx context.Context) (string, error) {
	switch {
	case v.Kind == merge.KindSymlink:
		return v.vol.SiblingTarget(ctx, v.path, v.Dot)
	case v.Kind == merge.KindDir && v.Shown:
		return fmt.Sprintf("a directory: its files are in /%s/%s\n", v.in, v.path), nil
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
