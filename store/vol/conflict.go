package vol

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"

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

// Conflicts returns all conflicts, sorted by path.
func (v *Volume) Conflicts(ctx context.Context) ([]Conflict, error) {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return nil, errClosed
	}
	keys, err := v.conflictKeys()
	if err != nil {
		return nil, err
	}
	var out []Conflict
	for _, key := range keys {
		num, name := splitKey([]byte(key))
		d, err := v.dirByNumber(num)
		if err == syscall.ESTALE {
			continue
		}
		if err != nil {
			return nil, err
		}
		e, err := v.find(d, string(name))
		if err != nil {
			return nil, err
		}
		if e.rec != nil && e.rec.conflict() {
			out = append(out, Conflict{e.path(), e.siblings()})
		}
	}
	slices.SortFunc(out, func(a, b Conflict) int { return strings.Compare(a.Path, b.Path) })
	return out, ctx.Err()
}

// conflictKeys are the keys of all names that may be in conflict.
func (v *Volume) conflictKeys() (keys []string, err error) {
	err = v.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketConflicts).ForEach(func(k, _ []byte) error {
			keys = append(keys, string(k))
			return nil
		})
	})
	if err != nil {
		return nil, v.damage(err)
	}
	for _, g := range []*group{v.commit, v.now} {
		if g == nil {
			continue
		}
		for _, e := range g.entries {
			if e.rec != nil && e.rec.conflict() {
				keys = append(keys, string(numKey(e.dir.num, e.name)))
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
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
	for i := range r.Versions {
		ver := &r.Versions[i]
		if i != shown && r.listed(i, shown) {
			continue
		}
		s := Sibling{Dot: ver.Dot, Kind: ver.Kind, Size: ver.Size, MTime: ver.MTime, Shown: i == shown}
		if in := e.node; in != nil && in.mark != "" && ver.Content == in.mark {
			s.Size, s.MTime = in.file.c.Size(), in.mtime
		}
		out = append(out, s)
	}
	return out
}

// listed says whether version i is equal to the one shown, or to one before it.
func (r *record) listed(i, shown int) bool {
	for j := range r.Versions {
		if (j < i || j == shown) && r.Versions[j].SameContent(&r.Versions[i]) {
			return true
		}
	}
	return false
}

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
