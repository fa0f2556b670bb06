package fusemount

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"bazil/p9srv"
)

// diskTree serves a folder of the operating system. Under its root there is
// one more file, "stream", whose reads wait.
type diskTree struct {
	dir    string
	stream *stream                // nil: none
	gate   *gate                  // nil: none
	aside  atomic.Pointer[string] // the folder that asideName leads to; nil: none
}

const asideName = "aside"

// gate holds up every stat of the file named "slow".
type gate struct {
	waiting chan struct{} // gets a value when a stat begins to wait
	flushed chan struct{} // gets a value when a stat that waits is cancelled
	open    chan struct{} // closed: stats go on
}

func newGate() *gate {
	return &gate{waiting: make(chan struct{}, 16), flushed: make(chan struct{}, 16), open: make(chan struct{})}
}

func (g *gate) pass(ctx context.Context) error {
	select {
	case <-g.open:
		return nil
	default:
	}
	g.waiting <- struct{}{}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		g.flushed <- struct{}{}
		return ctx.Err()
	}
}

func (t *diskTree) Attach(_ context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	fd, err := unix.Open(filepath.Join(t.dir, aname), unix.O_PATH|unix.O_CLOEXEC, 0)
	return t.node(fd, who.UID, err)
}

// node takes over a descriptor of O_PATH: it stays the same file wherever it
// moves.
func (t *diskTree) node(fd int, uid uint32, err error) (p9srv.Node, error) {
	if err != nil {
		return nil, err
	}
	n := &diskNode{tree: t, fd: fd, uid: uid}
	if n.qid, _, err = n.stat(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if n.qid.Type == p9srv.QTSymlink {
		return diskLink{n}, nil
	}
	return n, nil
}

type diskNode struct {
	tree *diskTree
	fd   int
	uid  uint32
	qid  p9srv.QID // as of the walk; Path and Type stay
	gate *gate
}

type diskLink struct{ *diskNode }

func (l diskLink) Readlink(context.Context) (string, error) {
	b := make([]byte, 4096)
	n, err := unix.Readlinkat(l.fd, "", b)
	return string(b[:max(n, 0)]), err
}

func (n *diskNode) self() *diskNode { return n }

func (n *diskNode) stat() (p9srv.QID, unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstat(n.fd, &st)
	q := p9srv.QID{Path: st.Ino, Version: uint32(st.Ctim.Nsec)>>2 ^ uint32(st.Ctim.Sec)<<20 | 1}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		q.Type = p9srv.QTDir
	case unix.S_IFLNK:
		q.Type = p9srv.QTSymlink
	}
	return q, st, err
}

func (n *diskNode) path() string { return fmt.Sprintf("/proc/self/fd/%d", n.fd) }

func (n *diskNode) QID() p9srv.QID {
	if q, _, err := n.stat(); err == nil {
		return q
	}
	return n.qid
}

func (n *diskNode) Release() { unix.Close(n.fd) }

func (n *diskNode) Attr(ctx context.Context) (p9srv.Attr, error) {
	if n.gate != nil {
		if err := n.gate.pass(ctx); err != nil {
			return p9srv.Attr{}, err
		}
	}
	_, st, err := n.stat()
	return p9srv.Attr{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, NLink: uint64(st.Nlink), RDev: st.Rdev, Size: uint64(st.Size),
		BlockSize: uint64(st.Blksize), Blocks: uint64(st.Blocks),
		ATime: st.Atim.Nano(), MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
	}, err
}

func (n *diskNode) Walk(_ context.Context, name string) (p9srv.Node, error) {
	if name == "stream" && n.tree.stream != nil {
		return n.tree.stream, nil
	}
	if aside := n.tree.aside.Load(); name == asideName && aside != nil {
		fd, err := unix.Open(*aside, unix.O_PATH|unix.O_CLOEXEC, 0)
		return n.tree.node(fd, n.uid, err)
	}
	fd, err := unix.Openat(n.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	node, err := n.tree.node(fd, n.uid, err)
	if d, ok := node.(*diskNode); ok && name == "slow" {
		d.gate = n.tree.gate
	}
	return node, err
}

func (n *diskNode) Open(_ context.Context, flags uint32) (p9srv.File, error) {
	fd, err := unix.Open(n.path(), int(flags)|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return n.file(fd), nil
}

func (n *diskNode) file(fd int) p9srv.File {
	if n.qid.Type == p9srv.QTDir {
		return &diskDir{diskFile: diskFile{fd}}
	}
	return &diskFile{fd}
}

// made gives what was created to the user and walks to it.
func (n *diskNode) made(ctx context.Context, name string, gid uint32, err error) (p9srv.Node, error) {
	if err != nil {
		return nil, err
	}
	if err = unix.Fchownat(n.fd, name, int(n.uid), int(gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, err
	}
	return n.Walk(ctx, name)
}

func (n *diskNode) Create(ctx context.Context, name string, flags, mode, gid uint32) (p9srv.Node, p9srv.File, error) {
	fd, err := unix.Openat(n.fd, name, int(flags)|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
	if err != nil {
		return nil, nil, err
	}
	node, err := n.made(ctx, name, gid, nil)
	if err != nil {
		unix.Close(fd)
		return nil, nil, err
	}
	return node, &diskFile{fd}, nil
}

func (n *diskNode) Mkdir(ctx context.Context, name string, mode, gid uint32) (p9srv.Node, error) {
	return n.made(ctx, name, gid, unix.Mkdirat(n.fd, name, mode))
}

func (n *diskNode) Symlink(ctx context.Context, name, target string, gid uint32) (p9srv.Node, error) {
	return n.made(ctx, name, gid, unix.Symlinkat(target, n.fd, name))
}

func (n *diskNode) Mknod(ctx context.Context, name string, mode, major, minor, gid uint32) (p9srv.Node, error) {
	return n.made(ctx, name, gid, unix.Mknodat(n.fd, name, mode, int(unix.Mkdev(major, minor))))
}

func (n *diskNode) Unlink(_ context.Context, name string, flags uint32) error {
	return unix.Unlinkat(n.fd, name, int(flags))
}

func (n *diskNode) Rename(_ context.Context, name string, to p9srv.Node, newName string) error {
	return unix.Renameat(n.fd, name, to.(*diskNode).fd, newName)
}

func (n *diskNode) Link(_ context.Context, target p9srv.Node, name string) error {
	old := target.(interface{ self() *diskNode }).self()
	return unix.Linkat(unix.AT_FDCWD, old.path(), n.fd, name, unix.AT_SYMLINK_FOLLOW)
}

func (n *diskNode) SetAttr(_ context.Context, a p9srv.SetAttr) error {
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

func (n *diskNode) setTimes(a p9srv.SetAttr) error {
	at := func(now, value p9srv.SetMask, ns int64) unix.Timespec {
		switch {
		case a.Valid&now == 0:
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		case a.Valid&value == 0:
			return unix.Timespec{Nsec: unix.UTIME_NOW}
		}
		return unix.NsecToTimespec(ns)
	}
	if a.Valid&(p9srv.SetATime|p9srv.SetMTime) == 0 {
		return nil
	}
	ts := []unix.Timespec{at(p9srv.SetATime, p9srv.SetATimeValue, a.ATime), at(p9srv.SetMTime, p9srv.SetMTimeValue, a.MTime)}
	return unix.UtimesNanoAt(n.fd, "", ts, unix.AT_EMPTY_PATH)
}

func (n *diskNode) GetXattr(_ context.Context, name string) ([]byte, error) {
	b := make([]byte, 1<<16)
	size, err := unix.Getxattr(n.path(), name, b)
	return b[:max(size, 0)], err
}

func (n *diskNode) SetXattr(_ context.Context, name string, value []byte, flags uint32) error {
	return unix.Setxattr(n.path(), name, value, int(flags))
}

func (n *diskNode) ListXattr(context.Context) ([]string, error) {
	b := make([]byte, 1<<16)
	size, err := unix.Listxattr(n.path(), b)
	if err != nil || size == 0 {
		return nil, err
	}
	return strings.Split(string(b[:size-1]), "\x00"), nil
}

func (n *diskNode) RemoveXattr(_ context.Context, name string) error {
	return unix.Removexattr(n.path(), name)
}

func (n *diskNode) Statfs(context.Context) (p9srv.Statfs, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(n.fd, &st)
	return p9srv.Statfs{
		Type: uint32(st.Type), BSize: uint32(st.Bsize), Blocks: st.Blocks, BFree: st.Bfree, BAvail: st.Bavail,
		Files: st.Files, FFree: st.Ffree, NameLen: uint32(st.Namelen),
	}, err
}

// diskFile is an open file.
type diskFile struct {
	fd int
}

func (f *diskFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		if m == 0 || err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

func (f *diskFile) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	n, err := unix.Pwrite(f.fd, p, off)
	return n, err
}

func (f *diskFile) Sync(context.Context, bool) error { return unix.Fsync(f.fd) }

func (f *diskFile) Close() error { return unix.Close(f.fd) }

// diskDir is an open directory.
type diskDir struct {
	diskFile
	mu sync.Mutex // the descriptor has a position
}

// lastCookie stands for ext4's end of a directory, 1<<63-1: the largest
// cookies are the server's.
const lastCookie = 1<<63 - 1<<10

func (d *diskDir) ReadDir(_ context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off == lastCookie {
		return nil
	}
	if _, err := unix.Seek(d.fd, int64(off), 0); err != nil {
		return err
	}
	b := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(d.fd, b)
		if err != nil || n == 0 {
			return err
		}
		for p := b[:n]; len(p) > 0; {
			e := (*unix.Dirent)(unsafe.Pointer(&p[0]))
			name, _, _ := strings.Cut(string(p[19:e.Reclen]), "\x00")
			p = p[e.Reclen:]
			if name != "." && name != ".." && !yield(direntOf(e, name)) {
				return nil
			}
		}
	}
}

func direntOf(e *unix.Dirent, name string) p9srv.Dirent {
	q := p9srv.QID{Path: e.Ino}
	switch e.Type {
	case unix.DT_DIR:
		q.Type = p9srv.QTDir
	case unix.DT_LNK:
		q.Type = p9srv.QTSymlink
	}
	return p9srv.Dirent{QID: q, Offset: min(uint64(e.Off), lastCookie), Type: e.Type, Name: name}
}

// stream is a file like those of ctl: of version 0, and its reads wait.
type stream struct {
	records chan string
	waiting chan struct{} // gets a value when a read begins to wait
	flushed chan struct{} // gets a value when a read that waits is cancelled
}

func newStream() *stream {
	return &stream{records: make(chan string, 16), waiting: make(chan struct{}, 16), flushed: make(chan struct{}, 16)}
}

func (s *stream) QID() p9srv.QID { return p9srv.QID{Path: 1<<63 + 1} }

func (s *stream) Attr(context.Context) (p9srv.Attr, error) {
	return p9srv.Attr{Mode: syscall.S_IFREG | 0o666, NLink: 1}, nil
}

func (s *stream) Walk(context.Context, string) (p9srv.Node, error) { return nil, syscall.ENOTDIR }

func (s *stream) Open(context.Context, uint32) (p9srv.File, error) { return s, nil }

func (s *stream) Release() {}

func (s *stream) IsStream() bool { return true }

func (s *stream) ReadAt(ctx context.Context, p []byte, _ int64) (int, error) {
	s.waiting <- struct{}{}
	select {
	case r := <-s.records:
		return copy(p, r), nil
	case <-ctx.Done():
		s.flushed <- struct{}{}
		return 0, ctx.Err()
	}
}

func (s *stream) WriteAt(_ context.Context, p []byte, _ int64) (int, error) {
	s.records <- string(p)
	return len(p), nil
}

func (s *stream) Sync(context.Context, bool) error { return nil }

func (s *stream) Close() error { return nil }
