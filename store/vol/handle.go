package vol

import (
	"context"
	"sync"
	"syscall"

	"bazil/merge"
)

// Handle is an open regular file. One for reading goes on with the version
// that was there when it was opened, if a peer's takes its place; what is
// written here shows at once. One for writing keeps what the name shows.
type Handle struct {
	v     *Volume
	in    *inode
	f     *file
	write bool
	first uint64 // the file's version when it was opened
	once  sync.Once
}

// Version is what Node.Version was when the file was opened. What is read by a
// handle that does not write is that version of the file, or what was written
// here since, whatever Node.Version has become.
func (h *Handle) Version() uint64 { return h.first }

// Open opens a regular file; any number of times. Errors: EISDIR, EINVAL (not
// a regular file).
func (n *Node) Open(ctx context.Context, write bool) (*Handle, error) {
	switch n.kind {
	case merge.KindFile:
	case merge.KindDir:
		return nil, syscall.EISDIR
	default:
		return nil, syscall.EINVAL
	}
	v := n.v
	v.mu.Lock()
	defer v.unlock()
	in, err := n.inode()
	if err != nil {
		return nil, err
	}
	return v.open(in, write), nil
}

func (v *Volume) open(in *inode, write bool) *Handle {
	f := v.fileOf(in)
	if write {
		v.beginWrite(in)
	}
	v.handles++
	in.handles++
	f.handles++
	return &Handle{v: v, in: in, f: f, write: write, first: in.version()}
}

// Close gives the handle free.
func (h *Handle) Close() error {
	h.once.Do(func() {
		v := h.v
		v.mu.Lock()
		defer v.unlock()
		v.handles--
		h.in.handles--
		h.f.handles--
		if h.write {
			v.endWrite(h.in)
		}
		v.idleFile(h.f)
		v.drop(h.in)
	})
	return nil
}

// ReadAt fills p with the bytes at off; n < len(p) without an error is the end
// of the file.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	return h.f.c.ReadAt(ctx, p, off)
}

// ReadBuffers appends to dst slices that hold up to n bytes at off; fewer is
// the end of the file. They are lent: nobody may change them, nobody will.
func (h *Handle) ReadBuffers(ctx context.Context, dst [][]byte, off int64, n int) ([][]byte, error) {
	return h.f.c.ReadBuffers(ctx, dst, off, n)
}

// WriteAt writes all of p at off, or says how much and why not more. It waits
// while too much of the volume is not durable. Errors: EBADF, EFBIG, ENOSPC.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	if !h.write {
		return 0, syscall.EBADF
	}
	if err := h.v.roomForMore(); err != nil {
		return 0, err
	}
	n, err = h.f.c.WriteAt(ctx, p, off)
	if n > 0 {
		if late := h.v.wroteSome(h.in); late != nil {
			return 0, late // a part counts as written, and this is in vain
		}
	}
	return n, err
}

// Append writes p at the end of the file, where nothing else can get between,
// and returns where that was.
func (h *Handle) Append(ctx context.Context, p []byte) (off int64, n int, err error) {
	if !h.write {
		return 0, 0, syscall.EBADF
	}
	if err := h.v.roomForMore(); err != nil {
		return 0, 0, err
	}
	off, n, err = h.f.c.Append(ctx, p)
	if n > 0 {
		if late := h.v.wroteSome(h.in); late != nil {
			return off, 0, late
		}
	}
	return off, n, err
}

// Truncate makes the file size bytes long.
func (h *Handle) Truncate(ctx context.Context, size int64) error {
	if !h.write {
		return syscall.EBADF
	}
	if err := h.f.c.Truncate(ctx, size); err != nil {
		return err
	}
	return h.v.wroteSome(h.in)
}
