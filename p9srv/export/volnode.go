package export

import (
	"context"
	"syscall"
	"time"

	"bazil/merge"
	"bazil/p9srv"
	"bazil/store/vol"
)

// volShift is where a QID path has the volume's number, above the inode's.
const volShift = 48

// volNode is a file or directory of a volume in one view.
type volNode struct {
	v      *view
	vol    *vol.Volume
	number uint16
	n      *vol.Node
}

// newVolNode takes a reference of n, which the volNode's Release gives back.
func newVolNode(v *view, volume *vol.Volume, number uint16, n *vol.Node) *volNode {
	n.Ref()
	return &volNode{v, volume, number, n}
}

func (n *volNode) node(m *vol.Node) *volNode { return newVolNode(n.v, n.vol, n.number, m) }

func (n *volNode) Release() { n.n.Unref() }

func (n *volNode) path(ino uint64) uint64 { return uint64(n.number)<<volShift | ino&(1<<volShift-1) }

// QID has a version that changes with the file and is never 0, which would
// forbid caching.
func (n *volNode) QID() p9srv.QID {
	return p9srv.QID{Type: qidType(n.n.Kind()), Version: qidVersion(n.n.Version()), Path: n.path(n.n.Ino())}
}

func qidVersion(v uint64) uint32 {
	return uint32(v%(1<<32-1)) + 1
}

func qidType(k merge.Kind) p9srv.QIDType {
	switch k {
	case merge.KindDir:
		return p9srv.QTDir
	case merge.KindSymlink:
		return p9srv.QTSymlink
	}
	return p9srv.QTFile
}

// modeType is a kind as inode(7) has it in a mode.
func modeType(k merge.Kind, block bool) uint32 {
	switch k {
	case merge.KindDir:
		return syscall.S_IFDIR
	case merge.KindSymlink:
		return syscall.S_IFLNK
	case merge.KindFifo:
		return syscall.S_IFIFO
	case merge.KindSocket:
		return syscall.S_IFSOCK
	case merge.KindDevice:
		if block {
			return syscall.S_IFBLK
		}
		return syscall.S_IFCHR
	}
	return syscall.S_IFREG
}

// blockSize is what stat(2) tells programs to read and write at once: each
// request costs a round trip, and 64 KiB is a chunk of a small file.
const blockSize = 64 << 10

func (n *volNode) Attr(context.Context) (p9srv.Attr, error) {
	a, err := n.n.Attr()
	if err != nil {
		return p9srv.Attr{}, err
	}
	return n.v.attr(a), nil
}

// attr is what a client gets to see of attributes.
func (v *view) attr(a vol.Attr) p9srv.Attr {
	uid, gid := v.clientIDs(a.UID, a.GID)
	return p9srv.Attr{
		Mode:   modeType(a.Kind, a.Block) | a.Mode,
		UID:    uid,
		GID:    gid,
		NLink:  uint64(a.NLink),
		RDev:   a.Rdev,
		Size:   uint64(a.Size),
		Blocks: uint64(a.Blocks),

		BlockSize: blockSize,
		ATime:     a.ATime,
		MTime:     a.MTime,
		CTime:     a.CTime,
		BTime:     a.BTime,
	}
}

func (n *volNode) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	if n.n.Kind() != merge.KindDir {
		return nil, syscall.ENOTDIR
	}
	if name == ".." {
		return n.parent(), nil
	}
	if err := n.may(mayExec); err != nil {
		return nil, err
	}
	if n.isSnap(name) {
		return n.snapshots(), nil
	}
	m, err := n.n.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	return n.node(m), nil
}

// parent of a volume's root is the export's root.
func (n *volNode) parent() p9srv.Node {
	if n.n.Ino() == n.vol.Root().Ino() {
		return rootNode{n.v}
	}
	return n.node(n.n.Parent())
}

// may checks the node's mode against what the user wants of it.
func (n *volNode) may(want uint32) error {
	if n.v.uid == 0 {
		return nil
	}
	a, err := n.n.Attr()
	if err != nil {
		return err
	}
	return n.v.may(a, want)
}

func (n *volNode) Statfs(ctx context.Context) (p9srv.Statfs, error) {
	s, err := n.vol.Stats(ctx)
	if err != nil {
		return p9srv.Statfs{}, err
	}
	return n.v.statfs(uint64(s.Files + s.Dirs))
}

func (n *volNode) Sync(ctx context.Context) error { return n.vol.Sync(ctx) }

func (n *volNode) Readlink(context.Context) (string, error) { return n.n.Readlink() }

func (n *volNode) SetAttr(ctx context.Context, s p9srv.SetAttr) error {
	if err := n.v.writable(); err != nil {
		return err
	}
	a, err := n.n.Attr()
	if err != nil {
		return err
	}
	if err := n.maySet(a, s); err != nil {
		return err
	}
	return n.n.SetAttr(ctx, n.setAttr(a, s))
}

// maySet checks who may change what: the size needs write permission, times
// set to the present need it or ownership, the rest is the owner's, and giving
// a file away the super-user's.
func (n *volNode) maySet(a vol.Attr, s p9srv.SetAttr) error {
	uid, gid := n.v.serverIDs(s.UID, s.GID)
	switch {
	case n.v.uid == 0:
		return nil
	case s.Valid&p9srv.SetUID != 0 && uid != a.UID:
		return syscall.EPERM
	case s.Valid&p9srv.SetGID != 0 && gid != a.GID && !(n.v.owns(a) == nil && n.v.inGroup(gid)):
		return syscall.EPERM
	case s.Valid&(p9srv.SetMode|p9srv.SetATimeValue|p9srv.SetMTimeValue) != 0:
		return n.v.owns(a)
	case s.Valid&(p9srv.SetATime|p9srv.SetMTime) != 0 && n.v.owns(a) == nil:
		return nil
	case s.Valid&(p9srv.SetATime|p9srv.SetMTime|p9srv.SetSize) != 0:
		return n.v.may(a, mayWrite)
	}
	return nil
}

// setAttr translates; a change of owner by anybody but the super-user takes
// the suid and sgid bits away, as chown(2) says.
func (n *volNode) setAttr(a vol.Attr, s p9srv.SetAttr) vol.SetAttr {
	uid, gid := n.v.serverIDs(s.UID, s.GID)
	size, now := int64(s.Size), time.Now().UnixNano()
	var out vol.SetAttr
	if s.Valid&p9srv.SetMode != 0 {
		mode := s.Mode & 0o7777
		out.Mode = &mode
	}
	if s.Valid&p9srv.SetUID != 0 {
		out.UID = &uid
	}
	if s.Valid&p9srv.SetGID != 0 {
		out.GID = &gid
	}
	if s.Valid&p9srv.SetSize != 0 {
		out.Size = &size
	}
	if s.Valid&p9srv.SetATime != 0 {
		out.ATime = chosen(s.Valid&p9srv.SetATimeValue != 0, s.ATime, now)
	}
	if s.Valid&p9srv.SetMTime != 0 {
		out.MTime = chosen(s.Valid&p9srv.SetMTimeValue != 0, s.MTime, now)
	}
	return out
}

func chosen(explicit bool, value, now int64) *int64 {
	if explicit {
		return &value
	}
	return &now
}
