package vol

import (
	"context"
	"syscall"

	"bazil/merge"
)

// New says what Create makes.
type New struct {
	Kind   merge.Kind
	Mode   uint32 // permission bits, 07777
	UID    uint32
	GID    uint32
	Target string // of a symlink, up to 4095 bytes
	Rdev   uint64 // of a device node, as Linux encodes it
	Block  bool   // the device node is a block device
}

// targetMax is the longest target of a symlink, in bytes.
const targetMax = 4095

func (w *New) check() error {
	switch {
	case w.Kind < merge.KindFile || w.Kind > merge.KindDevice || w.Mode&^0o7777 != 0:
		return syscall.EINVAL
	case w.Kind != merge.KindSymlink:
		return nil
	case w.Target == "":
		return syscall.ENOENT
	case len(w.Target) > targetMax:
		return syscall.ENAMETOOLONG
	}
	for i := range len(w.Target) {
		if w.Target[i] == 0 {
			return syscall.EINVAL
		}
	}
	return nil
}

// Create makes a file, directory, symlink or other node in a directory. A
// device node belongs to this replica alone: no peer hears of it. Errors:
// EEXIST, ENOENT (the directory was removed), ENOTDIR, ENAMETOOLONG, EINVAL.
func (n *Node) Create(ctx context.Context, name string, w New) (*Node, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	v := n.v
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	defer v.unlock()
	in, err := n.dirInode()
	if err != nil {
		return nil, err
	}
	d, err := v.placeOf(in.at)
	if err != nil {
		return nil, err
	}
	e, err := v.find(d, name)
	if err != nil {
		return nil, err
	}
	if ino, _ := e.shows(); ino != 0 {
		return nil, syscall.EEXIST
	}
	return v.node(v.create(e, &w)), nil
}

// create gives a name that shows nothing something to show.
func (v *Volume) create(e *entry, w *New) *inode {
	t := now()
	rec := e.rec.clone()
	rec.Ino = v.newIno()
	rec.ATime, rec.MTime, rec.CTime, rec.BTime = t, t, t, t
	rec.Change = v.changed(rec.Ino)
	a := merge.Attr{Mode: w.Mode, UID: w.UID, GID: w.GID}
	if w.Kind == merge.KindDevice {
		rec.Device, rec.Block, rec.Rdev, rec.Own = true, w.Block, w.Rdev, a
		v.set(e, rec)
	} else {
		v.createShared(e, rec, w, a)
	}
	v.touchDir(e.dir, t)
	return v.addInode(rec.Ino, w.Kind, e)
}

// createShared gives rec, to be e's record, its first version.
func (v *Volume) createShared(e *entry, rec *record, w *New, a merge.Attr) {
	dot := v.spendFor(&rec.Entry, nil)
	a.Stamp = merge.Stamp{Time: rec.CTime, Dot: dot}
	ver := merge.Version{Dot: dot, Kind: w.Kind, MTime: rec.CTime, MStamp: a.Stamp}
	if w.Kind == merge.KindSymlink {
		ver.Content, ver.Size = w.Target, int64(len(w.Target))
	}
	rec.Entry, rec.Shown = rec.Put(ver, nil).SetAttr(a), dot
	v.put(e, rec)
}
