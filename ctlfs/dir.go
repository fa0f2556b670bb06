package ctlfs

import (
	"context"
	"slices"
	"syscall"

	"bazil/p9srv"
)

// entry is a name in a directory and how to make its node.
type entry struct {
	name string
	node func() p9srv.Node
}

// dir is a directory that only the server changes. Embedded, it is also the
// base of those that clients change.
type dir struct {
	base
	mode  uint32 // permissions; 0 stands for 0555
	above func() p9srv.Node
	list  func(ctx context.Context, d *dir) ([]entry, error)
	// find looks up a name without listing; nil to search the list.
	find func(ctx context.Context, d *dir, name string) (p9srv.Node, error)
}

// QID says that it is a directory.
func (d *dir) QID() p9srv.QID { return d.qid(p9srv.QTDir) }

// Attr gives its mode and owner.
func (d *dir) Attr(context.Context) (p9srv.Attr, error) {
	mode := d.mode
	if mode == 0 {
		mode = 0o555
	}
	a := d.attr(syscall.S_IFDIR | mode)
	a.NLink = 2
	return a, nil
}

// Walk finds an entry.
func (d *dir) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	switch {
	case name == "..":
		return d.parent(), nil
	case d.find != nil:
		return d.find(ctx, d, name)
	}
	entries, err := d.list(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.name == name {
			return e.node(), nil
		}
	}
	return nil, syscall.ENOENT
}

// parent is the directory above, or itself where there is none.
func (d *dir) parent() p9srv.Node {
	if d.above == nil {
		return d
	}
	return d.above()
}

// sub makes the base of a directory below d.
func (d *dir) sub(name string, list func(context.Context, *dir) ([]entry, error)) *dir {
	return &dir{base: d.under(name), above: func() p9srv.Node { return d }, list: list}
}

// Open opens it for reading.
func (d *dir) Open(_ context.Context, flags uint32) (p9srv.File, error) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0 {
		return nil, syscall.EISDIR
	}
	return &openDir{dir: d}, nil
}

// Remove is refused.
func (d *dir) Remove(context.Context) error { return syscall.EPERM }

// Move is refused.
func (d *dir) Move(context.Context, p9srv.Node, string) error { return syscall.EPERM }

// openDir is an opened directory: what it lists is what stood there when
// reading began.
type openDir struct {
	dir     *dir
	entries []p9srv.Dirent
}

// ReadDir lists the entries; a cookie is the number of the next one.
func (o *openDir) ReadDir(ctx context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	if off == 0 || o.entries == nil {
		if err := o.load(ctx); err != nil {
			return err
		}
	}
	for _, e := range o.entries[min(off, uint64(len(o.entries))):] {
		if !yield(e) {
			break
		}
	}
	return nil
}

func (o *openDir) load(ctx context.Context) error {
	list, err := o.dir.list(ctx, o.dir)
	if err != nil {
		return err
	}
	entries := make([]p9srv.Dirent, len(list))
	for i, e := range list {
		n := e.node()
		entries[i] = p9srv.Dirent{QID: n.QID(), Offset: uint64(i) + 1, Type: direntType(n), Name: e.name}
		n.Release()
	}
	o.entries = slices.Clip(entries)
	return nil
}

// direntType is the DT_ value of a node.
func direntType(n p9srv.Node) uint8 {
	if n.QID().Type&p9srv.QTDir != 0 {
		return syscall.DT_DIR
	}
	return syscall.DT_REG
}

func (o *openDir) ReadAt(context.Context, []byte, int64) (int, error)  { return 0, syscall.EISDIR }
func (o *openDir) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EISDIR }
func (o *openDir) Sync(context.Context, bool) error                    { return nil }
func (o *openDir) Close() error                                        { return nil }
