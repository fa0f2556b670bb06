package vol

import (
	"context"
	"errors"
	"maps"
	"syscall"

	"bazil/merge"
	"bazil/store"
)

// place makes a name of the directory show what s is, without what is below
// it, by reference: no content moves. A directory that is there already takes
// the settings of s; anything else that the name shows is replaced, in one
// change, and what is open works on. whole says whether all chunks of the
// content are here. ENOTEMPTY where a directory that is not empty would have to go.
func (n *Node) place(ctx context.Context, name string, s *SnapNode) (placed *Node, whole bool, err error) {
	// Until the reference is in the volume, collection has to be kept from the chunks.
	defer n.v.o.Chunks.Hold()()
	body := Body("")
	whole = true
	if s.kind == merge.KindFile {
		body = Body(s.x.content)
		if whole, err = n.v.hasBody(ctx, body); err != nil {
			return nil, false, err
		}
	}
	v := n.v
	if err := v.begin(ctx); err != nil {
		return nil, false, err
	}
	defer v.unlock()
	e, err := n.placeEntry(name)
	if err != nil {
		return nil, false, err
	}
	over := v.inodeOf(e)
	if over != nil && over.kind == merge.KindDir {
		if s.kind == merge.KindDir {
			v.takeSettings(over, s)
			return v.node(over), true, nil
		}
		if err := v.checkRmdir(over); err != nil {
			return nil, false, err
		}
	}
	old := e.rec
	in := v.placeOver(e, over, s)
	if !whole {
		v.addWants(e, old)
	}
	return v.node(in), whole, nil
}

// placeEntry finds the entry of a name. v.mu is held.
func (n *Node) placeEntry(name string) (*entry, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	in, err := n.dirInode()
	if err != nil {
		return nil, err
	}
	d, err := n.v.placeOf(in.at)
	if err != nil {
		return nil, err
	}
	return n.v.find(d, name)
}

// placeOver gives e's record what s is, in the place of what over shows.
// Other versions of the name stay. A file of the same kind keeps its number,
// as when a peer's version comes in: who has it open goes on with the bytes
// that it opened. One that is being written loses its name instead.
func (v *Volume) placeOver(e *entry, over *inode, s *SnapNode) *inode {
	t := now()
	seen := e.rec.seen()
	if over != nil && over.pinned() {
		seen = over.seen
	}
	if d := e.sub; d != nil {
		d.touched = 0 // of a directory that stood here before
	}
	rec := e.rec.clone()
	if stays := over != nil && over.kind == s.kind && !over.pinned(); stays {
		v.replace(over)
	} else {
		v.detach(over, e.rec)
		over = nil
		rec.Ino, rec.BTime = v.newIno(), t
	}
	rec.Shown = merge.Dot{}
	rec.Device, rec.Block, rec.Rdev, rec.Own = false, false, 0, merge.Attr{}
	rec.ATime, rec.MTime, rec.CTime = s.x.mtime, s.x.mtime, t
	rec.Change = v.changed(rec.Ino)
	if s.kind == merge.KindDevice {
		v.placeDevice(rec, seen, s)
	} else {
		v.placeVersion(rec, seen, s)
	}
	v.put(e, rec)
	v.touchDir(e.dir, t)
	if over == nil {
		over = v.addInode(rec.Ino, s.kind, e)
	}
	v.seat(over)
	return over
}

func (v *Volume) placeDevice(rec *record, seen []merge.Dot, s *SnapNode) {
	rec.Device, rec.Block, rec.Rdev, rec.Own = true, s.x.block, s.x.rdev, s.x.attr()
	if len(seen) > 0 {
		v.spend()
		rec.Entry = rec.Delete(seen)
	}
}

func (v *Volume) placeVersion(rec *record, seen []merge.Dot, s *SnapNode) {
	dot := v.spendFor(&rec.Entry, seen)
	stamp := merge.Stamp{Time: rec.CTime, Dot: dot}
	ver := merge.Version{Dot: dot, Kind: s.kind, MTime: s.x.mtime, MStamp: stamp}
	switch s.kind {
	case merge.KindFile:
		ver.Content, ver.Size = s.x.content, Body(s.x.content).Size()
	case merge.KindSymlink:
		ver.Content, ver.Size = s.x.content, int64(len(s.x.content))
	}
	a := s.x.attr()
	a.Stamp = stamp
	rec.Entry, rec.Shown = rec.Put(ver, seen).SetAttr(a), dot
}

// attr are the settings of an entry, without a stamp.
func (x *snapEntry) attr() merge.Attr {
	return merge.Attr{Mode: x.mode, UID: x.uid, GID: x.gid, Xattrs: maps.Clone(x.xattrs)}
}

// takeSettings gives a directory the settings of s, if it has others.
func (v *Volume) takeSettings(in *inode, s *SnapNode) {
	now := snapEntry{xattrs: in.rec().attr().Xattrs}
	now.mode, now.uid, now.gid = settings(in.rec())
	if !now.sameSettings(&s.x) {
		v.putAttr(in, in.at.rec.clone(), s.x.attr())
	}
}

// hasBody says whether all chunks of a body are here, and tells a collection
// that they are in use.
func (v *Volume) hasBody(ctx context.Context, body Body) (bool, error) {
	whole := true
	missing, err := walkChunks(ctx, v.o.Chunks, v.o.Sealer, body, func(id store.ID, _ bool) error {
		whole = v.o.Chunks.Has(id) && whole
		return ctx.Err()
	})
	if errors.Is(err, store.ErrDamaged) {
		return false, nil
	}
	return whole && len(missing) == 0, err
}

// removeTree removes a name with all that is below it.
func (n *Node) removeTree(ctx context.Context, name string) error {
	for {
		c, err := n.Lookup(ctx, name)
		if errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
		if c.Kind() != merge.KindDir {
			err = n.Unlink(ctx, name)
		} else if err = c.removeAll(ctx); err == nil {
			err = n.Rmdir(ctx, name)
		}
		if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
}

// removeAll removes everything in a directory.
func (n *Node) removeAll(ctx context.Context) error {
	list, err := n.List(ctx)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := n.removeTree(ctx, e.Name); err != nil {
			return err
		}
	}
	return nil
}
