package vol

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"

	"bazil/merge"
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
			out = append(out, Conflict{e.path(), e.rec.siblings()})
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

func (r *record) siblings() []Sibling {
	shown := r.shown()
	var out []Sibling
	if k := r.kind(); r.version() == nil && k != 0 {
		out, shown = append(out, Sibling{Kind: k, MTime: r.MTime, Shown: true}), -1
	}
	for i := range r.Versions {
		ver := &r.Versions[i]
		out = append(out, Sibling{Dot: ver.Dots[0], Kind: ver.Kind, Size: ver.Size, MTime: ver.MTime, Shown: i == shown})
	}
	return out
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

// sibling returns the version of a record that holds dot.
func (r *record) sibling(dot merge.Dot) (*merge.Version, error) {
	for i := range r.Versions {
		if r.Versions[i].Holds(dot) {
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

// Resolve ends a conflict: of the versions at path, those that hold a dot of
// keep stay, the others are superseded. Peers learn of it as of any change.
// What is there without a version, a device node or a directory that exists
// because of what is in it, is kept by the zero dot, and stays in any case.
// ENOENT: nothing is to be kept.
func (v *Volume) Resolve(ctx context.Context, path string, keep ...merge.Dot) error {
	if err := v.Sync(ctx); err != nil {
		return err
	}
	if err := v.begin(ctx); err != nil {
		return err
	}
	defer v.unlock()
	e, err := v.entryAt(path)
	if err != nil {
		return err
	}
	var over []merge.Dot
	kept := 0
	if e.rec.version() == nil && slices.Contains(keep, merge.Dot{}) {
		kept = 1
	}
	for i := range e.rec.Versions {
		if ver := &e.rec.Versions[i]; holdsAny(ver, keep) {
			kept++
		} else {
			over = append(over, ver.Dots...)
		}
	}
	if kept == 0 {
		return fmt.Errorf("%s: none of the versions to keep is there: %w", path, syscall.ENOENT)
	}
	if len(over) == 0 {
		return nil
	}
	rec := e.rec.clone()
	v.spend()
	rec.Entry = rec.Delete(over)
	v.present(e, e.rec, rec)
	v.put(e, rec)
	v.touchDir(e.dir, now())
	return nil
}
