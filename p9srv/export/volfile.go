package export

import (
	"context"
	"syscall"

	"bazil/merge"
	"bazil/p9srv"
	"bazil/store/vol"
)

func (n *volNode) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	if writes(flags) {
		if err := n.v.writable(); err != nil {
			return nil, err
		}
	}
	if err := n.may(wanted(flags)); err != nil {
		return nil, err
	}
	switch n.n.Kind() {
	case merge.KindDir:
		if writes(flags) {
			return nil, syscall.EISDIR
		}
		return &volDir{n: n}, nil
	case merge.KindFile:
		if flags&syscall.O_DIRECTORY != 0 {
			return nil, syscall.ENOTDIR
		}
		return n.openFile(ctx, flags)
	case merge.KindSymlink:
		return nil, syscall.ELOOP
	}
	return nil, syscall.ENXIO
}

// wanted is what the mode must allow for open(2) flags.
func wanted(flags uint32) (want uint32) {
	if reads(flags) {
		want |= mayRead
	}
	if writes(flags) {
		want |= mayWrite
	}
	return want
}

func (n *volNode) openFile(ctx context.Context, flags uint32) (p9srv.File, error) {
	h, err := n.n.Open(ctx, writes(flags))
	if err != nil {
		return nil, err
	}
	if flags&syscall.O_TRUNC != 0 {
		if err := h.Truncate(ctx, 0); err != nil {
			h.Close()
			return nil, err
		}
	}
	f := &volFile{
		Handle: h, n: n, writes: writes(flags),
		appends: flags&syscall.O_APPEND != 0, durable: flags&openDSync != 0,
	}
	f.version = f.openedVersion()
	return f, nil
}

// openedVersion is the version that a client is told that opens the file. Who
// writes keeps what the name shows, so that his is the present one, with what
// others have written; who only reads may have another by now.
func (f *volFile) openedVersion() uint32 {
	if f.writes {
		return f.n.QID().Version
	}
	return qidVersion(f.Handle.Version())
}

// volFile is an opened regular file. Reads and Close are the handle's own.
type volFile struct {
	*vol.Handle
	n       *volNode // outlives it
	writes  bool
	appends bool
	durable bool // each write is synced before it is answered
	version uint32
}

func (f *volFile) Version() uint32 { return f.version }

// openDSync is O_DSYNC of Linux on x86, which O_SYNC holds too. v9fs leaves it
// to the server.
const openDSync = 0x1000

// SetAttr lets who opened the file for writing set its size, whatever the
// file's mode has become, as ftruncate(2) does.
func (f *volFile) SetAttr(ctx context.Context, s p9srv.SetAttr) error {
	if !f.writes || s.Valid&^(p9srv.SetSize|p9srv.SetMTime|p9srv.SetCTime) != 0 {
		return f.n.SetAttr(ctx, s)
	}
	a, err := f.n.n.Attr()
	if err != nil {
		return err
	}
	return f.n.n.SetAttr(ctx, f.n.setAttr(a, s))
}

func (f *volFile) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	if f.appends {
		_, n, err = f.Append(ctx, p)
	} else {
		n, err = f.Handle.WriteAt(ctx, p, off)
	}
	if f.durable && n > 0 {
		if err := f.Handle.Sync(ctx); err != nil {
			return 0, err
		}
	}
	return n, err
}

func (f *volFile) Sync(ctx context.Context, _ bool) error { return f.Handle.Sync(ctx) }
