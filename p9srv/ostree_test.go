package p9srv_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"bazil/p9srv"

	"golang.org/x/sys/unix"
)

// osTree serves a folder of the operating system. A file whose name ends in
// ".stream" gives a line per read, and then waits.
type osTree struct {
	dir   string
	flags bool // keep the append-only and exclusive-use bits, in an xattr
}

func (t osTree) Attach(_ context.Context, _ p9srv.User, aname string) (p9srv.Node, error) {
	fd, err := unix.Open(filepath.Join(t.dir, aname), unix.O_PATH|unix.O_CLOEXEC, 0)
	return newOSNode(fd, t.flags, err)
}

// osNode holds a file by a descriptor of O_PATH, so that it stays the same
// file wherever it moves.
type osNode struct {
	fd    int
	st    unix.Stat_t
	flags bool
	name  string // as walked to
}

func newOSNode(fd int, flags bool, err error) (p9srv.Node, error) {
	if err != nil {
		return nil, err
	}
	n := &osNode{fd: fd, flags: flags}
	if err := unix.Fstat(fd, &n.st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if n.st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return osLink{n}, nil
	}
	return n, nil
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
	q := p9srv.QID{Path: st.Ino, Version: uint32(st.Ctim.Nsec>>4) ^ uint32(st.Ctim.Sec)<<16 | 1}
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
	if n.flags && st.Mode&unix.S_IFMT == unix.S_IFREG {
		var b [1]byte
		if size, _ := unix.Getxattr(n.path(), flagsXattr, b[:]); size == 1 {
			q.Type |= p9srv.QIDType(b[0])
		}
	}
	return q
}

const flagsXattr = "user.p9flags"

func (n *osNode) SetFlags(_ context.Context, bits p9srv.QIDType) error {
	if !n.flags {
		return syscall.EOPNOTSUPP
	}
	return unix.Setxattr(n.path(), flagsXattr, []byte{byte(bits)}, 0)
}

func (n *osNode) Release() { unix.Close(n.fd) }

func (n *osNode) Attr(context.Context) (p9srv.Attr, error) {
	var st unix.Stat_t
	err := unix.Fstat(n.fd, &st)
	return p9srv.Attr{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, NLink: uint64(st.Nlink), RDev: st.Rdev, Size: uint64(st.Size),
		BlockSize: uint64(st.Blksize), Blocks: uint64(st.Blocks),
		ATime: st.Atim.Nano(), MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
	}, err
}

func (n *osNode) Walk(_ context.Context, name string) (p9srv.Node, error) {
	fd, err := unix.Openat(n.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	k, err := newOSNode(fd, n.flags, err)
	if err == nil {
		k.(interface{ node() *osNode }).node().name = name
	}
	return k, err
}

func (n *osNode) Open(_ context.Context, flags uint32) (p9srv.File, error) {
	fd, err := unix.Open(n.path(), int(flags)|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return n.file(fd), nil
}

func (n *osNode) file(fd int) p9srv.File {
	f := &osFile{os.NewFile(uintptr(fd), n.path()), fd}
	if n.st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return &osDir{f}
	}
	if strings.HasSuffix(n.name, ".stream") {
		return &osStream{f, bufio.NewReader(f.f)}
	}
	return f
}

// osStream is an open file that gives events.
type osStream struct {
	*osFile
	r *bufio.Reader
}

func (s *osStream) IsStream() bool { return true }

func (s *osStream) ReadAt(ctx context.Context, p []byte, _ int64) (int, error) {
	if line, err := s.r.ReadBytes('\n'); err == nil {
		return copy(p, line), nil
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

func (n *osNode) Create(ctx context.Context, name string, flags, mode, gid uint32) (p9srv.Node, p9srv.File, error) {
	fd, err := unix.Openat(n.fd, name, int(flags)|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
	if err != nil {
		return nil, nil, err
	}
	node, err := n.Walk(ctx, name)
	if err != nil {
		unix.Close(fd)
		return nil, nil, err
	}
	return node, node.(interface{ node() *osNode }).node().file(fd), nil
}

func (n *osNode) Mkdir(ctx context.Context, name string, mode, gid uint32) (p9srv.Node, error) {
	if err := unix.Mkdirat(n.fd, name, mode); err != nil {
		return nil, err
	}
	return n.Walk(ctx, name)
}

func (n *osNode) Symlink(ctx context.Context, name, target string, gid uint32) (p9srv.Node, error) {
	if err := unix.Symlinkat(target, n.fd, name); err != nil {
		return nil, err
	}
	return n.Walk(ctx, name)
}

func (n *osNode) Mknod(ctx context.Context, name string, mode, major, minor, gid uint32) (p9srv.Node, error) {
	if err := unix.Mknodat(n.fd, name, mode, int(unix.Mkdev(major, minor))); err != nil {
		return nil, err
	}
	return n.Walk(ctx, name)
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
	if a.Valid&(p9srv.SetUID|p9srv.SetGID) != 0 {
		uid, gid := -1, -1
		if a.Valid&p9srv.SetUID != 0 {
			uid = int(a.UID)
		}
		if a.Valid&p9srv.SetGID != 0 {
			gid = int(a.GID)
		}
		if err := unix.Chown(n.path(), uid, gid); err != nil {
			return err
		}
	}
	if a.Valid&(p9srv.SetATime|p9srv.SetMTime) == 0 {
		return nil
	}
	set := func(now, value p9srv.SetMask, ns int64) unix.Timespec {
		switch {
		case a.Valid&now == 0:
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		case a.Valid&value == 0:
			return unix.Timespec{Nsec: unix.UTIME_NOW}
		}
		return unix.NsecToTimespec(ns)
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, n.path(), []unix.Timespec{
		set(p9srv.SetATime, p9srv.SetATimeValue, a.ATime), set(p9srv.SetMTime, p9srv.SetMTimeValue, a.MTime)}, 0)
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

// osFile is an open file.
type osFile struct {
	f  *os.File
	fd int
}

func (f *osFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		if err != nil {
			return n, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

func (f *osFile) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	return unix.Pwrite(f.fd, p, off)
}

func (f *osFile) Sync(context.Context, bool) error { return unix.Fsync(f.fd) }

func (f *osFile) Close() error { return f.f.Close() }

// osDir is an open directory.
type osDir struct{ *osFile }

func (d *osDir) ReadDir(_ context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if off != 0 {
		if _, err := unix.Seek(fd, int64(off), 0); err != nil {
			return err
		}
	}
	b := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, b)
		if err != nil || n == 0 {
			return err
		}
		for p := b[:n]; len(p) > 0; {
			d := (*unix.Dirent)(unsafe.Pointer(&p[0]))
			name := p[19:d.Reclen]
			name = name[:strings.IndexByte(string(name), 0)]
			p = p[d.Reclen:]
			if s := string(name); s != "." && s != ".." && !yield(dirent(d, s)) {
				return nil
			}
		}
	}
}

func dirent(d *unix.Dirent, name string) p9srv.Dirent {
	q := p9srv.QID{Path: d.Ino}
	switch d.Type {
	case unix.DT_DIR:
		q.Type = p9srv.QTDir
	case unix.DT_LNK:
		q.Type = p9srv.QTSymlink
	}
	return p9srv.Dirent{QID: q, Offset: uint64(d.Off), Type: d.Type, Name: name}
}

// tempTree makes an empty folder to serve.
func tempTree(t testing.TB) osTree { return osTree{dir: t.TempDir()} }
