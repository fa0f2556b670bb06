package ctlfs

import (
	"context"
	"slices"
	"strings"
	"syscall"

	"bazil/p9srv"
)

// infoName is the file that tells of a conflict's versions. A directory or a
// version of that name, if one should be called so, is hidden by it.
const infoName = "info"

// conflicts is the directory of an object's conflicts: those of all paths, as
// a tree. It is made anew for every walk from the object's directory, so a
// conflict that ends while somebody looks at it stays in sight for them.
func (d *dir) conflicts(o Conflicted) *dir {
	return d.sub("conflicts", func(ctx context.Context, d *dir) ([]entry, error) {
		all, err := o.Conflicts(ctx)
		if err != nil {
			return nil, asError(err)
		}
		tree := &conflictTree{below: make(map[string]*conflictTree)}
		for _, c := range all {
			tree.add(c, strings.Split(c.Path, "/"))
		}
		return tree.entries(d), nil
	})
}

// conflictTree is a directory in which there are conflicts.
type conflictTree struct {
	names    []string // of below, in order
	below    map[string]*conflictTree
	versions []ConflictVersion // if the directory's own path is in conflict
}

func (t *conflictTree) add(c Conflict, path []string) {
	if len(path) == 0 {
		t.versions = c.Versions
		return
	}
	next := t.below[path[0]]
	if next == nil {
		next = &conflictTree{below: make(map[string]*conflictTree)}
		t.below[path[0]] = next
		i, _ := slices.BinarySearch(t.names, path[0])
		t.names = slices.Insert(t.names, i, path[0])
	}
	next.add(c, path[1:])
}

func (t *conflictTree) entries(d *dir) []entry {
	var all []entry
	taken := make(map[string]bool)
	add := func(name string, node func() p9srv.Node) {
		if !taken[name] {
			taken[name] = true
			all = append(all, entry{name, node})
		}
	}
	if len(t.versions) > 0 {
		add(infoName, func() p9srv.Node { return d.text(infoName, t.info) })
	}
	for _, name := range t.names {
		sub := t.below[name]
		add(name, func() p9srv.Node {
			return d.sub(name, func(_ context.Context, d *dir) ([]entry, error) { return sub.entries(d), nil })
		})
	}
	for _, v := range t.versions {
		if v.Open != nil {
			add(v.File, func() p9srv.Node { return &versionFile{text: text{base: d.under(v.File)}, version: v} })
		}
	}
	return all
}

// info renders the records of a conflict's versions.
func (t *conflictTree) info(context.Context) ([]byte, error) {
	var records []Record
	for _, v := range t.versions {
		records = append(records, v.Info)
	}
	return lines(records), nil
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
