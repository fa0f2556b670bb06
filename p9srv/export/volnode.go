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
	version, flags := n.n.Identity()
	return p9srv.QID{Type: qidType(n.n.Kind()) | qidFlags(flags), Version: qidVersion(version), Path: n.path(n.n.Ino())}
}

func qidVersion(v uint64) uint32 {
	return uint32(v%(1<<32-1)) + 1
}

// qidFlags and volFlags translate the bits that 9P2000 has and Unix has not.
func qidFlags(f vol.Flags) (t p9srv.QIDType) {
	for _, b := range flagBits {
		if f&b.flag != 0 {
			t |= b.bit
		}
	}
	return t
}

func volFlags(t p9srv.QIDType) (f vol.Flags) {
	for _, b := range flagBits {
		if t&b.bit != 0 {
			f |= b.flag
		}
	}
	return f
}

var flagBits = [...]struct {
	flag vol.Flags
	bit  p9srv.QIDType
}{
	{vol.FlagAppend, p9srv.QTAppend}, {vol.FlagExclusive, p9srv.QTExcl}, {vol.FlagTemporary, p9srv.QTTmp},
}

// SetFlags is the owner's to do.
func (n *volNode) SetFlags(ctx context.Context, bits p9srv.QIDType) error {
	if err := n.v.writable(); err != nil {
		return err
	}
	a, err := n.n.Attr()
	if err != nil {
		return err
	}
	if err := n.v.owns(a); err != nil {
		return err
	}
	return n.n.SetFlags(ctx, volFlags(bits))
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
	uid, gid := v.ids(a.UID, a.GID)
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
		return n.parent()
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

// parent of a volume's root is the export's root, where it shows that.
func (n *volNode) parent() (p9srv.Node, error) {
	if n.v.top == 0 && n.n.Ino() == n.vol.Root().Ino() {
		return rootNode{n.v}, nil
	}
	dir, err := n.dir()
	if err == syscall.EBUSY {
		return n.node(n.n), nil
	}
	if err != nil {
		return nil, err
	}
	return dir, nil
}

// dir returns the directory that n is an entry of: EBUSY at the top of what the
// view shows, ENOENT where n was moved away from below that.
func (n *volNode) dir() (*volNode, error) {
	root := n.vol.Root().Ino()
	if ino := n.n.Ino(); ino == root || ino == n.v.top {
		return nil, syscall.EBUSY
	}
	dir := n.n.Parent()
	for d := dir; n.v.top != 0 && d.Ino() != n.v.top; d = d.Parent() {
		if d.Ino() == root {
			return nil, syscall.ENOENT
		}
	}
	return n.node(dir), nil
}

// may checks the node's mode against what the user wants of it.
func (n *volNode) may(want uint32) error {
	if n.v.super {
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
	const owners = p9srv.SetMode | p9srv.SetUID | p9srv.SetGID | p9srv.SetATimeValue | p9srv.SetMTimeValue
	uid, gid := n.v.ids(s.UID, s.GID)
	owner := n.v.owns(a) == nil
	switch {
	case n.v.super:
		return nil
	case s.Valid&owners != 0 && !owner,
		s.Valid&p9srv.SetUID != 0 && uid != a.UID,
		s.Valid&p9srv.SetGID != 0 && gid != a.GID && !n.v.inGroup(gid):
		return syscall.EPERM
	case s.Valid&p9srv.SetSize != 0,
		s.Valid&(p9srv.SetATime|p9srv.SetMTime) != 0 && !owner:
		return n.v.may(a, mayWrite)
	}
	return nil
}

// setAttr translates. The set-group-ID bit goes where the user is not in the
// file's group, as chmod(2) says.
func (n *volNode) setAttr(a vol.Attr, s p9srv.SetAttr) vol.SetAttr {
	uid, gid := n.v.ids(s.UID, s.GID)
	size, now := int64(s.Size), time.Now().UnixNano()
	var out vol.SetAttr
	if s.Valid&p9srv.SetGID == 0 {
		gid = a.GID
	}
	if s.Valid&p9srv.SetMode != 0 {
		mode := s.Mode & 0o7777
		if n.v.strangerTo(gid) {
			mode &^= syscall.S_ISGID
		}
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
