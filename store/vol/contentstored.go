package vol

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"syscall"

	"bazil/store"
)

// stored gives the bytes that a Body stands for. It never changes and is safe
// for concurrent use; what it has opened of the extent tree is remembered.
type stored struct {
	bodyInfo
	env  *contentEnv
	root atomic.Pointer[extentNode]
	hint atomic.Pointer[extentNode] // the leaf used last
}

func newStored(env *contentEnv, b Body) (*stored, error) {
	info, err := b.parse()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", syscall.EIO, err)
	}
	if info.form == formPacked {
		plain, err := env.sealer.Unpack(nil, []byte(info.packed), int(info.size))
		if err != nil {
			return nil, fmt.Errorf("file body: %w: %w", syscall.EIO, err)
		}
		info.plain = plain
	}
	info.plain, info.inline = append(info.plain, info.inline...), ""
	return storedFrom(env, info), nil
}

// storedFrom is newStored where the bytes of a body that holds them are plain.
func storedFrom(env *contentEnv, info bodyInfo) *stored {
	s := &stored{bodyInfo: info, env: env}
	if info.form == formChunk {
		x := extent{n: info.size, ptr: info.ptr}
		s.root.Store(&extentNode{root: true, hi: math.MaxInt64, extents: []extent{x}, count: 1, alloc: x.n})
	}
	return s
}

// direct says whether the body holds the bytes themselves.
func (i *bodyInfo) direct() bool { return i.form == formInline || i.form == formPacked }

// inlineInfo is the info of a body that holds plain itself, which is not to
// be changed any more.
func (e *contentEnv) inlineInfo(plain []byte) bodyInfo {
	info := bodyInfo{form: formInline, size: int64(len(plain)), allocated: int64(len(plain)), plain: plain}
	if packed := e.sealer.Pack(nil, plain); packs(len(plain), len(packed)) {
		info.form, info.packed = formPacked, string(packed)
	}
	return info
}

// readAt fills p with the bytes at off, zeros past the end.
func (s *stored) readAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		data, n, err := s.piece(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if data == nil {
			clear(p[:n])
		} else {
			copy(p, data)
		}
		p = p[n:]
		off += n
	}
	return nil
}

// buffers appends to dst slices that hold n bytes at off, zeros past the end.
// They must not be changed.
func (s *stored) buffers(ctx context.Context, dst [][]byte, off, n int64) ([][]byte, error) {
	for n > 0 {
		data, k, err := s.piece(ctx, off, n)
		if err != nil {
			return dst, err
		}
		if data == nil {
			k = min(k, int64(len(s.env.zeros)))
			data = s.env.zeros[:k]
		}
		dst = append(dst, data)
		off += k
		n -= k
	}
	return dst, nil
}

// piece returns bytes at off, as many as lie together but at most limit: a
// slice of n bytes that is never changed, or nil for n zeros.
func (s *stored) piece(ctx context.Context, off, limit int64) (data []byte, n int64, err error) {
	if off >= s.size {
		return nil, limit, nil
	}
	limit = min(limit, s.size-off)
	if s.direct() {
		return s.plain[off : off+limit], limit, nil
	}
	x, n, err := s.segment(ctx, off, limit)
	if err != nil || x == nil {
		return nil, n, err
	}
	data, err = s.env.extentBytes(ctx, x, off, n)
	return data, n, err
}

// segment returns the extent that holds the byte at off, nil for a hole, and
// how many bytes from off on are in it, at most limit.
func (s *stored) segment(ctx context.Context, off, limit int64) (*extent, int64, error) {
	if s.form == formHole || s.direct() || off >= s.size {
		return nil, limit, nil
	}
	leaf, hi, err := s.leaf(ctx, off)
	if err != nil || leaf == nil {
		return nil, min(limit, hi-off), err
	}
	i := findExtent(leaf.extents, off)
	if i == len(leaf.extents) {
		return nil, min(limit, leaf.hi-off), nil
	}
	x := &leaf.extents[i]
	if x.off > off {
		return nil, min(limit, x.off-off), nil
	}
	return x, min(limit, x.end()-off), nil
}

// leaf returns the leaf for off; nil says that nothing is stored from off to hi.
func (s *stored) leaf(ctx context.Context, off int64) (leaf *extentNode, hi int64, err error) {
	if h := s.hint.Load(); h != nil && h.lo <= off && off < h.hi {
		return h, h.hi, nil
	}
	n, err := s.rootNode(ctx)
	for err == nil && !n.leaf() {
		c, lo, hi := n.child(off)
		if c == nil {
			return nil, hi, nil
		}
		n, err = s.node(ctx, c.extentRef, n.level-1, lo)
	}
	if err != nil {
		return nil, 0, err
	}
	s.hint.Store(n)
	return n, n.hi, nil
}

// rootNode must not be called for a body without chunks.
func (s *stored) rootNode(ctx context.Context) (*extentNode, error) {
	if n := s.root.Load(); n != nil {
		return n, nil
	}
	n, err := s.env.extentNode(ctx, s.ptr, s.level, 0, true)
	if err != nil {
		return nil, err
	}
	if n.alloc != s.allocated || n.end() > s.size {
		return nil, damagedNode(s.ptr.ID)
	}
	s.root.Store(n)
	return n, nil
}

// node opens the node below the root that r leads to.
func (s *stored) node(ctx context.Context, r extentRef, level int, lo int64) (*extentNode, error) {
	n, err := s.env.extentNode(ctx, r.ptr, level, lo, false)
	if err != nil {
		return nil, err
	}
	if n.alloc != r.alloc || n.count != r.count || n.end() > s.size {
		return nil, damagedNode(r.ptr.ID)
	}
	return n, nil
}

func damagedNode(id store.ID) error {
	return fmt.Errorf("extent chunk %v does not fit its file: %w: %w", id, syscall.EIO, ErrBody)
}

// ioError is err as the users of a file get it: EIO unless it says more, and
// for damage whatever kept a good copy from coming.
func ioError(doing string, id store.ID, err error) error {
	var errno syscall.Errno
	switch canceled := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded); {
	case errors.Is(err, store.ErrDamaged) && !canceled:
		return fmt.Errorf("%s %v: %w: %w: %v", doing, id, syscall.EIO, store.ErrDamaged, err)
	case canceled || errors.As(err, &errno):
		return fmt.Errorf("%s %v: %w", doing, id, err)
	}
	return fmt.Errorf("%s %v: %w: %w", doing, id, syscall.EIO, err)
}
