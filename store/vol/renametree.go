package vol

import (
	"maps"
	"slices"

	"bazil/merge"
)

// loadTree brings all names below d into memory, which are about to give others
// their versions.
func (v *Volume) loadTree(d *dir) error {
	if err := v.loadNames(d); err != nil {
		return err
	}
	for _, e := range slices.Collect(maps.Values(d.children)) {
		if err := v.thinFirst(e); err != nil {
			return err
		}
	}
	for _, e := range d.children {
		if e == d.at {
			continue
		}
		sub, err := v.subdir(e)
		if err != nil {
			return err
		}
		if sub == nil {
			continue
		}
		if err := v.loadTree(sub); err != nil {
			return err
		}
	}
	return nil
}

// readMove brings into memory what a move of the directory at from to target
// looks at, and returns the place of from.
func (v *Volume) readMove(from, target *entry) (*dir, error) {
	src, err := v.subdir(from)
	if err == nil && src != nil {
		err = v.loadTree(src)
	}
	if err == nil {
		err = v.readMeeting(src, target)
	}
	return src, err
}

// readMeeting brings into memory what the names of src and below will meet at
// target, where there may be names that no longer exist.
func (v *Volume) readMeeting(src *dir, target *entry) error {
	dst, err := v.subdir(target)
	if src == nil || dst == nil || err != nil {
		return err
	}
	for name, e := range src.children {
		if !e.rec.exists() {
			continue
		}
		to, err := v.find(dst, name)
		if err == nil {
			err = v.thinFirst(to)
		}
		if err == nil {
			err = v.readMeeting(e.sub, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// moveNames moves all names of src, which are in memory with all below them,
// to the directory at target.
func (v *Volume) moveNames(src *dir, target *entry) error {
	if src.live == 0 {
		return nil
	}
	dst, err := v.placeOf(target)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(src.children)) {
		e := src.children[name]
		if !e.rec.exists() {
			continue
		}
		to, err := v.find(dst, name)
		if err != nil {
			return err
		}
		if err := v.moveName(e, to); err != nil {
			return err
		}
	}
	return nil
}

// moveName moves one name within a directory that moves.
func (v *Volume) moveName(e, to *entry) error {
	if e.sub != nil {
		v.foldDir(e.sub)
	}
	in, over := e.node, to.node
	if e.rec.kind() == merge.KindDir {
		if err := v.moveDir(e, to, in, over, e.sub); err != nil {
			return err
		}
		v.forget(e)
		return nil
	}
	v.renameFile(e, to, in, over)
	return nil
}
