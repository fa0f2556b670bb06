package p9srv_test

import (
	"context"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"

	"bazil/p9srv"
)

// memTree is a tree in memory that costs next to nothing, to measure the
// server by, and that counts what the server holds of it.
type memTree struct {
	root  *memNode
	paths atomic.Uint64
	nodes atomic.Int64 // returned and not released
	files atomic.Int64 // opened and not closed
	limit int64        // of a file's size; 0: none
	mu    sync.RWMutex // guards the names
}

func newMemTree() *memTree {
	t := &memTree{}
	t.root = t.node(syscall.S_IFDIR | 0o755)
	t.root.parent = t.root
	return t
}

func (t *memTree) Attach(_ context.Context, _ p9srv.User, aname string) (p9srv.Node, error) {
	if aname != "" {
		return nil, syscall.ENOENT
	}
	return t.root.use(), nil
}

const memBlock = 1 << 20

type memNode struct {
	t      *memTree
	path   uint64
	mode   uint32
	target string

	// Guarded by t.mu.
	parent *memNode
	name   string
	kids   map[string]*memNode
	order  []p9srv.Dirent

	mu     sync.RWMutex // guards what follows
	attr   p9srv.SetAttr
	size   int64
	blocks [][]byte
	xattrs map[string][]byte
	flags  p9srv.QIDType
}

func (t *memTree) node(mode uint32) *memNode {
	n := &memNode{t: t, path: t.paths.Add(1), mode: mode}
	if n.dir() {
		n.kids = make(map[string]*memNode)
	}
	return n
}

func (n *memNode) use() *memNode {
	n.t.nodes.Add(1)
	return n
}

func (n *memNode) Release() { n.t.nodes.Add(-1) }

func (n *memNode) dir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

func (n *memNode) QID() p9srv.QID {
	q := p9srv.QID{Path: n.path, Version: 1}
	switch n.mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		q.Type = p9srv.QTDir
	case syscall.S_IFLNK:
		q.Type = p9srv.QTSymlink
	case syscall.S_IFREG:
		n.mu.RLock()
		q.Type = n.flags
		n.mu.RUnlock()
	}
	return q
}

func (n *memNode) Attr(context.Context) (p9srv.Attr, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	mode := n.mode
	if n.attr.Valid&p9srv.SetMode != 0 {
		mode = mode&syscall.S_IFMT | n.attr.Mode
	}
	return p9srv.Attr{Mode: mode, UID: n.attr.UID, GID: n.attr.GID, NLink: 1, Size: uint64(n.size), Blocks: uint64(n.size+511) / 512, MTime: n.attr.MTime}, nil
}

func (n *memNode) SetAttr(_ context.Context, a p9srv.SetAttr) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.Valid&p9srv.SetSize != 0 {
		if err := n.grow(int64(a.Size)); err != nil {
			return err
		}
		n.size = int64(a.Size)
	}
	valid := n.attr.Valid | a.Valid
	n.attr = a
	n.attr.Valid = valid
	return nil
}

func (n *memNode) Walk(_ context.Context, name string) (p9srv.Node, error) {
	n.t.mu.RLock()
	defer n.t.mu.RUnlock()
	if name == ".." {
		return n.parent.use(), nil
	}
	if k := n.kids[name]; k != nil {
		return k.use(), nil
	}
	return nil, syscall.ENOENT
}

func (n *memNode) Open(context.Context, uint32) (p9srv.File, error) { return n.open(), nil }

func (n *memNode) open() p9srv.File {
	n.t.files.Add(1)
	if n.dir() {
		return memDir{memFile{n}}
	}
	return memFile{n}
}

func (n *memNode) add(name string, mode uint32) (*memNode, error) {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	if n.kids[name] != nil {
		return n.kids[name], syscall.EEXIST
	}
	k := n.t.node(mode)
	k.parent, k.name = n, name
	n.kids[name], n.order = k, nil
	return k.use(), nil
}

func (n *memNode) made(k *memNode, err error) (p9srv.Node, error) {
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (n *memNode) Create(_ context.Context, name string, _, mode, _ uint32) (p9srv.Node, p9srv.File, error) {
	k, err := n.add(name, syscall.S_IFREG|mode)
	if err != nil {
		return nil, nil, err
	}
	return k, k.open(), nil
}

func (n *memNode) Mkdir(_ context.Context, name string, mode, gid uint32) (p9srv.Node, error) {
	return n.made(n.add(name, syscall.S_IFDIR|mode))
}

func (n *memNode) Symlink(_ context.Context, name, target string, gid uint32) (p9srv.Node, error) {
	k, err := n.add(name, syscall.S_IFLNK|0o777)
	if err == nil {
		k.target = target
	}
	return n.made(k, err)
}

func (n *memNode) Mknod(_ context.Context, name string, mode, major, minor, gid uint32) (p9srv.Node, error) {
	return n.made(n.add(name, mode))
}

func (n *memNode) Readlink(context.Context) (string, error) {
	if n.mode&syscall.S_IFMT != syscall.S_IFLNK {
		return "", syscall.EINVAL
	}
	return n.target, nil
}

func (n *memNode) Unlink(_ context.Context, name string, flags uint32) error {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	k := n.kids[name]
	switch {
	case k == nil:
		return syscall.ENOENT
	case k.dir() && flags&0x200 == 0:
		return syscall.EISDIR
	case !k.dir() && flags&0x200 != 0:
		return syscall.ENOTDIR
	case len(k.kids) > 0:
		return syscall.ENOTEMPTY
	}
	n.drop(name)
	return nil
}

// drop takes an entry out; t.mu is held.
func (n *memNode) drop(name string) {
	delete(n.kids, name)
	n.order = nil
}

func (n *memNode) Rename(_ context.Context, name string, to p9srv.Node, newName string) error {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	return n.move(name, to.(*memNode), newName)
}

// move renames an entry; t.mu is held.
func (n *memNode) move(name string, to *memNode, newName string) error {
	k, old := n.kids[name], to.kids[newName]
	switch {
	case k == nil || to.kids == nil:
		return syscall.ENOENT
	case old == k:
		return nil
	case old != nil && (len(old.kids) > 0 || old.dir() != k.dir()):
		return syscall.ENOTEMPTY
	}
	for up := to; ; up = up.parent {
		if up == k {
			return syscall.EINVAL
		}
		if up.parent == up {
			break
		}
	}
	n.drop(name)
	to.kids[newName], to.order = k, nil
	k.parent, k.name = to, newName
	return nil
}

func (n *memNode) Name() string {
	n.t.mu.RLock()
	defer n.t.mu.RUnlock()
	return n.name
}

func (n *memNode) Remove(context.Context) error {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	if n.parent.kids[n.name] != n {
		return syscall.ENOENT
	}
	if len(n.kids) > 0 {
		return syscall.ENOTEMPTY
	}
	n.parent.drop(n.name)
	return nil
}

func (n *memNode) Move(_ context.Context, to p9srv.Node, newName string) error {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	if n.parent.kids[n.name] != n {
		return syscall.ENOENT
	}
	if to == nil {
		to = n.parent
	}
	return n.parent.move(n.name, to.(*memNode), newName)
}

func (n *memNode) SetFlags(_ context.Context, bits p9srv.QIDType) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flags = bits
	return nil
}

func (n *memNode) GetXattr(_ context.Context, name string) ([]byte, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	v, ok := n.xattrs[name]
	if !ok {
		return nil, syscall.ENODATA
	}
	return v, nil
}

func (n *memNode) SetXattr(_ context.Context, name string, value []byte, flags uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.xattrs == nil {
		n.xattrs = make(map[string][]byte)
	}
	n.xattrs[name] = append([]byte{}, value...)
	return nil
}

func (n *memNode) ListXattr(context.Context) ([]string, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	var names []string
	for name := range n.xattrs {
		names = append(names, name)
	}
	return names, nil
}

func (n *memNode) RemoveXattr(_ context.Context, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.xattrs, name)
	return nil
}

func (n *memNode) Statfs(context.Context) (p9srv.Statfs, error) {
	return p9srv.Statfs{BSize: 4096, NameLen: 255}, nil
}

// grow makes blocks for size bytes; mu is held.
func (n *memNode) grow(size int64) error {
	if n.t.limit > 0 && size > n.t.limit {
		return syscall.ENOSPC
	}
	if len(n.blocks) == 0 && size > 0 {
		n.blocks = [][]byte{make([]byte, 4096)}
	}
	if size > 4096 && len(n.blocks[0]) < memBlock {
		n.blocks[0] = append(make([]byte, 0, memBlock), n.blocks[0]...)[:memBlock]
	}
	for int64(len(n.blocks))*memBlock < size {
		n.blocks = append(n.blocks, make([]byte, memBlock))
	}
	return nil
}

// memFile is an open memNode.
type memFile struct{ n *memNode }

func (f memFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	var few [4][]byte
	bufs, err := f.ReadBuffers(ctx, few[:0], off, len(p))
	n := 0
	for _, b := range bufs {
		n += copy(p[n:], b)
	}
	return n, err
}

func (f memFile) ReadBuffers(_ context.Context, dst [][]byte, off int64, n int) ([][]byte, error) {
	f.n.mu.RLock()
	defer f.n.mu.RUnlock()
	for left := min(int64(n), f.n.size-off); left > 0; {
		b := f.n.blocks[off/memBlock][off%memBlock:]
		b = b[:min(int64(len(b)), left)]
		dst = append(dst, b)
		off, left = off+int64(len(b)), left-int64(len(b))
	}
	return dst, nil
}

func (f memFile) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	n := len(p)
	if err := f.n.grow(off + int64(n)); err != nil {
		return 0, err
	}
	f.n.size = max(f.n.size, off+int64(n))
	for len(p) > 0 {
		m := copy(f.n.blocks[off/memBlock][off%memBlock:], p)
		off, p = off+int64(m), p[m:]
	}
	return n, nil
}

func (f memFile) Sync(context.Context, bool) error { return nil }

func (f memFile) Close() error {
	f.n.t.files.Add(-1)
	return nil
}

// memDir is an open directory.
type memDir struct{ memFile }

func (f memDir) ReadDir(_ context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	list := f.n.list()
	for _, d := range list[min(off, uint64(len(list))):] {
		if !yield(d) {
			break
		}
	}
	return nil
}

// list makes the directory's entries, in order.
func (n *memNode) list() []p9srv.Dirent {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	if n.order != nil || len(n.kids) == 0 {
		return n.order
	}
	for name, k := range n.kids {
		n.order = append(n.order, p9srv.Dirent{QID: k.QID(), Type: uint8(k.mode >> 12 & 15), Name: name})
	}
	sort.Slice(n.order, func(i, j int) bool { return n.order[i].Name < n.order[j].Name })
	for i := range n.order {
		n.order[i].Offset = uint64(i + 1)
	}
	return n.order
}
