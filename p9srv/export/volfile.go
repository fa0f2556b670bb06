package export

import (
	"context"
	"slices"
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
	return &volFile{Handle: h, n: n, writes: writes(flags), appends: flags&syscall.O_APPEND != 0}, nil
}

// volFile is an opened regular file. Reads and Close are the handle's own.
type volFile struct {
	*vol.Handle
	n       *volNode // outlives it
	writes  bool
	appends bool
}

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

func (f *volFile) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if f.appends {
		_, n, err := f.Append(ctx, p)
		return n, err
	}
	return f.Handle.WriteAt(ctx, p, off)
}

func (f *volFile) Sync(ctx context.Context, _ bool) error { return f.Handle.Sync(ctx) }

// volDir is an opened directory: the names as they were when reading began.
type volDir struct {
	readOnlyDir
	n       *volNode
	entries []vol.DirEntry
}

// ReadDir's cookies count the entries of the listing that was taken at 0.
func (d *volDir) ReadDir(ctx context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	if off == 0 || d.entries == nil {
		entries, err := d.n.n.List(ctx)
		if err != nil {
			return err
		}
		d.entries = d.n.shown(entries)
	}
	for i := off; i < uint64(len(d.entries)); i++ {
		e := d.entries[i]
		if !yield(p9srv.Dirent{QID: d.n.entryQID(e), Offset: i + 1, Type: uint8(modeType(e.Kind, e.Block) >> 12), Name: e.Name}) {
			break
		}
	}
	return nil
}

// shown leaves out what the directory of snapshots hides.
func (n *volNode) shown(entries []vol.DirEntry) []vol.DirEntry {
	if !n.isRoot() {
		return entries
	}
	return slices.DeleteFunc(entries, func(e vol.DirEntry) bool { return e.Name == snapName })
}

func (n *volNode) entryQID(e vol.DirEntry) p9srv.QID {
	return p9srv.QID{Type: qidType(e.Kind), Version: qidVersion(e.Version), Path: n.path(e.Ino)}
}

// Sync of a directory makes what was changed in it durable.
func (d *volDir) Sync(ctx context.Context, _ bool) error { return d.n.vol.Sync(ctx) }
