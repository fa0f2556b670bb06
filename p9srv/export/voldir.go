package export

import (
	"context"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bazil/merge"
	"bazil/p9srv"
	"bazil/store/vol"
)

// mayChange checks that entries may come and go in the directory.
func (n *volNode) mayChange() error {
	if err := n.v.writable(); err != nil {
		return err
	}
	return n.may(mayWrite | mayExec)
}

func (n *volNode) Create(ctx context.Context, name string, flags, mode, gid uint32) (p9srv.Node, p9srv.File, error) {
	if err := n.mayChange(); err != nil {
		return nil, nil, err
	}
	m, err := n.make(ctx, name, vol.New{Kind: merge.KindFile, Mode: mode, GID: gid})
	if err != nil {
		return nil, nil, err
	}
	f, err := m.openFile(ctx, flags)
	if err != nil {
		m.Release()
		return nil, nil, err
	}
	return m, f, nil
}

// make adds an entry that belongs to the user; a set-group-ID directory gives
// its group, and to directories the bit, to what is made in it.
func (n *volNode) make(ctx context.Context, name string, what vol.New) (*volNode, error) {
	if n.isSnap(name) {
		return nil, syscall.EEXIST
	}
	a, err := n.n.Attr()
	if err != nil {
		return nil, err
	}
	what.Mode &= 0o7777
	_, what.GID = n.v.ids(0, what.GID)
	what.UID = n.v.uid
	if what.GID == p9srv.NoUID {
		what.GID = n.v.gid()
	}
	if a.Mode&syscall.S_ISGID != 0 {
		what.GID = a.GID
		if what.Kind == merge.KindDir {
			what.Mode |= syscall.S_ISGID
		} else if what.Mode&syscall.S_IXGRP != 0 && n.v.strangerTo(a.GID) {
			what.Mode &^= syscall.S_ISGID
		}
	}
	m, err := n.n.Create(ctx, name, what)
	if err != nil {
		return nil, err
	}
	return n.node(m), nil
}

func (n *volNode) makeNode(ctx context.Context, name string, what vol.New) (p9srv.Node, error) {
	if err := n.mayChange(); err != nil {
		return nil, err
	}
	m, err := n.make(ctx, name, what)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (n *volNode) Mkdir(ctx context.Context, name string, mode, gid uint32) (p9srv.Node, error) {
	return n.makeNode(ctx, name, vol.New{Kind: merge.KindDir, Mode: mode, GID: gid})
}

func (n *volNode) Symlink(ctx context.Context, name, target string, gid uint32) (p9srv.Node, error) {
	return n.makeNode(ctx, name, vol.New{Kind: merge.KindSymlink, Mode: 0o777, GID: gid, Target: target})
}

func (n *volNode) Mknod(ctx context.Context, name string, mode, major, minor, gid uint32) (p9srv.Node, error) {
	what := vol.New{Mode: mode, GID: gid}
	switch mode & syscall.S_IFMT {
	case 0, syscall.S_IFREG:
		what.Kind = merge.KindFile
	case syscall.S_IFIFO:
		what.Kind = merge.KindFifo
	case syscall.S_IFSOCK:
		what.Kind = merge.KindSocket
	case syscall.S_IFCHR, syscall.S_IFBLK:
		if !n.v.super {
			return nil, syscall.EPERM
		}
		what.Kind, what.Block, what.Rdev = merge.KindDevice, mode&syscall.S_IFMT == syscall.S_IFBLK, unix.Mkdev(major, minor)
	default:
		return nil, syscall.EINVAL
	}
	return n.makeNode(ctx, name, what)
}

const atRemoveDir = 0x200

func (n *volNode) Unlink(ctx context.Context, name string, flags uint32) error {
	if err := n.mayRemove(ctx, name); err != nil {
		return err
	}
	if flags&atRemoveDir != 0 {
		return n.n.Rmdir(ctx, name)
	}
	return n.n.Unlink(ctx, name)
}

// mayRemove checks the directory's permission and its sticky bit.
func (n *volNode) mayRemove(ctx context.Context, name string) error {
	if n.isSnap(name) {
		return syscall.EPERM
	}
	if err := n.mayChange(); err != nil || n.v.super {
		return err
	}
	dir, err := n.n.Attr()
	if err != nil || dir.Mode&syscall.S_ISVTX == 0 || dir.UID == n.v.uid {
		return err
	}
	m, err := n.n.Lookup(ctx, name)
	if err != nil {
		return err
	}
	a, err := m.Attr()
	if err != nil {
		return err
	}
	return n.v.owns(a)
}

func (n *volNode) Rename(ctx context.Context, name string, to p9srv.Node, newName string) error {
	dir, err := n.mayRename(ctx, name, to, newName)
	if err != nil {
		return err
	}
	return n.n.Rename(ctx, name, dir.n, newName)
}

// mayRename checks both directories, and that a directory which is to have
// another above it may be written. It returns the one it goes to.
func (n *volNode) mayRename(ctx context.Context, name string, to p9srv.Node, newName string) (*volNode, error) {
	if _, ok := to.(snapDir); ok {
		return nil, syscall.EPERM // with EXDEV, mv(1) would make a snapshot and copy into it
	}
	dir, ok := to.(*volNode)
	if !ok || dir.vol != n.vol {
		return nil, syscall.EXDEV
	}
	if err := n.mayRemove(ctx, name); err != nil {
		return nil, err
	}
	if err := dir.mayRemove(ctx, newName); err != nil && err != syscall.ENOENT {
		return nil, err
	}
	if n.v.super || n.n.Ino() == dir.n.Ino() {
		return dir, nil
	}
	m, err := n.n.Lookup(ctx, name)
	if err != nil || m.Kind() != merge.KindDir {
		return dir, err
	}
	a, err := m.Attr()
	if err != nil {
		return nil, err
	}
	return dir, n.v.may(a, mayWrite)
}

func (n *volNode) Link(context.Context, p9srv.Node, string) error { return syscall.EPERM }

func (n *volNode) Name() string { return n.n.Name() }

func (n *volNode) Remove(ctx context.Context) error {
	dir, err := n.dir()
	if err != nil {
		return err
	}
	defer dir.Release()
	if err := dir.mayRemove(ctx, n.n.Name()); err != nil {
		return err
	}
	return dir.n.RemoveNode(ctx, n.n)
}

func (n *volNode) Move(ctx context.Context, to p9srv.Node, newName string) error {
	dir, err := n.dir()
	if err != nil {
		return err
	}
	defer dir.Release()
	if to == nil {
		to = dir
	}
	target, err := dir.mayRename(ctx, n.n.Name(), to, newName)
	if err != nil {
		return err
	}
	return dir.n.RenameNode(ctx, n.n, target.n, newName)
}

func (n *volNode) GetXattr(_ context.Context, name string) ([]byte, error) {
	if err := n.may(mayRead); err != nil {
		return nil, err
	}
	return n.n.GetXattr(name)
}

func (n *volNode) ListXattr(context.Context) ([]string, error) { return n.n.ListXattr() }

func (n *volNode) SetXattr(ctx context.Context, name string, value []byte, flags uint32) error {
	if err := n.mayXattr(name); err != nil {
		return err
	}
	return n.n.SetXattr(ctx, name, value, flags)
}

func (n *volNode) RemoveXattr(ctx context.Context, name string) error {
	if err := n.mayXattr(name); err != nil {
		return err
	}
	return n.n.RemoveXattr(ctx, name)
}

// mayXattr checks what Linux does for attributes of users: only files and
// directories have them, and those of a sticky directory are its owner's.
// Other names are refused for what they are: cp takes EPERM for a failure where
// it tries to copy an access control list.
func (n *volNode) mayXattr(name string) error {
	if err := n.v.writable(); err != nil || !strings.HasPrefix(name, "user.") {
		return err
	}
	a, err := n.n.Attr()
	switch {
	case err != nil:
		return err
	case a.Kind != merge.KindFile && a.Kind != merge.KindDir:
		return syscall.EPERM
	case a.Kind == merge.KindDir && a.Mode&syscall.S_ISVTX != 0 && n.v.owns(a) != nil:
		return syscall.EPERM
	}
	return n.v.may(a, mayWrite)
}
