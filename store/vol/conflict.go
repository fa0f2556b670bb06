package vol

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"syscall"

	"bazil/merge"
	"bazil/store"
)

// Conflict is a name whose versions differ.
type Conflict struct {
	Path     string // slash-separated, from the root
	Siblings []Sibling
}

// Sibling is one version of a name.
type Sibling struct {
	Dot   merge.Dot // names it: its lowest; none: what is there without a version
	Kind  merge.Kind
	Size  int64
	MTime int64 // Unix nanoseconds
	Shown bool  // it is the one that the name shows
}

// conflictPiece is how many conflicts are looked at before others have their
// turn.
const conflictPiece = 256

// Conflicts returns all conflicts, as EachConflict tells them.
func (v *Volume) Conflicts(ctx context.Context) (all []Conflict, _ error) {
	for c, err := range v.EachConflict(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// EachConflict yields all conflicts, sorted by path; an error is the last. One
// that comes or ends meanwhile may be among them or not.
func (v *Volume) EachConflict(ctx context.Context) iter.Seq2[Conflict, error] {
	return func(yield func(Conflict, error) bool) {
		paths, err := v.conflictPaths()
		slices.Sort(paths)
		var some []Conflict
		for len(paths) > 0 && err == nil {
			n := min(conflictPiece, len(paths))
			some, err = v.appendConflicts(some[:0], paths[:n])
			for _, c := range some {
				if !yield(c, nil) {
					return
				}
			}
			paths = paths[n:]
			err = cmp.Or(err, ctx.Err())
		}
		if err != nil {
			yield(Conflict{}, err)
		}
	}
}

func (v *Volume) conflictPaths() ([]string, error) {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return nil, errClosed
	}
	return v.conflicts.paths(nil, rootDir, ""), nil
}

// appendConflicts looks at the conflicts at paths. One that has ended is left
// out.
func (v *Volume) appendConflicts(out []Conflict, paths []string) ([]Conflict, error) {
	v.mu.Lock()
	defer v.unlock()
	for _, path := range paths {
		c, err := v.conflictAt(path)
		switch {
		case err == nil:
			out = append(out, c)
		case err != syscall.ENOENT:
			return nil, err
		}
	}
	return out, nil
}

// ConflictAt returns the conflict at path; ENOENT: there is none.
func (v *Volume) ConflictAt(path string) (Conflict, error) {
	v.mu.Lock()
	defer v.unlock()
	return v.conflictAt(path)
}

func (v *Volume) conflictAt(path string) (Conflict, error) {
	if v.closed {
		return Conflict{}, errClosed
	}
	if !v.conflicts.at(path).own {
		return Conflict{}, syscall.ENOENT
	}
	e, err := v.entryAt(path)
	if err != nil {
		return Conflict{}, err
	}
	if !e.rec.conflict() {
		return Conflict{}, syscall.ENOENT
	}
	return Conflict{path, e.siblings()}, nil
}

// InConflict tells whether the name at path, or one below it, is in conflict.
func (v *Volume) InConflict(path string) (bool, error) {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return false, errClosed
	}
	m := v.conflicts.at(path)
	return m.own || m.below > 0, nil
}

// ConflictsIn returns the names in the directory at path that are in conflict,
// or have conflicts below them, sorted.
func (v *Volume) ConflictsIn(path string) ([]string, error) {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return nil, errClosed
	}
	return v.conflicts.names(path), nil
}

// siblings are the versions of a name; one that is being written is as large
// and as new as it is by now.
func (e *entry) siblings() []Sibling {
	r := e.rec
	shown := r.shown()
	var out []Sibling
	if k := r.kind(); r.version() == nil && k != 0 {
		out, shown = append(out, Sibling{Kind: k, MTime: r.MTime, Shown: true}), -1
	}
	told := make(map[shownContent]bool, len(r.Versions))
	if shown >= 0 {
		told[contentOf(&r.Versions[shown])] = true
	}
	for i := range r.Versions {
		ver := &r.Versions[i]
		content := contentOf(ver)
		if i != shown && told[content] {
			continue
		}
		told[content] = true
		s := Sibling{Dot: ver.Dot, Kind: ver.Kind, Size: ver.Size, MTime: ver.MTime, Shown: i == shown}
		if in := e.node; in != nil && in.mark != "" && ver.Content == in.mark {
			s.Size, s.MTime = in.file.c.Size(), in.mtime
		}
		out = append(out, s)
	}
	return out
}

// shownContent is what versions that are equal have in common.
type shownContent struct {
	kind    merge.Kind
	content string
}

func contentOf(v *merge.Version) shownContent { return shownContent{v.Kind, v.Content} }

// Dots returns a dot of each sibling: who resolves the conflict has seen these.
func (c *Conflict) Dots() []merge.Dot {
	dots := make([]merge.Dot, 0, len(c.Siblings))
	for _, s := range c.Siblings {
		dots = append(dots, s.Dot)
	}
	return dots
}

// SiblingTarget returns what the symlink at path of dot leads to.
func (v *Volume) SiblingTarget(ctx context.Context, path string, dot merge.Dot) (string, error) {
	ver, err := v.siblingAt(path, dot)
	if err == nil && ver.Kind != merge.KindSymlink {
		err = syscall.EINVAL
	}
	return ver.Content, err
}

// SiblingHere tells whether all content of the version at path of dot
// is on this device.
func (v *Volume) SiblingHere(ctx context.Context, path string, dot merge.Dot) (bool, error) {
	ver, err := v.siblingAt(path, dot)
	if err != nil {
		return false, err
	}
	if ver.Kind != merge.KindFile || !Body(ver.Content).remote() { // or it is being written, here
		return true, nil
	}
	here := true
	missing, err := walkChunks(ctx, v.o.Chunks, v.o.Sealer, Body(ver.Content), func(id store.ID, _ bool) error {
		here = here && v.o.Chunks.Has(id)
		return ctx.Err()
	})
	return here && len(missing) == 0, err
}

// siblingAt returns the version at path of dot.
func (v *Volume) siblingAt(path string, dot merge.Dot) (ver merge.Version, err error) {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return ver, errClosed
	}
	e, err := v.entryAt(path)
	if err != nil {
		return ver, err
	}
	found, err := e.rec.sibling(dot)
	if err == nil {
		ver = *found
	}
	return ver, err
}

// entryAt returns the entry of a path, which has a record. v.mu is held.
func (v *Volume) entryAt(path string) (*entry, error) {
	d := v.root
	for {
		name, rest, more := strings.Cut(path, "/")
		if err := checkName(name); err != nil {
			return nil, err
		}
		e, err := v.find(d, name)
		if err != nil {
			return nil, err
		}
		if e.rec == nil {
			return nil, syscall.ENOENT
		}
		if !more {
			return e, nil
		}
		if d, err = v.subdir(e); err != nil {
			return nil, err
		}
		if d == nil {
			return nil, syscall.ENOENT
		}
		path = rest
	}
}

// sibling returns the version of a record that dot wrote.
func (r *record) sibling(dot merge.Dot) (*merge.Version, error) {
	for i := range r.Versions {
		if r.Versions[i].Dot == dot {
			return &r.Versions[i], nil
		}
	}
	return nil, fmt.Errorf("no version %v: %w", dot, syscall.ENOENT)
}

// OpenSibling opens, for reading, the version of the name at path that holds
// dot, whether the name shows it or not. ENOENT, EINVAL (not a regular file).
func (v *Volume) OpenSibling(ctx context.Context, path string, dot merge.Dot) (*Handle, error) {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return nil, errClosed
	}
	e, err := v.entryAt(path)
	if err != nil {
		return nil, err
	}
	ver, err := e.rec.sibling(dot)
	if err != nil {
		return nil, err
	}
	if ver.Kind != merge.KindFile {
		return nil, syscall.EINVAL
	}
	if in := e.node; in != nil && in.mark != "" && ver.Content == in.mark {
		return v.open(in, false), nil
	}
	rec := &record{Entry: merge.Entry{Versions: []merge.Version{*ver}}}
	in := &inode{kind: merge.KindFile, at: &entry{name: e.name, rec: rec}}
	in.at.node = in
	return v.open(in, false), nil
}
