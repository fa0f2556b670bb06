package vol

import (
	"context"
	"syscall"

	"bazil/merge"
)

// Unlink removes the name of anything but a directory. What is open or held
// works on. Where a conflict has other versions of the file, the next of them
// takes its place. Errors: ENOENT, EISDIR, ENOTDIR.
func (n *Node) Unlink(ctx context.Context, name string) error {
	return n.remove(ctx, name, func(in *inode) error {
		if in.kind == merge.KindDir {
			return syscall.EISDIR
		}
		return nil
	})
}

// Rmdir removes an empty directory. Errors: ENOENT, ENOTDIR, ENOTEMPTY.
func (n *Node) Rmdir(ctx context.Context, name string) error {
	return n.remove(ctx, name, n.v.checkRmdir)
}

// RemoveNode removes the name of m, a file or an empty directory, which must
// be in this directory: ENOENT if it has gone or moved, whatever has its name.
func (n *Node) RemoveNode(ctx context.Context, m *Node) error {
	name := m.Name()
	if name == "" {
		return syscall.ENOENT
	}
	return n.remove(ctx, name, func(in *inode) error {
		switch {
		case in.num != m.num:
			return syscall.ENOENT
		case in.kind == merge.KindDir:
			return n.v.checkRmdir(in)
		}
		return nil
	})
}

func (v *Volume) checkRmdir(in *inode) error {
	if in.kind != merge.KindDir {
		return syscall.ENOTDIR
	}
	d, err := v.subdir(in.at)
	if err == nil && d != nil && (d.live > 0 || d.showsHeld()) {
		return syscall.ENOTEMPTY
	}
	return err
}

// showsHeld says whether a directory in which no name exists any more shows one
// nevertheless: a file that a peer has removed and a writer here keeps
// (inode.held). Removed like that it would come back with what is written next,
// and the directory with it.
func (d *dir) showsHeld() bool {
	for _, e := range d.children {
		if e.node != nil {
			return true
		}
	}
	return false
}

func (n *Node) remove(ctx context.Context, name string, check func(*inode) error) error {
	v := n.v
	if err := v.beginRemoval(ctx); err != nil {
		return err
	}
	defer v.unlock()
	e, in, err := n.child(name)
	if err != nil {
		return err
	}
	if err := check(in); err != nil {
		return err
	}
	v.remove(e, in)
	v.touchDir(e.dir, now())
	return nil
}

// child returns a name of the directory and what it shows. v.mu is held.
func (n *Node) child(name string) (*entry, *inode, error) {
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	d, err := n.dir()
	if err != nil {
		return nil, nil, err
	}
	if d == nil {
		return nil, nil, syscall.ENOENT
	}
	e, err := n.v.find(d, name)
	if err != nil {
		return nil, nil, err
	}
	if in := n.v.inodeOf(e); in != nil {
		return e, in, nil
	}
	return nil, nil, syscall.ENOENT
}

// remove takes from a name what it shows. Versions that its user has not seen
// stay, and the name shows the next.
func (v *Volume) remove(e *entry, in *inode) {
	old := e.rec
	seen := old.seen()
	if in.pinned() {
		seen = in.seen
	}
	v.detach(in, old)
	v.put(e, v.without(e, old, seen))
	v.forget(e)
}

// without returns old, that of e, without the versions of the dots of seen
// and without a device, as what it then shows.
func (v *Volume) without(e *entry, old *record, seen []merge.Dot) *record {
	rec := old.clone()
	v.spend()
	if rec.Device {
		rec.Device, rec.Block, rec.Rdev, rec.Own = false, false, 0, merge.Attr{}
	} else {
		rec.Entry = rec.Delete(seen)
	}
	rec.Ino, rec.Shown = 0, merge.Dot{}
	v.present(e, nil, rec)
	return rec
}
