package vol

import (
	"context"
	"os"
	"syscall"

	"bazil/merge"
)

// Attr is what stat(2) tells of a file. Times are Unix nanoseconds.
type Attr struct {
	Ino     uint64
	Kind    merge.Kind
	Mode    uint32 // permission bits, 07777
	UID     uint32
	GID     uint32
	NLink   uint32 // 0 once the name is gone
	Rdev    uint64 // of a device node
	Block   bool   // the device node is a block device
	Size    int64  // bytes
	Blocks  int64  // of 512 bytes, those stored
	ATime   int64  // changes by SetAttr only
	MTime   int64
	CTime   int64
	BTime   int64
	Version uint64 // Node.Version
}

// Attr returns the attributes; ESTALE if the file is gone.
func (n *Node) Attr() (Attr, error) {
	v := n.v
	v.mu.Lock()
	defer v.unlock()
	in, err := n.inode()
	if err != nil {
		return Attr{}, err
	}
	d, err := v.subdir(in.at)
	if err != nil {
		return Attr{}, err
	}
	return in.attr(d), nil
}

// attr are the attributes of an inode; d is its place if it has one.
func (in *inode) attr(d *dir) Attr {
	r := in.rec()
	a := Attr{
		Ino: in.num, Kind: in.kind, NLink: 1, Rdev: r.Rdev, Block: r.Block,
		ATime: r.ATime, MTime: r.mtime(), CTime: r.CTime, BTime: r.BTime, Version: in.version(),
	}
	a.Mode, a.UID, a.GID = settings(r)
	switch in.kind {
	case merge.KindDir:
		a.NLink = 2
		if d != nil && in.linked() {
			a.NLink += uint32(d.dirs)
			if d.touched != 0 {
				a.MTime, a.CTime = d.touched, max(a.CTime, d.touched)
			}
		}
	case merge.KindFile:
		in.fileAttr(&a)
	default:
		a.Size = r.size()
	}
	if !in.linked() {
		a.NLink = 0
	}
	return a
}

// settings are the mode and owners that a record gives. A directory that
// exists only because of what is in it has none of its own.
func settings(r *record) (mode, uid, gid uint32) {
	s := r.attr()
	if !r.Device && len(r.Attrs) == 0 {
		return 0o755, uint32(os.Getuid()), uint32(os.Getgid())
	}
	return s.Mode, s.UID, s.GID
}

func (in *inode) fileAttr(a *Attr) {
	if in.mark != "" {
		a.MTime, a.CTime = in.mtime, max(a.CTime, in.mtime)
	}
	stored := int64(0)
	if f := in.file; f != nil {
		a.Size, stored = f.c.Size(), f.c.Allocated()
	} else if ver := in.rec().version(); ver != nil {
		a.Size, stored = ver.Size, Body(ver.Content).Allocated()
	}
	a.Blocks = (stored + 511) / 512
}

// SetAttr asks for changes: those fields that are not nil.
type SetAttr struct {
	Mode  *uint32 // permission bits, 07777
	UID   *uint32
	GID   *uint32
	Size  *int64 // of a regular file
	ATime *int64
	MTime *int64
}

// SetAttr changes attributes, all or none. A change of owner clears the
// set-user-ID bit of a file, a change of size that and sets the times.
// Errors: EINVAL, EISDIR, EFBIG, ENOSPC (on a full disk a file can only be cut).
func (n *Node) SetAttr(ctx context.Context, s SetAttr) error {
	switch {
	case s.Mode != nil && *s.Mode&^0o7777 != 0 || s.Size != nil && *s.Size < 0:
		return syscall.EINVAL
	case s.Size != nil && n.kind == merge.KindDir:
		return syscall.EISDIR
	case s.Size != nil && n.kind != merge.KindFile:
		return syscall.EINVAL
	case s.Size != nil:
		return n.setSize(ctx, &s)
	}
	v := n.v
	if err := v.begin(ctx); err != nil {
		return err
	}
	defer v.unlock()
	in, err := n.inode()
	if err != nil {
		return err
	}
	v.setOthers(in, &s)
	return nil
}

// setSize is SetAttr with a size. Whatever can be refused comes before the bytes
// change, and the rest goes into the commit group that they go into.
func (n *Node) setSize(ctx context.Context, s *SetAttr) error {
	v := n.v
	h, err := n.Open(ctx, true)
	if err != nil {
		return err
	}
	defer h.Close()
	begin := v.beginRemoval
	if *s.Size > h.f.c.Size() {
		begin = v.begin
	}
	if err := begin(ctx); err != nil {
		return err
	}
	v.unlock()
	if err := h.f.c.Truncate(ctx, *s.Size); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.unlock()
	if v.ended || v.closed {
		return errClosed
	}
	v.wrote(h.in)
	v.setOthers(h.in, s)
	return nil
}

// setOthers changes all that s asks for but the size. v.mu is held.
func (v *Volume) setOthers(in *inode, s *SetAttr) {
	if s.Mode != nil || s.UID != nil || s.GID != nil {
		v.setOwner(in, s)
	}
	if s.ATime != nil || s.MTime != nil {
		v.setTimes(in, s)
	}
}

func (v *Volume) setOwner(in *inode, s *SetAttr) {
	a := in.rec().attr()
	a.Mode, a.UID, a.GID = settings(in.rec())
	owner := a
	if s.UID != nil {
		a.UID = *s.UID
	}
	if s.GID != nil {
		a.GID = *s.GID
	}
	switch {
	case s.Mode != nil:
		a.Mode = *s.Mode
	case (a.UID != owner.UID || a.GID != owner.GID) && in.kind != merge.KindDir:
		a.Mode = dropSetID(a.Mode)
	}
	v.putAttr(in, in.at.rec.clone(), a)
}

// putAttr makes a the settings of what in's name shows; rec becomes the
// name's record.
func (v *Volume) putAttr(in *inode, rec *record, a merge.Attr) {
	t := now()
	rec.CTime = t
	rec.Change = v.changed(in.num)
	a.Stamp, a.Dots = merge.Stamp{}, nil
	switch {
	case rec.Device:
		rec.Own = a
		v.store(in, rec)
	case !in.linked():
		rec.Entry = rec.SetAttr(a)
		in.at.rec = rec
	case in.held != nil && len(rec.Versions) == 0:
		in.held = in.held.clone()
		in.held.Entry, in.held.CTime, in.held.Change = in.held.SetAttr(a), t, rec.Change
	default:
		a.Stamp = merge.Stamp{Time: t, Dot: v.spend()}
		rec.Entry = rec.SetAttr(a)
		v.put(in.at, rec)
	}
}

// store makes rec the record of in's name, changed in what is this replica's
// alone.
func (v *Volume) store(in *inode, rec *record) {
	if in.linked() {
		v.set(in.at, rec)
	} else {
		in.at.rec = rec
	}
}

func (v *Volume) setTimes(in *inode, s *SetAttr) {
	if d := in.at.sub; d != nil && in.linked() {
		v.foldDir(d)
	}
	rec := in.at.rec.clone()
	rec.CTime = now()
	rec.Change = v.changed(in.num)
	if s.ATime != nil {
		rec.ATime = *s.ATime
	}
	if s.MTime == nil {
		v.store(in, rec)
		return
	}
	rec.MTime, in.mtime = *s.MTime, *s.MTime
	ver := rec.version()
	if ver == nil || in.held != nil {
		v.store(in, rec)
		return
	}
	stamp := merge.Stamp{Time: rec.CTime, Dot: v.spend()}
	rec.Entry = rec.Touch(ver.Dot, *s.MTime, stamp)
	if in.linked() {
		v.put(in.at, rec)
	} else {
		in.at.rec = rec
	}
}

// Readlink returns the target of a symlink: EINVAL on anything else.
func (n *Node) Readlink() (string, error) {
	n.v.mu.Lock()
	defer n.v.unlock()
	in, err := n.inode()
	if err != nil {
		return "", err
	}
	ver := in.rec().version()
	if in.kind != merge.KindSymlink || ver == nil {
		return "", syscall.EINVAL
	}
	return ver.Content, nil
}
