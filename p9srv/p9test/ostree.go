package p9test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bazil/p9srv"
)

// OSTree serves a folder of the operating system, for tests of the server and
// of clients that are not about bazil's own trees. A file whose name ends in
// ".stream" gives a line per read, and then waits.
type OSTree struct {
	Dir   string // attach names are paths in it
	Flags bool   // keep the append-only and exclusive-use bits, in an xattr
	Owned bool   // what is made belongs to who attached and to the group asked for

	// Look is asked first for a name that is walked to; nil and no error: the
	// folder has it. Stat is asked before a file's attributes. Either may be nil.
	Look func(uid uint32, name string) (p9srv.Node, error)
	Stat func(ctx context.Context, name string) error
}

// Attach takes a path below Dir.
func (t *OSTree) Attach(_ context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	return t.At(who.UID, filepath.Join(t.Dir, aname))
}

// At is the file at a path of the operating system.
func (t *OSTree) At(uid uint32, path string) (p9srv.Node, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	return t.node(fd, uid, "", err)
}

// node takes over a descriptor.
func (t *OSTree) node(fd int, uid uint32, name string, err error) (p9srv.Node, error) {
	if err != nil {
		return nil, err
	}
	n := &osNode{tree: t, fd: fd, uid: uid, name: name}
	if err := unix.Fstat(fd, &n.st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if n.st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return osLink{n}, nil
	}
	return n, nil
}

// osNode holds a file by a descriptor of O_PATH, so that it stays the same
// file wherever it moves.
type osNode struct {
	tree *OSTree
	fd   int
	uid  uint32
	st   unix.Stat_t // as of the walk
	name string      // as walked to
}

// osLink is a symlink.
type osLink struct{ *osNode }

func (l osLink) Readlink(context.Context) (string, error) {
	b := make([]byte, 4096)
	n, err := unix.Readlinkat(l.fd, "", b)
	return string(b[:max(n, 0)]), err
}

func (n *osNode) node() *osNode { return n }

func osQID(st *unix.Stat_t) p9srv.QID {
	q := p9srv.QID{Path: st.Ino, Version: uint32(st.Ctim.Nsec)>>2 ^ uint32(st.Ctim.Sec)<<20 | 1}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		q.Type = p9srv.QTDir
	case unix.S_IFLNK:
		q.Type = p9srv.QTSymlink
	}
	return q
}

func (n *osNode) path() string { return fmt.Sprintf("/proc/self/fd/%d", n.fd) }

func (n *osNode) QID() p9srv.QID {
	var st unix.Stat_t
	if unix.Fstat(n.fd, &st) != nil {
		st = n.st
	}
	q := osQID(&st)
	if n.tree.Flags && st.Mode&unix.S_IFMT == unix.S_IFREG {
		var b [1]byte
		if size, _ := unix.Getxattr(n.path(), flagsXattr, b[:]); size == 1 {
			q.Type |= p9srv.QIDType(b[0])
		}
	}
	return q
}

const flagsXattr = "user.p9flags"

func (n *osNode) SetFlags(_ context.Context, bits p9srv.QIDType) error {
	if !n.tree.Flags {
		return syscall.EOPNOTSUPP
	}
	return unix.Setxattr(n.path(), flagsXattr, []byte{byte(bits)}, 0)
}

func (n *osNode) Release() { unix.Close(n.fd) }

func (n *osNode) Attr(ctx context.Context) (p9srv.Attr, error) {
	if n.tree.Stat != nil {
		if err := n.tree.Stat(ctx, n.name); err != nil {
			return p9srv.Attr{}, err
		}
	}
	var st unix.Stat_t
	err := unix.Fstat(n.fd, &st)
	return p9srv.Attr{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, NLink: uint64(st.Nlink), RDev: st.Rdev, Size: uint64(st.Size),
		BlockSize: uint64(st.Blksize), Blocks: uint64(st.Blocks),
		ATime: st.Atim.Nano(), MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
	}, err
}

func (n *osNode) Walk(_ context.Context, name string) (p9srv.Node, error) {
	if n.tree.Look != nil {
		if other, err := n.tree.Look(n.uid, name); other != nil || err != nil {
			return other, err
		}
	}
	fd, err := unix.Openat(n.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return n.tree.node(fd, n.uid, name, err)
}

func (n *osNode) Open(_ context.Context, flags uint32) (p9srv.File, error) {
	fd, err := unix.Open(n.path(), int(flags)|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return n.file(fd), nil
}

// made walks to what was made.
func (n *osNode) made(ctx context.Context, name string, gid uint32, err error) (p9srv.Node, error) {
	if err == nil && n.tree.Owned {
		err = unix.Fchownat(n.fd, name, int(n.uid), int(gid), unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return nil, err
	}
	return n.Walk(ctx, name)
}

func (n *osNode) Create(ctx context.Context, name string, flags, mode, gid uint32) (p9srv.Node, p9srv.File, error) {
	fd, err := unix.Openat(n.fd, name, int(flags)|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
	if err != nil {
		return nil, nil, err
	}
	node, err := n.made(ctx, name, gid, nil)
	if err != nil {
		unix.Close(fd)
		return nil, nil, err
	}
	return node, node.(interface{ node() *osNode }).node().file(fd), nil
}

func (n *osNode) Mkdir(ctx context.Context, name string, mode, gid uint32) (p9srv.Node, error) {
	return n.made(ctx, name, gid, unix.Mkdirat(n.fd, name, mode))
}

func (n *osNode) Symlink(ctx context.Context, name, target string, gid uint32) (p9srv.Node, error) {
	return n.made(ctx, name, gid, unix.Symlinkat(target, n.fd, name))
}

func (n *osNode) Mknod(ctx context.Context, name string, mode, major, minor, gid uint32) (p9srv.Node, error) {
	return n.made(ctx, name, gid, unix.Mknodat(n.fd, name, mode, int(unix.Mkdev(major, minor))))
}

func (n *osNode) Unlink(_ context.Context, name string, flags uint32) error {
	return unix.Unlinkat(n.fd, name, int(flags))
}

func (n *osNode) Rename(_ context.Context, name string, to p9srv.Node, newName string) error {
	return unix.Renameat(n.fd, name, to.(*osNode).fd, newName)
}

func (n *osNode) Link(_ context.Context, target p9srv.Node, name string) error {
	old := target.(interface{ node() *osNode }).node()
	return unix.Linkat(unix.AT_FDCWD, old.path(), n.fd, name, unix.AT_SYMLINK_FOLLOW)
}

// where is the file's path of the moment.
func (n *osNode) where() (string, error) {
	p, err := os.Readlink(n.path())
	if err == nil && strings.HasSuffix(p, " (deleted)") {
		return "", syscall.ENOENT
	}
	return p, err
}

func (n *osNode) Name() string {
	p, _ := n.where()
	return filepath.Base(p)
}

func (n *osNode) Remove(context.Context) error {
	p, err := n.where()
	if err != nil {
		return err
	}
	if n.st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.Rmdir(p)
	}
	return unix.Unlink(p)
}

func (n *osNode) Move(_ context.Context, to p9srv.Node, newName string) error {
	p, err := n.where()
	if err != nil {
		return err
	}
	if to == nil {
		return unix.Rename(p, filepath.Join(filepath.Dir(p), newName))
	}
	return unix.Renameat(unix.AT_FDCWD, p, to.(*osNode).fd, newName)
}

func (n *osNode) SetAttr(_ context.Context, a p9srv.SetAttr) error {
	if a.Valid&(p9srv.SetUID|p9srv.SetGID) != 0 {
		uid, gid := -1, -1
		if a.Valid&p9srv.SetUID != 0 {
			uid = int(a.UID)
		}
		if a.Valid&p9srv.SetGID != 0 {
			gid = int(a.GID)
		}
		if err := unix.Fchownat(n.fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	if a.Valid&p9srv.SetSize != 0 {
		if err := unix.Truncate(n.path(), int64(a.Size)); err != nil {
			return err
		}
	}
	if a.Valid&p9srv.SetMode != 0 {
		if err := unix.Chmod(n.path(), a.Mode); err != nil {
			return err
		}
	}
	return n.setTimes(a)
}

func (n *osNode) setTimes(a p9srv.SetAttr) error {
	if a.Valid&(p9srv.SetATime|p9srv.SetMTime) == 0 {
		return nil
	}
	at := func(now, value p9srv.SetMask, ns int64) unix.Timespec {
		switch {
		case a.Valid&now == 0:
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		case a.Valid&value == 0:
			return unix.Timespec{Nsec: unix.UTIME_NOW}
		}
		return unix.NsecToTimespec(ns)
	}
	ts := []unix.Timespec{at(p9srv.SetATime, p9srv.SetATimeValue, a.ATime), at(p9srv.SetMTime, p9srv.SetMTimeValue, a.MTime)}
	return unix.UtimesNanoAt(n.fd, "", ts, unix.AT_EMPTY_PATH)
}

func (n *osNode) GetXattr(_ context.Context, name string) ([]byte, error) {
	b := make([]byte, 1<<16)
	size, err := unix.Getxattr(n.path(), name, b)
	return b[:max(size, 0)], err
}

func (n *osNode) SetXattr(_ context.Context, name string, value []byte, flags uint32) error {
	return unix.Setxattr(n.path(), name, value, int(flags))
}

func (n *osNode) ListXattr(context.Context) ([]string, error) {
	b := make([]byte, 1<<16)
	size, err := unix.Listxattr(n.path(), b)
	if err != nil || size == 0 {
		return nil, err
	}
	return strings.Split(string(b[:size-1]), "\x00"), nil
}

func (n *osNode) RemoveXattr(_ context.Context, name string) error {
	return unix.Removexattr(n.path(), name)
}

func (n *osNode) Statfs(context.Context) (p9srv.Statfs, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(n.fd, &st)
	return p9srv.Statfs{
		Type: uint32(st.Type), BSize: uint32(st.Bsize), Blocks: st.Blocks, BFree: st.Bfree, BAvail: st.Bavail,
		Files: st.Files, FFree: st.Ffree, NameLen: uint32(st.Namelen),
	}, err
}
