package p9srv_test

import (
	"context"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"

	"bazil/p9srv"
)

// memTree is a tree that costs next to nothing, to measure the server by.
type memTree struct {
	root  *memNode
	paths atomic.Uint64
}

func newMemTree() *memTree {
	t := &memTree{}
	t.root = t.node(syscall.S_IFDIR | 0o755)
	return t
}

func (t *memTree) Attach(context.Context, p9srv.User, string) (p9srv.Node, error) { return t.root, nil }

const memBlock = 1 << 20

type memNode struct {
	t    *memTree
	path uint64
	mode uint32

	mu     sync.RWMutex
	kids   map[string]*memNode
	order  []p9srv.Dirent
	size   int64
	blocks [][]byte
}

func (t *memTree) node(mode uint32) *memNode {
	n := &memNode{t: t, path: t.paths.Add(1), mode: mode}
	if n.dir() {
		n.kids = make(map[string]*memNode)
	}
	return n
}

func (n *memNode) dir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

func (n *memNode) QID() p9srv.QID {
	q := p9srv.QID{Path: n.path, Version: 1}
	if n.dir() {
		q.Type = p9srv.QTDir
	}
	return q
}

func (n *memNode) Release() {}

func (n *memNode) Attr(context.Context) (p9srv.Attr, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return p9srv.Attr{Mode: n.mode, NLink: 1, Size: uint64(n.size), Blocks: uint64(n.size+511) / 512}, nil
}

func (n *memNode) Walk(_ context.Context, name string) (p9srv.Node, error) {
	if name == ".." {
		return n.t.root, nil
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if k := n.kids[name]; k != nil {
		return k, nil
	}
	return nil, syscall.ENOENT
}

func (n *memNode) Open(context.Context, uint32) (p9srv.File, error) { return memFile{n}, nil }

func (n *memNode) add(name string, mode uint32) *memNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.t.node(mode)
	n.kids[name], n.order = k, nil
	return k
}

func (n *memNode) Create(_ context.Context, name string, flags, mode, gid uint32) (p9srv.Node, p9srv.File, error) {
	k := n.add(name, syscall.S_IFREG|mode)
	return k, memFile{k}, nil
}

func (n *memNode) Mkdir(_ context.Context, name string, mode, gid uint32) (p9srv.Node, error) {
	return n.add(name, syscall.S_IFDIR|mode), nil
}

func (n *memNode) Symlink(context.Context, string, string, uint32) (p9srv.Node, error) {
	return nil, syscall.EPERM
}

func (n *memNode) Mknod(context.Context, string, uint32, uint32, uint32, uint32) (p9srv.Node, error) {
	return nil, syscall.EPERM
}

func (n *memNode) Unlink(_ context.Context, name string, _ uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kids[name] == nil {
		return syscall.ENOENT
	}
	delete(n.kids, name)
	n.order = nil
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
	f.n.size = max(f.n.size, off+int64(n))
	for len(p) > 0 {
		i := int(off / memBlock)
		for len(f.n.blocks) <= i {
			size := memBlock
			if f.n.size <= 4096 {
				size = 4096
			}
			f.n.blocks = append(f.n.blocks, make([]byte, size))
		}
		m := copy(f.n.blocks[i][off%memBlock:], p)
		off, p = off+int64(m), p[m:]
	}
	return n, nil
}

func (f memFile) ReadDir(_ context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	for _, d := range f.n.list()[off:] {
		if !yield(d) {
			break
		}
	}
	return nil
}

// list makes the directory's entries, in order.
func (n *memNode) list() []p9srv.Dirent {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.order != nil || len(n.kids) == 0 {
		return n.order
	}
	for name, k := range n.kids {
		n.order = append(n.order, p9srv.Dirent{QID: k.QID(), Type: uint8(k.mode >> 12), Name: name})
	}
	sort.Slice(n.order, func(i, j int) bool { return n.order[i].Name < n.order[j].Name })
	for i := range n.order {
		n.order[i].Offset = uint64(i + 1)
	}
	return n.order
}

func (f memFile) Sync(context.Context, bool) error { return nil }
func (f memFile) Close() error                     { return nil }
