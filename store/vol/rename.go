package vol

import (
	"context"
	"slices"
	"syscall"

	"bazil/merge"
)

// Rename moves a name, in this directory or to dir, which is of the same
// volume. What newName shows is replaced, as rename(2) says; the two are one
// change. No content moves, numbers stay, what is open works on. Errors:
// ENOENT, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL (a directory into itself), EXDEV.
func (n *Node) Rename(ctx context.Context, oldName string, to *Node, newName string) error {
	return n.rename(ctx, oldName, 0, to, newName)
}

// RenameNode is Rename of m, which must be in this directory: ENOENT if it has
// gone or moved, whatever has its name.
func (n *Node) RenameNode(ctx context.Context, m, to *Node, newName string) error {
	name := m.Name()
	if name == "" {
		return syscall.ENOENT
	}
	return n.rename(ctx, name, m.num, to, newName)
}

// rename moves a name that shows the inode ino, or any where ino is 0.
func (n *Node) rename(ctx context.Context, oldName string, ino uint64, to *Node, newName string) error {
	v := n.v
	if to.v != v {
		return syscall.EXDEV
	}
	if err := checkName(newName); err != nil {
		return err
	}
	if err := v.begin(ctx); err != nil {
		return err
	}
	defer v.unlock()
	from, in, err := n.child(oldName)
	if err == nil && ino != 0 && in.num != ino {
		err = syscall.ENOENT
	}
	if err != nil {
		return err
	}
	target, over, err := v.renameTarget(to, newName, in)
	if err != nil || over == in {
		return err
	}
	if over != nil {
		if err := v.mayReplace(in, over); err != nil {
			return err
		}
	}
	if err := v.thinBoth(from, target); err != nil {
		return err
	}
	if in.kind == merge.KindDir {
		err = v.renameDir(from, target, in, over)
	} else {
		v.renameFile(from, target, in, over)
	}
	if err != nil {
		return err
	}
	t := now()
	v.touchDir(from.dir, t)
	if target.dir != from.dir {
		v.touchDir(target.dir, t)
	}
	v.forget(from)
	return nil
}

// thinBoth sees to it that two names have room for each other's versions.
func (v *Volume) thinBoth(from, target *entry) error {
	if err := v.thinFirst(from); err != nil {
		return err
	}
	return v.thinFirst(target)
}

// renameTarget returns the entry that in is to be moved to, and what it shows
// now, nil for nothing.
func (v *Volume) renameTarget(to *Node, name string, in *inode) (*entry, *inode, error) {
	toIn, err := to.dirInode()
	if err != nil {
		return nil, nil, err
	}
	d, err := v.placeOf(toIn.at)
	if err != nil {
		return nil, nil, err
	}
	if sub := in.at.sub; in.kind == merge.KindDir && (toIn == in || sub != nil && d.inside(sub)) {
		return nil, nil, syscall.EINVAL
	}
	e, err := v.find(d, name)
	if err != nil {
		return nil, nil, err
	}
	return e, v.inodeOf(e), nil
}

// mayReplace says whether in may take the place of over.
func (v *Volume) mayReplace(in, over *inode) error {
	switch {
	case in.kind == merge.KindDir:
		return v.checkRmdir(over)
	case over.kind == merge.KindDir:
		return syscall.EISDIR
	}
	return nil
}

// renameFile moves all versions of a name, the one it shows in the place of
// what target shows.
func (v *Volume) renameFile(from, target *entry, in, over *inode) {
	old := from.rec
	v.move(from, target, in, over, func(merge.Kind) bool { return true })
	rest := old.clone()
	if rest.Device {
		rest.Device, rest.Block, rest.Rdev, rest.Own = false, false, 0, merge.Attr{}
	} else {
		v.spend()
		rest.Entry = rest.Delete(rest.Seen())
	}
	rest.Ino, rest.Shown = 0, merge.Dot{}
	v.present(from, nil, rest)
	v.put(from, rest)
	v.seat(in)
}

// move gives target what from has: the versions of some kinds, the settings,
// the inode. from keeps its record.
func (v *Volume) move(from, target *entry, in, over *inode, which func(merge.Kind) bool) {
	old := target.rec
	seen := old.seen()
	if over != nil {
		if over.pinned() {
			seen = over.seen
		}
		v.detach(over, old)
	}
	src := from.rec
	rec := old.clone()
	rec.Ino, rec.Shown = src.Ino, merge.Dot{}
	rec.Device, rec.Block, rec.Rdev, rec.Own = src.Device, src.Block, src.Rdev, src.Own
	rec.ATime, rec.MTime, rec.BTime, rec.CTime = src.ATime, src.MTime, src.BTime, now()
	if in != nil {
		rec.Ino = in.num
	}
	v.moveVersions(src, rec, in, seen, which)
	rec.Change = v.changed(rec.Ino)
	if in != nil {
		from.node, target.node, in.at = nil, in, target
	}
	v.put(target, rec)
}

// moveVersions gives rec the versions of src, of equal ones one, as new ones, in
// the place of those of the dots of seen.
func (v *Volume) moveVersions(src, rec *record, in *inode, seen []merge.Dot, which func(merge.Kind) bool) {
	shown := src.shown()
	order := make([]int, 0, len(src.Versions))
	if shown >= 0 {
		order = append(order, shown)
	}
	for i := range src.Versions {
		if !slices.ContainsFunc(order, func(o int) bool { return src.Versions[o].SameContent(&src.Versions[i]) }) {
			order = append(order, i)
		}
	}
	var saw []merge.Dot
	for _, i := range order {
		ver := src.Versions[i]
		if !which(ver.Kind) {
			continue
		}
		dot := v.spendFor(&rec.Entry, seen)
		hold := in != nil && slices.Contains(in.seen, ver.Dot)
		ver.Dot, ver.MStamp = dot, merge.Stamp{Time: now(), Dot: dot}
		rec.Entry = rec.Put(ver, seen)
		if i == shown {
			rec.Shown = dot
		}
		if hold {
			saw = append(saw, dot)
		}
		seen = nil
	}
	if len(seen) > 0 { // a device node replaces what was there
		v.spend()
		rec.Entry = rec.Delete(seen)
	}
	if in != nil && in.pinned() {
		in.seen = saw
	}
	if len(src.Versions) > 0 && len(rec.Versions) > 0 {
		v.moveSettings(src, rec)
	}
}

func (v *Volume) moveSettings(src, rec *record) {
	if len(src.Attrs) == 0 {
		return
	}
	a := src.Attr()
	a.Stamp = merge.Stamp{Time: now(), Dot: v.spend()}
	rec.Entry = rec.SetAttr(a)
}

// renameDir moves a directory with all that is in it. Other versions of its
// name stay.
func (v *Volume) renameDir(from, target *entry, in, over *inode) error {
	src, err := v.readMove(from, target)
	if err != nil {
		return err
	}
	if src != nil {
		v.foldDir(src)
	}
	return v.moveDir(from, target, in, over, src)
}

// moveDir moves the directory at from, whose place is src, to target. What
// readMove has read is all that it reads, so that it cannot end half way.
func (v *Volume) moveDir(from, target *entry, in, over *inode, src *dir) error {
	isDir := func(k merge.Kind) bool { return k == merge.KindDir }
	hadVersion := false
	for i := range from.rec.Versions {
		hadVersion = hadVersion || isDir(from.rec.Versions[i].Kind)
	}
	v.move(from, target, in, over, isDir)
	if !hadVersion {
		v.makeVersion(target)
	}
	if src != nil {
		if err := v.moveNames(src, target); err != nil {
			return err
		}
	}
	rest := from.rec.clone()
	var over2 []merge.Dot
	for i := range rest.Versions {
		if isDir(rest.Versions[i].Kind) {
			over2 = append(over2, rest.Versions[i].Dot)
		}
	}
	v.spend()
	rest.Entry = rest.Delete(over2)
	rest.Ino, rest.Shown = 0, merge.Dot{}
	v.present(from, nil, rest)
	v.put(from, rest)
	return nil
}

// makeVersion gives a directory that only existed because of what was in it a
// version of its own.
func (v *Volume) makeVersion(e *entry) {
	rec := e.rec.clone()
	dot := v.spendFor(&rec.Entry, nil)
	stamp := merge.Stamp{Time: now(), Dot: dot}
	rec.Entry = rec.Put(merge.Version{Dot: dot, Kind: merge.KindDir, MTime: rec.MTime, MStamp: stamp}, nil)
	if len(rec.Attrs) == 0 {
		mode, uid, gid := settings(rec)
		rec.Entry = rec.SetAttr(merge.Attr{Stamp: stamp, Mode: mode, UID: uid, GID: gid})
	}
	rec.Shown = dot
	v.put(e, rec)
}
