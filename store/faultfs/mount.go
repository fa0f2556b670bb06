package faultfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount mounts the disk at dir, by FUSE, for another process: one that
// maps files into its memory and serves them too would wait for itself. Every
// write and flush of that process is a call of the disk. Directories are on
// disk when they are made.
func (d *Disk) Mount(dir string) (unmount func() error, err error) {
	forever := time.Hour // nobody but the kernel changes anything
	m := &mount{d: d, numbers: map[*Node]uint64{}}
	server, err := fs.Mount(dir, &mountNode{m: m}, &fs.Options{
		EntryTimeout: &forever,
		AttrTimeout:  &forever,
		MountOptions: fuse.MountOptions{FsName: "faultfs", Name: "faultfs", MaxWrite: 1 << 20},
	})
	if err != nil {
		return nil, err
	}
	return func() error { return detach(server, dir) }, nil
}

// detach unmounts, and waits until the last user is gone: a process that was
// killed may still be giving up its files.
func detach(server *fuse.Server, dir string) error {
	if out, err := exec.Command("fusermount3", "-u", "-z", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount %s: %w: %s", dir, err, out)
	}
	server.Wait()
	return nil
}

// Write writes all that processes see to the folder dir of the operating
// system.
func (d *Disk) Write(dir string) error {
	for name := range d.Dirs {
		if err := os.MkdirAll(path.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	for name, n := range d.Files {
		if err := os.WriteFile(path.Join(dir, name), n.Seen, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// mount is one mount of a disk.
type mount struct {
	d       *Disk
	numbers map[*Node]uint64 // inode numbers, guarded by d.Mu
}

func (m *mount) number(n *Node) uint64 {
	if m.numbers[n] == 0 {
		m.numbers[n] = uint64(len(m.numbers) + 2)
	}
	return m.numbers[n]
}

// mountNode is a file or a directory; which one, its mode says.
type mountNode struct {
	fs.Inode
	m *mount
}

var (
	_ fs.NodeLookuper  = (*mountNode)(nil)
	_ fs.NodeReaddirer = (*mountNode)(nil)
	_ fs.NodeGetattrer = (*mountNode)(nil)
	_ fs.NodeSetattrer = (*mountNode)(nil)
	_ fs.NodeMkdirer   = (*mountNode)(nil)
	_ fs.NodeCreater   = (*mountNode)(nil)
	_ fs.NodeOpener    = (*mountNode)(nil)
	_ fs.NodeUnlinker  = (*mountNode)(nil)
	_ fs.NodeRenamer   = (*mountNode)(nil)
	_ fs.NodeFsyncer   = (*mountNode)(nil)
)

// path is where the node is on the disk; that of the root is ".".
func (n *mountNode) path() string { return path.Clean(n.Path(nil)) }

func (n *mountNode) child(name string) string { return path.Join(n.path(), name) }

func (n *mountNode) make(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.m.d.Mu.Lock()
	defer n.m.d.Mu.Unlock()
	node := n.m.d.Files[name]
	switch {
	case node != nil:
		fill(&out.Attr, len(node.Seen), syscall.S_IFREG|0o600)
		return n.NewInode(ctx, &mountNode{m: n.m}, fs.StableAttr{Mode: syscall.S_IFREG, Ino: n.m.number(node)}), 0
	case n.m.d.Dirs[name]:
		fill(&out.Attr, 0, syscall.S_IFDIR|0o700)
		return n.NewInode(ctx, &mountNode{m: n.m}, fs.StableAttr{Mode: syscall.S_IFDIR}), 0
	}
	return nil, syscall.ENOENT
}

func fill(a *fuse.Attr, size int, mode uint32) {
	a.Size, a.Mode, a.Nlink = uint64(size), mode, 1
	a.Uid, a.Gid = uint32(os.Getuid()), uint32(os.Getgid())
}

func (n *mountNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, n.child(name), out)
}

func (n *mountNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	d, dir := n.m.d, n.path()
	names, err := d.List(dir)
	if err != nil {
		return nil, errno(err)
	}
	var out []fuse.DirEntry
	for _, name := range names {
		out = append(out, fuse.DirEntry{Name: name, Mode: syscall.S_IFREG})
	}
	d.Mu.Lock()
	defer d.Mu.Unlock()
	for name := range d.Dirs {
		if path.Dir(name) == dir && name != "." {
			out = append(out, fuse.DirEntry{Name: path.Base(name), Mode: syscall.S_IFDIR})
		}
	}
	return fs.NewListDirStream(out), 0
}

func (n *mountNode) Getattr(_ context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d := n.m.d
	d.Mu.Lock()
	defer d.Mu.Unlock()
	if n.IsDir() {
		fill(&out.Attr, 0, syscall.S_IFDIR|0o700)
		return 0
	}
	node := d.Files[n.path()]
	if h, ok := f.(*mountFile); ok {
		node = h.f.n
	}
	if node == nil {
		return syscall.ENOENT
	}
	fill(&out.Attr, len(node.Seen), syscall.S_IFREG|0o600)
	return 0
}

// Setattr sets sizes; modes, owners and times stay as they are.
func (n *mountNode) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		file, err := n.m.d.Open(n.path())
		if h, ok := f.(*mountFile); ok {
			file, err = h.f, nil
		}
		if err == nil {
			err = file.Truncate(int64(size))
		}
		if err != nil {
			return errno(err)
		}
	}
	return n.Getattr(ctx, f, out)
}

func (n *mountNode) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.m.d.Mu.Lock()
	n.m.d.Dirs[n.child(name)] = true
	n.m.d.Mu.Unlock()
	return n.make(ctx, n.child(name), out)
}

func (n *mountNode) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	f, err := n.m.d.Create(n.child(name))
	if err != nil {
		return nil, nil, 0, errno(err)
	}
	in, e := n.make(ctx, n.child(name), out)
	return in, &mountFile{f}, fuse.FOPEN_KEEP_CACHE, e
}

func (n *mountNode) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, err := n.m.d.Open(n.path())
	if err != nil {
		return nil, 0, errno(err)
	}
	return &mountFile{f}, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *mountNode) Unlink(_ context.Context, name string) syscall.Errno {
	return errno(n.m.d.Remove(n.child(name)))
}

func (n *mountNode) Rename(_ context.Context, name string, to fs.InodeEmbedder, toName string, flags uint32) syscall.Errno {
	dir, ok := to.(*mountNode)
	if !ok || flags != 0 {
		return syscall.EINVAL
	}
	return errno(n.m.d.Rename(n.child(name), dir.child(toName)))
}

func (n *mountNode) Fsync(_ context.Context, f fs.FileHandle, _ uint32) syscall.Errno {
	if h, ok := f.(*mountFile); ok {
		return errno(h.f.Sync())
	}
	return errno(n.m.d.SyncDir(n.path()))
}

// mountFile is an open file.
type mountFile struct{ f *File }

var (
	_ fs.FileReader = (*mountFile)(nil)
	_ fs.FileWriter = (*mountFile)(nil)
)

func (h *mountFile) Read(_ context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.f.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errno(err)
	}
	return fuse.ReadResultData(p[:n]), 0
}

func (h *mountFile) Write(_ context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	n, err := h.f.WriteAt(p, off)
	return uint32(n), errno(err)
}

// errno is what the kernel gets for an error of the disk.
func errno(err error) syscall.Errno {
	var e syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e
	case errors.Is(err, os.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, os.ErrExist):
		return syscall.EEXIST
	}
	return syscall.EIO
}
