package export

import (
	"context"
	"maps"
	"slices"
	"syscall"

	"bazil/merge"
	"bazil/p9srv"
	"bazil/store/vol"
)

// snapVersion is the QID version of all in snapshots: nothing there changes.
const snapVersion = 1

// snapNode is a file or directory of a snapshot in one view. It can be read
// by whom its mode allows, and changed by nobody.
type snapNode struct {
	v      *view
	vol    *vol.Volume
	number uint16
	n      *vol.SnapNode
	name   string    // as walked to
	up     *snapNode // nil at the snapshot's root
}

// snapPath is the QID path of a file in a snapshot of the volume with that
// number: the same file of one snapshot has the same path always, and shares
// it with no live one.
func snapPath(number uint16, ino uint64) uint64 {
	return snapBit | (ino^uint64(number)*0x9e3779b97f4a7c15)>>1
}

func (n *snapNode) qid(k merge.Kind, ino uint64) p9srv.QID {
	return p9srv.QID{Type: qidType(k), Version: snapVersion, Path: snapPath(n.number, ino)}
}

func (n *snapNode) QID() p9srv.QID { return n.qid(n.n.Kind(), n.n.Ino()) }

func (n *snapNode) Release() {}

// Name of a snapshot's root is what the snapshot is called now.
func (n *snapNode) Name() string {
	if n.up == nil {
		if name, err := n.vol.SnapshotName(n.n); err == nil {
			return name
		}
	}
	return n.name
}

func (n *snapNode) Attr(context.Context) (p9srv.Attr, error) { return n.v.attr(n.n.Attr()), nil }

func (n *snapNode) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	if n.n.Kind() != merge.KindDir {
		return nil, syscall.ENOTDIR
	}
	if name == ".." {
		return n.parent(), nil
	}
	if err := n.v.may(n.n.Attr(), mayExec); err != nil {
		return nil, err
	}
	m, err := n.n.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	return &snapNode{v: n.v, vol: n.vol, number: n.number, n: m, name: name, up: n}, nil
}

// parent of a snapshot's root is the directory of snapshots.
func (n *snapNode) parent() p9srv.Node {
	if n.up != nil {
		return n.up
	}
	return n.dir()
}

// dir is the directory of snapshots.
func (n *snapNode) dir() snapDir {
	return snapDir{newVolNode(n.v, n.vol, n.number, n.vol.Root())}
}

func (n *snapNode) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	if writes(flags) {
		return nil, syscall.EROFS
	}
	if err := n.v.may(n.n.Attr(), wanted(flags)); err != nil {
		return nil, err
	}
	switch n.n.Kind() {
	case merge.KindDir:
		return &snapListing{n: n}, nil
	case merge.KindFile:
		f, err := n.n.Open(ctx)
		if err != nil {
			return nil, err
		}
		return snapFile{SnapFile: f}, nil
	case merge.KindSymlink:
		return nil, syscall.ELOOP
	}
	return nil, syscall.ENXIO
}

func (n *snapNode) Readlink(context.Context) (string, error) { return n.n.Readlink() }

func (n *snapNode) Statfs(ctx context.Context) (p9srv.Statfs, error) {
	d := n.dir()
	defer d.Release()
	return d.Statfs(ctx)
}

func (n *snapNode) GetXattr(_ context.Context, name string) ([]byte, error) {
	value, ok := n.n.Xattrs()[name]
	if !ok {
		return nil, syscall.ENODATA
	}
	return value, nil
}

func (n *snapNode) ListXattr(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(n.n.Xattrs())), nil
}

func (n *snapNode) SetXattr(context.Context, string, []byte, uint32) error { return syscall.EROFS }
func (n *snapNode) RemoveXattr(context.Context, string) error              { return syscall.EROFS }
func (n *snapNode) SetAttr(context.Context, p9srv.SetAttr) error           { return syscall.EROFS }

func (n *snapNode) Create(context.Context, string, uint32, uint32, uint32) (p9srv.Node, p9srv.File, error) {
	return nil, nil, syscall.EROFS
}

func (n *snapNode) Mkdir(context.Context, string, uint32, uint32) (p9srv.Node, error) {
	return nil, syscall.EROFS
}

func (n *snapNode) Symlink(context.Context, string, string, uint32) (p9srv.Node, error) {
	return nil, syscall.EROFS
}

func (n *snapNode) Mknod(context.Context, string, uint32, uint32, uint32, uint32) (p9srv.Node, error) {
	return nil, syscall.EROFS
}

func (n *snapNode) Unlink(context.Context, string, uint32) error             { return syscall.EROFS }
func (n *snapNode) Rename(context.Context, string, p9srv.Node, string) error { return syscall.EROFS }
func (n *snapNode) Link(context.Context, p9srv.Node, string) error           { return syscall.EROFS }

// Remove removes a snapshot by its root.
func (n *snapNode) Remove(ctx context.Context) error {
	if n.up != nil {
		return syscall.EROFS
	}
	d := n.dir()
	defer d.Release()
	if err := d.root.mayChange(); err != nil {
		return err
	}
	return n.vol.RemoveSnapshotNode(ctx, n.n)
}

// Move renames a snapshot by its root.
func (n *snapNode) Move(ctx context.Context, to p9srv.Node, newName string) error {
	if n.up != nil {
		return syscall.EROFS
	}
	d := n.dir()
	defer d.Release()
	if to == nil {
		to = d
	}
	return d.rename(n.Name(), to, newName, func() error { return n.vol.RenameSnapshotNode(ctx, n.n, newName) })
}

// snapFile is an opened file of a snapshot.
type snapFile struct{ *vol.SnapFile }

func (snapFile) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EBADF }
func (snapFile) Sync(context.Context, bool) error                    { return nil }
func (snapFile) Close() error                                        { return nil }

// snapListing is an opened directory of a snapshot.
type snapListing struct {
	readOnlyDir
	n       *snapNode
	entries []vol.DirEntry
}

func (l *snapListing) ReadDir(ctx context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	if l.entries == nil {
		entries, err := l.n.n.List(ctx)
		if err != nil {
			return err
		}
		l.entries = entries
	}
	for i := off; i < uint64(len(l.entries)); i++ {
		e := l.entries[i]
		if !yield(p9srv.Dirent{QID: l.n.qid(e.Kind, e.Ino), Offset: i + 1, Type: uint8(modeType(e.Kind, e.Block) >> 12), Name: e.Name}) {
			break
		}
	}
	return nil
}
