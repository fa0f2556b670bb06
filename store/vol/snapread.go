package vol

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sort"
	"sync"
	"syscall"

	"bazil/merge"
	"bazil/store"
)

// snapReader opens the chunks of one snapshot.
type snapReader struct {
	env *contentEnv
	id  store.ID // of the snapshot chunk

	mu     sync.Mutex // guards what follows: tree chunks decoded lately
	recent [snapRecent]decodedNode
	next   int // the one to be replaced
}

// snapRecent is how many decoded tree chunks a reader keeps: those of a path
// and of a directory's neighbouring names, each up to a few times snapChunkMax.
const snapRecent = 8

type decodedNode struct {
	id store.ID
	n  *snapNode // never changed
}

// SnapNode is a file or directory in a snapshot. It never changes, is safe for
// concurrent use, and need not be given back.
type SnapNode struct {
	t    *snapReader
	path string
	x    snapEntry
	kind merge.Kind
}

func (t *snapReader) node(ctx context.Context, p store.Pointer) (*snapNode, error) {
	if n := t.decoded(p.ID); n != nil {
		return n, nil
	}
	n, err := t.decode(ctx, p)
	if err == nil {
		t.keep(decodedNode{p.ID, n})
	}
	return n, err
}

func (t *snapReader) decoded(id store.ID) *snapNode {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.recent {
		if d.id == id {
			return d.n
		}
	}
	return nil
}

func (t *snapReader) keep(d decodedNode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent[t.next] = d
	t.next = (t.next + 1) % snapRecent
}

func (t *snapReader) decode(ctx context.Context, p store.Pointer) (*snapNode, error) {
	plain, err := t.env.reader.Read(ctx, p, store.ChunkTree)
	if err != nil {
		return nil, ioError("read tree chunk", p.ID, err)
	}
	n, err := decodeSnapNode(plain)
	if err != nil {
		return nil, fmt.Errorf("tree chunk %v: %w: %w", p.ID, syscall.EIO, err)
	}
	return n, nil
}

// Kind says what it is.
func (n *SnapNode) Kind() merge.Kind { return n.kind }

// Ino is a number that stands for this file in this snapshot.
func (n *SnapNode) Ino() uint64 { return snapIno(n.t.id, n.path) }

// Ino is that of the snapshot's root directory.
func (s *SnapshotInfo) Ino() uint64 { return snapIno(s.Pointer.ID, "") }

func snapIno(snapshot store.ID, path string) uint64 {
	h := sha256.New()
	h.Write(snapshot[:])
	h.Write([]byte(path))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Name is the name in the parent directory, that of the root is empty.
func (n *SnapNode) Name() string {
	if n.path == "" {
		return ""
	}
	return n.x.name
}

// Attr returns the attributes as they were when the snapshot was made.
func (n *SnapNode) Attr() Attr {
	x := &n.x
	a := Attr{
		Ino: n.Ino(), Kind: n.kind, Mode: x.mode, UID: x.uid, GID: x.gid, NLink: 1, Rdev: x.rdev, Block: x.block,
		ATime: x.mtime, MTime: x.mtime, CTime: x.ctime, BTime: x.btime, Version: 1,
	}
	switch n.kind {
	case merge.KindDir:
		a.NLink = 2
	case merge.KindFile:
		a.Size = Body(x.content).Size()
		a.Blocks = (Body(x.content).Allocated() + 511) / 512
	case merge.KindSymlink:
		a.Size = int64(len(x.content))
	}
	return a
}

// Readlink returns the target of a symlink: EINVAL on anything else.
func (n *SnapNode) Readlink() (string, error) {
	if n.kind != merge.KindSymlink {
		return "", syscall.EINVAL
	}
	return n.x.content, nil
}

// Xattrs are the extended attributes, not to be changed.
func (n *SnapNode) Xattrs() map[string][]byte { return n.x.xattrs }

func (n *SnapNode) child(x snapEntry) *SnapNode {
	return &SnapNode{t: n.t, path: n.path + "/" + x.name, x: x, kind: x.kind}
}

// Lookup returns a name of a directory: ENOENT, ENOTDIR.
func (n *SnapNode) Lookup(ctx context.Context, name string) (*SnapNode, error) {
	if n.kind != merge.KindDir {
		return nil, syscall.ENOTDIR
	}
	for p := n.x.tree; !p.IsZero(); {
		node, err := n.t.node(ctx, p)
		if err != nil {
			return nil, err
		}
		if node.level == 0 {
			i := sort.Search(len(node.entries), func(i int) bool { return node.entries[i].name >= name })
			if i < len(node.entries) && node.entries[i].name == name {
				return n.child(node.entries[i]), nil
			}
			break
		}
		i := sort.Search(len(node.children), func(i int) bool { return node.children[i].first > name })
		if i == 0 {
			break
		}
		p = node.children[i-1].ptr
	}
	return nil, syscall.ENOENT
}

// List returns all names of a directory, sorted by their bytes.
func (n *SnapNode) List(ctx context.Context) ([]DirEntry, error) {
	if n.kind != merge.KindDir {
		return nil, syscall.ENOTDIR
	}
	var out []DirEntry
	err := n.t.each(ctx, n.x.tree, snapLevels, func(x *snapEntry) error {
		c := n.child(*x)
		out = append(out, DirEntry{Name: x.name, Ino: c.Ino(), Kind: x.kind, Block: x.block, Version: 1})
		return nil
	})
	return out, err
}

// each calls fn for all entries of a directory, whose topmost chunk is of
// level at most.
func (t *snapReader) each(ctx context.Context, p store.Pointer, level int, fn func(*snapEntry) error) error {
	if p.IsZero() {
		return nil
	}
	node, err := t.node(ctx, p)
	if err != nil {
		return err
	}
	if node.level > level {
		return fmt.Errorf("tree chunk %v: %w: %w", p.ID, syscall.EIO, errMalformed)
	}
	for i := range node.entries {
		if err := fn(&node.entries[i]); err != nil {
			return err
		}
	}
	for _, c := range node.children {
		if err := t.each(ctx, c.ptr, node.level-1, fn); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a regular file for reading; nothing need be closed. EISDIR,
// EINVAL (not a regular file).
func (n *SnapNode) Open(ctx context.Context) (*SnapFile, error) {
	switch n.kind {
	case merge.KindFile:
		return &SnapFile{newContent(n.t.env, Body(n.x.content))}, nil
	case merge.KindDir:
		return nil, syscall.EISDIR
	}
	return nil, syscall.EINVAL
}

// SnapFile reads a file of a snapshot.
type SnapFile struct{ c *content }

// ReadAt fills p with the bytes at off; n < len(p) without an error is the end
// of the file.
func (f *SnapFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return f.c.ReadAt(ctx, p, off)
}

// ReadBuffers appends to dst slices that hold up to n bytes at off; they are
// lent.
func (f *SnapFile) ReadBuffers(ctx context.Context, dst [][]byte, off int64, n int) ([][]byte, error) {
	return f.c.ReadBuffers(ctx, dst, off, n)
}
