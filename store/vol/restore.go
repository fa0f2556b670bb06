package vol

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"bazil/merge"
)

// RestoreOptions are how Restore works. The zero value works.
type RestoreOptions struct {
	// Now is what stands at the destination, as a snapshot made just before;
	// nil: nothing. What it has like the source is not touched.
	Now       *SnapNode
	Exact     bool                // remove what the source does not have
	NoDevices bool                // leave device nodes out
	Progress  func(RestoreResult) // called now and then; may be nil
}

// RestoreResult is what Restore did.
type RestoreResult struct {
	Made     int64 // names that were not there
	Replaced int64 // names that showed something else
	Removed  int64 // names that the source did not have, with Exact
	Extra    int64 // the same, without: they stay
	Partial  int64 // files of which some chunks are not here yet
	Skipped  int64 // device nodes left out
}

// Restore makes the directory dir, of the live tree, or the name of it if
// that is not empty, what from, of a snapshot, is. No content moves: what is
// restored refers to the chunks of the snapshot. Each name is replaced in one
// change; those done stay done after an error, and a second Restore goes on.
func (v *Volume) Restore(ctx context.Context, dir *Node, name string, from *SnapNode, o RestoreOptions) (RestoreResult, error) {
	r := &restore{ctx: ctx, v: v, o: o}
	var err error
	switch {
	case name != "":
		err = r.name(dir, name, o.Now, from)
	case !from.isDir():
		err = syscall.ENOTDIR
	default:
		err = r.root(dir, from)
	}
	return r.result, err
}

// restore is one Restore under way.
type restore struct {
	ctx    context.Context
	v      *Volume
	o      RestoreOptions
	result RestoreResult
}

// root restores a directory that is there and stays.
func (r *restore) root(dir *Node, from *SnapNode) error {
	now := r.o.Now
	if now.isDir() && now.x.same(&from.x) {
		return nil
	}
	if err := r.settings(dir, from); err != nil {
		return err
	}
	return r.inside(dir, now, from)
}

func (r *restore) settings(dir *Node, from *SnapNode) error {
	v := r.v
	if err := v.begin(r.ctx); err != nil {
		return err
	}
	defer v.unlock()
	in, err := dir.dirInode()
	if err == nil {
		v.takeSettings(in, from)
	}
	return err
}

// inside restores what is in a directory. now is the same before; it may be nil.
func (r *restore) inside(dir *Node, now, from *SnapNode) error {
	if !now.isDir() {
		now = nil
	}
	err := eachPair(r.ctx, now, from, func(x, y *SnapNode) error {
		if r.o.Progress != nil {
			r.o.Progress(r.result)
		}
		if y != nil {
			return r.name(dir, y.x.name, x, y)
		}
		if !r.o.Exact {
			r.result.Extra++
			return r.ctx.Err()
		}
		r.result.Removed++
		return dir.removeTree(r.ctx, x.x.name)
	})
	if err != nil {
		return err
	}
	return dir.SetAttr(r.ctx, SetAttr{MTime: &from.x.mtime})
}

// name restores one name, x being what it showed before, nil for nothing.
func (r *restore) name(dir *Node, name string, x, y *SnapNode) error {
	switch {
	case r.ctx.Err() != nil:
		return r.ctx.Err()
	case x != nil && x.x.same(&y.x):
		return nil
	case y.kind == merge.KindDevice && r.o.NoDevices:
		r.result.Skipped++
		return nil
	}
	if !y.isDir() {
		if err := r.removeDir(dir, name); err != nil {
			return err
		}
	}
	c, whole, err := dir.place(r.ctx, name, y)
	if err != nil {
		return fmt.Errorf("restore %q: %w", y.path, err)
	}
	r.count(x, y, whole)
	if y.isDir() {
		return r.inside(c, x, y)
	}
	return nil
}

func (r *restore) count(x, y *SnapNode, whole bool) {
	switch {
	case x == nil:
		r.result.Made++
	case !x.isDir() || !y.isDir() || !x.x.sameSettings(&y.x):
		r.result.Replaced++
	}
	if !whole {
		r.result.Partial++
	}
}

// removeDir removes a directory, with what is in it, that stands where
// something else is to be.
func (r *restore) removeDir(dir *Node, name string) error {
	c, err := dir.Lookup(r.ctx, name)
	if errors.Is(err, syscall.ENOENT) || err == nil && c.Kind() != merge.KindDir {
		return nil
	}
	if err != nil {
		return err
	}
	return dir.removeTree(r.ctx, name)
}

// Find walks down from a directory of a snapshot along a slash-separated
// path. ENOENT, ENOTDIR.
func (n *SnapNode) Find(ctx context.Context, path string) (*SnapNode, error) {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		var err error
		if n, err = n.Lookup(ctx, name); err != nil {
			return nil, err
		}
	}
	return n, nil
}
