package export

import (
	"context"
	"slices"
	"syscall"

	"bazil/p9srv"
	"bazil/store/vol"
)

// snapName is the name, at a volume's root, of the directory of its snapshots.
// It is walked to and not listed; a file of that name cannot be made, and one
// that came from a peer is not to be seen.
const snapName = ".snap"

// snapBit marks the QID paths in snapshots: 63 bits of a hash stand below it.
const snapBit = 1 << 63

// snapDirIno is the inode number that a volume's snapshot directory has in
// its QID path: the last, which no file reaches.
const snapDirIno = 1<<volShift - 1

// isSnap says whether a name in n is that of the snapshots' directory.
func (n *volNode) isSnap(name string) bool {
	return name == snapName && n.isRoot()
}

func (n *volNode) isRoot() bool { return n.n.Ino() == n.vol.Root().Ino() }

// snapDir is the directory of a volume's snapshots. Making a directory in it
// makes a snapshot, removing and renaming one does so with the snapshot. Who
// may change the volume's root may do that.
type snapDir struct {
	root *volNode // the volume's root; the snapDir has a reference of its own
}

func (n *volNode) snapshots() snapDir { return snapDir{n.node(n.n)} }

func (d snapDir) Release() { d.root.Release() }

// QID has version 0: snapshots come and go by commands and schedules, too.
func (d snapDir) QID() p9srv.QID {
	return p9srv.QID{Type: p9srv.QTDir, Path: d.root.path(snapDirIno)}
}

func (d snapDir) Name() string { return snapName }

// Attr has the volume root's mode and owner, and the time of the newest
// snapshot.
func (d snapDir) Attr(ctx context.Context) (p9srv.Attr, error) {
	a, err := d.root.Attr(ctx)
	if err != nil {
		return a, err
	}
	all, err := d.root.vol.Snapshots(ctx)
	if err != nil {
		return a, err
	}
	a.NLink = 2 + uint64(len(all))
	a.ATime, a.MTime, a.CTime = a.BTime, a.BTime, a.BTime
	for _, s := range all {
		a.MTime = max(a.MTime, s.Created)
	}
	a.CTime = a.MTime
	return a, nil
}

func (d snapDir) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	if name == ".." {
		return d.root.node(d.root.n), nil
	}
	if err := d.root.may(mayExec); err != nil {
		return nil, err
	}
	return d.snapshot(ctx, name)
}

// snapshot is the root directory of a snapshot.
func (d snapDir) snapshot(ctx context.Context, name string) (*snapNode, error) {
	s, err := d.root.vol.OpenSnapshot(ctx, name)
	if err != nil {
		return nil, err
	}
	return &snapNode{v: d.root.v, vol: d.root.vol, number: d.root.number, n: s, name: name}, nil
}

func (d snapDir) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	if writes(flags) {
		return nil, syscall.EISDIR
	}
	if err := d.root.may(mayRead); err != nil {
		return nil, err
	}
	return &snapList{d: snapDir{d.root}}, nil
}

func (d snapDir) Statfs(ctx context.Context) (p9srv.Statfs, error) { return d.root.Statfs(ctx) }

// Mkdir makes a snapshot of all that was written before.
func (d snapDir) Mkdir(ctx context.Context, name string, _, _ uint32) (p9srv.Node, error) {
	if err := d.root.mayChange(); err != nil {
		return nil, err
	}
	if err := vol.CheckSnapshotName(name); err != nil {
		return nil, err
	}
	if _, err := d.root.vol.Snapshot(ctx, name); err != nil {
		return nil, err
	}
	n, err := d.snapshot(ctx, name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Unlink removes a snapshot, full as it is.
func (d snapDir) Unlink(ctx context.Context, name string, flags uint32) error {
	if err := d.root.mayChange(); err != nil {
		return err
	}
	if flags&atRemoveDir == 0 {
		return syscall.EISDIR
	}
	return d.root.vol.RemoveSnapshot(ctx, name)
}

// Rename gives a snapshot another name. Nothing moves out of the directory.
func (d snapDir) Rename(ctx context.Context, name string, to p9srv.Node, newName string) error {
	return d.rename(name, to, newName, func() error { return d.root.vol.RenameSnapshot(ctx, name, newName) })
}

func (d snapDir) rename(name string, to p9srv.Node, newName string, do func() error) error {
	if err := d.root.mayChange(); err != nil {
		return err
	}
	dir, ok := to.(snapDir)
	if !ok || dir.root.vol != d.root.vol {
		return syscall.EPERM
	}
	if err := vol.CheckSnapshotName(newName); err != nil && name != newName {
		return err
	}
	return do()
}

func (d snapDir) Create(context.Context, string, uint32, uint32, uint32) (p9srv.Node, p9srv.File, error) {
	return nil, nil, syscall.EPERM
}

func (d snapDir) Symlink(context.Context, string, string, uint32) (p9srv.Node, error) {
	return nil, syscall.EPERM
}

func (d snapDir) Mknod(context.Context, string, uint32, uint32, uint32, uint32) (p9srv.Node, error) {
	return nil, syscall.EPERM
}

func (d snapDir) Link(context.Context, p9srv.Node, string) error { return syscall.EPERM }

func (d snapDir) SetAttr(context.Context, p9srv.SetAttr) error { return syscall.EPERM }

func (d snapDir) Remove(context.Context) error { return syscall.EPERM }

func (d snapDir) Move(context.Context, p9srv.Node, string) error { return syscall.EPERM }

// snapList is the directory of snapshots, opened. Its fid keeps the node.
type snapList struct {
	readOnlyDir
	d       snapDir
	entries []p9srv.Dirent
}

// ReadDir lists the snapshots by name. One whose first chunk cannot be read
// is there all the same, so that it can be removed.
func (l *snapList) ReadDir(ctx context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	if off == 0 || l.entries == nil {
		all, err := l.d.root.vol.Snapshots(ctx)
		if err != nil {
			return err
		}
		l.entries = slices.Grow([]p9srv.Dirent{}, len(all))
		for i, s := range all {
			qid := p9srv.QID{Type: p9srv.QTDir, Version: snapVersion, Path: snapPath(l.d.root.number, s.Ino())}
			l.entries = append(l.entries, p9srv.Dirent{QID: qid, Offset: uint64(i + 1), Type: syscall.DT_DIR, Name: s.Name})
		}
	}
	for i := off; i < uint64(len(l.entries)); i++ {
		if !yield(l.entries[i]) {
			break
		}
	}
	return nil
}
