package ctlfs

import (
	"context"
	"syscall"

	"bazil/p9srv"
)

// infoName is the file that tells of a conflict's versions. A directory or a
// version of that name, if one should be called so, is hidden by it.
const infoName = "info"

// conflicts is the directory of an object's conflicts: those of all paths, as
// a tree. Nothing of it is kept: what is walked to and listed is what is in
// conflict at that moment.
func (d *dir) conflicts(o Conflicted) *dir { return conflictDir{o, ""}.under(d, "conflicts") }

// conflictDir is the directory of what is in conflict at a path, and below it.
type conflictDir struct {
	o    Conflicted
	path string
}

// under makes its node, below d.
func (c conflictDir) under(d *dir, name string) *dir {
	sub := d.sub(name, c.list)
	sub.find = c.find
	return sub
}

// below is the directory of a name in it.
func (c conflictDir) below(name string) conflictDir {
	if c.path != "" {
		name = c.path + "/" + name
	}
	return conflictDir{c.o, name}
}

// versions are those of its own path.
func (c conflictDir) versions(ctx context.Context) ([]ConflictVersion, error) {
	if c.path == "" {
		return nil, nil
	}
	return c.o.Conflict(ctx, c.path)
}

// find looks for a name without listing: at a path there may be thousands.
func (c conflictDir) find(ctx context.Context, d *dir, name string) (p9srv.Node, error) {
	versions, err := c.versions(ctx)
	if err != nil {
		return nil, asError(err)
	}
	if name == infoName && len(versions) > 0 {
		return d.text(infoName, c.info), nil
	}
	sub := c.below(name)
	if is, err := c.o.InConflict(ctx, sub.path); err != nil {
		return nil, asError(err)
	} else if is {
		return sub.under(d, name), nil
	}
	for _, v := range versions {
		if v.File == name && v.Open != nil {
			return v.node(d), nil
		}
	}
	return nil, syscall.ENOENT
}

func (c conflictDir) list(ctx context.Context, d *dir) ([]entry, error) {
	versions, err := c.versions(ctx)
	if err != nil {
		return nil, asError(err)
	}
	names, err := c.o.ConflictsIn(ctx, c.path)
	if err != nil {
		return nil, asError(err)
	}
	all := make([]entry, 0, 1+len(names)+len(versions))
	taken := make(map[string]bool, cap(all))
	add := func(name string, node func() p9srv.Node) {
		if !taken[name] {
			taken[name] = true
			all = append(all, entry{name, node})
		}
	}
	if len(versions) > 0 {
		add(infoName, func() p9srv.Node { return d.text(infoName, c.info) })
	}
	for _, name := range names {
		add(name, func() p9srv.Node { return c.below(name).under(d, name) })
	}
	for _, v := range versions {
		if v.Open != nil {
			add(v.File, func() p9srv.Node { return v.node(d) })
		}
	}
	return all, nil
}

// info renders the records of a conflict's versions.
func (c conflictDir) info(ctx context.Context) ([]byte, error) {
	versions, err := c.versions(ctx)
	if err == nil && len(versions) == 0 {
		err = syscall.ENOENT // it has ended
	}
	if err != nil {
		return nil, err
	}
	records := make([]Record, len(versions))
	for i, v := range versions {
		if records[i], err = v.Info(ctx); err != nil {
			return nil, err
		}
	}
	return lines(records), nil
}

func (v ConflictVersion) node(d *dir) p9srv.Node {
	return &versionFile{text: text{base: d.under(v.File)}, version: v}
}

// versionFile has the bytes of one version.
type versionFile struct {
	text
	version ConflictVersion
}

// Attr gives its size too, since it does not change.
func (f *versionFile) Attr(ctx context.Context) (p9srv.Attr, error) {
	a, err := f.text.Attr(ctx)
	a.Size = uint64(f.version.Size)
	return a, err
}

// Open opens it for reading.
func (f *versionFile) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0 {
		return nil, syscall.EACCES
	}
	file, err := f.version.Open(ctx)
	return file, asError(err)
}
