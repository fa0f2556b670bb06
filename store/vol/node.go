package vol

import (
	"strings"
	"syscall"

	"bazil/merge"
)

// Node is a file or directory of a volume, as one number stands for it. Nodes
// are cheap and need not be given back. One whose name is gone works on as
// long as it is held by Ref or a Handle, and gives ESTALE afterwards.
type Node struct {
	v    *Volume
	num  uint64
	kind merge.Kind
	in   *inode // v.mu guards it; another may take its place
	refs int    // v.mu guards it
}

func (v *Volume) node(in *inode) *Node { return &Node{v: v, num: in.num, kind: in.kind, in: in} }

// Node returns the file or directory with that number; ESTALE if there is none.
func (v *Volume) Node(ino uint64) (*Node, error) {
	v.mu.Lock()
	defer v.unlock()
	in, err := v.inodeByNumber(ino)
	if err != nil {
		return nil, err
	}
	return v.node(in), nil
}

// inode returns the inode that n stands for. v.mu is held.
func (n *Node) inode() (*inode, error) {
	if n.v.closed {
		return nil, errClosed
	}
	if !n.in.evicted {
		n.in.at.used = true
		return n.in, nil
	}
	in, err := n.v.inodeByNumber(n.num)
	if err == nil && in.kind != n.kind {
		err = syscall.ESTALE
	}
	if err != nil {
		return nil, err
	}
	n.in = in
	return in, nil
}

// Ino is the number, which is the file's as long as it exists on this device
// and never given to another.
func (n *Node) Ino() uint64 { return n.num }

// Kind says what it is.
func (n *Node) Kind() merge.Kind { return n.kind }

// Version is a number that changes with every change of data, attributes, or
// in a directory of names.
func (n *Node) Version() uint64 {
	n.v.mu.Lock()
	defer n.v.unlock()
	in, err := n.inode()
	if err != nil {
		return 0
	}
	return in.version()
}

func (in *inode) version() uint64 {
	if in.held != nil {
		return max(in.held.Change, in.change)
	}
	c := max(in.rec().Change, in.at.rec.Change)
	if in.mark != "" {
		c = max(c, in.change)
	}
	if d := in.at.sub; in.linked() && d != nil && d.touched != 0 {
		c = max(c, d.change)
	}
	return c
}

// Name is the name in the parent directory; that of the root is empty, and a
// file whose name is gone has the last one.
func (n *Node) Name() string {
	n.v.mu.Lock()
	defer n.v.unlock()
	in, err := n.inode()
	if err != nil {
		return ""
	}
	return in.at.name
}

// Path is the way from the root, with slashes between names and none at its
// ends.
func (n *Node) Path() string {
	n.v.mu.Lock()
	defer n.v.unlock()
	in, err := n.inode()
	if err != nil {
		return ""
	}
	return in.at.path()
}

// Parent is the directory that n's name is in; the root's, and that of a file
// whose name is gone, is the root.
func (n *Node) Parent() *Node {
	v := n.v
	v.mu.Lock()
	defer v.unlock()
	if in, err := n.inode(); err == nil && in.linked() {
		if p := v.inodeOf(in.at.dir.at); p != nil {
			return v.node(p)
		}
	}
	return v.node(v.root.at.node)
}

// Ref keeps the file or directory alive when its name goes, until Unref.
func (n *Node) Ref() {
	n.v.mu.Lock()
	defer n.v.unlock()
	if in, err := n.inode(); err == nil {
		in.refs++
		n.refs++
		n.v.refs++
	}
}

// Unref undoes a Ref.
func (n *Node) Unref() {
	n.v.mu.Lock()
	defer n.v.unlock()
	if n.refs == 0 {
		return
	}
	n.refs--
	n.in.refs--
	n.v.refs--
	n.v.drop(n.in)
}

// nameMax is the longest name, in bytes.
const nameMax = 255

// checkName tells whether a name can stand in a directory.
func checkName(name string) error {
	switch {
	case len(name) > nameMax:
		return syscall.ENAMETOOLONG
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return syscall.EINVAL
	}
	return nil
}

// dirInode returns the inode of a directory that exists. v.mu is held.
func (n *Node) dirInode() (*inode, error) {
	in, err := n.inode()
	switch {
	case err != nil:
		return nil, err
	case in.kind != merge.KindDir:
		return nil, syscall.ENOTDIR
	case !in.linked():
		return nil, syscall.ENOENT
	}
	return in, nil
}

// dir returns the directory's place, nil if nothing was ever in it.
func (n *Node) dir() (*dir, error) {
	in, err := n.dirInode()
	if err != nil {
		return nil, err
	}
	return n.v.subdir(in.at)
}
