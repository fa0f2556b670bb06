package vol

import (
	"context"
	"fmt"
	"math"
	"sort"
	"syscall"

	"bazil/store"
)

// extentWriter makes a new tree of extents from the one of base: without what
// is at limit and beyond, and with edits laid on it. It opens and stores only
// the nodes on the way to a change, one path at a time.
type extentWriter struct {
	ctx   context.Context
	base  *stored
	limit int64
	plain []byte // scratch
	buf   []byte // scratch
}

// rewriteExtents returns the info of a body of formHole or formExtents, and
// the root of its tree. edits are sorted and free of overlaps; holes among
// them empty what they cover.
func rewriteExtents(ctx context.Context, base *stored, limit int64, edits []extent, size int64) (bodyInfo, *extentNode, error) {
	w := &extentWriter{ctx: ctx, base: base, limit: limit}
	t, level, err := w.root()
	if err != nil {
		return bodyInfo{}, nil, err
	}
	edits = splitExtents(edits)
	if n := len(edits); n > 0 {
		level = max(level, levelFor(edits[n-1].end()))
	}
	if t, err = w.rewrite(t, level, 0, edits); err != nil {
		return bodyInfo{}, nil, err
	}
	return w.finish(t, size)
}

// extentTree is a part of a tree while it is being made: nothing (count 0),
// or a node, which may be known only by its pointer, or have no pointer yet.
type extentTree struct {
	extentRef
	node *extentNode
}

// root is the tree of base and the level that covers it.
func (w *extentWriter) root() (extentTree, int, error) {
	if w.base.form != formChunk && w.base.form != formExtents {
		return extentTree{}, 0, nil
	}
	n, err := w.base.rootNode(w.ctx)
	if err != nil {
		return extentTree{}, 0, err
	}
	t := extentTree{node: n, extentRef: extentRef{count: n.count, alloc: n.alloc}}
	if w.base.form == formExtents {
		t.ptr = w.base.ptr
	}
	if n.leaf() {
		return t, levelFor(n.end()), nil
	}
	return t, n.level, nil
}

// finish is the body whose tree is t.
func (w *extentWriter) finish(t extentTree, size int64) (bodyInfo, *extentNode, error) {
	if t.count == 0 {
		return bodyInfo{form: formHole, size: size}, nil, nil
	}
	n := t.node
	for !n.leaf() && len(n.children) == 1 && n.children[0].index == 0 {
		var err error
		t.extentRef = n.children[0].extentRef
		if n, err = w.open(t.extentRef, n.level-1, 0); err != nil {
			return bodyInfo{}, nil, err
		}
	}
	root := *n
	root.root = true
	if root.leaf() {
		root.level, root.hi = 0, math.MaxInt64
	}
	info := bodyInfo{form: formExtents, size: size, allocated: t.alloc, level: root.level, ptr: t.ptr}
	return info, &root, nil
}

// rewrite is the part of a level at lo with the edits, which fall in it.
func (w *extentWriter) rewrite(t extentTree, level int, lo int64, edits []extent) (extentTree, error) {
	if t.count == 0 || lo >= w.limit {
		return w.build(storedExtents(edits), level, lo)
	}
	part := levelSize(level)
	inside := part <= w.limit && lo <= w.limit-part
	if len(edits) == 0 && inside && !t.ptr.IsZero() && !w.mustGrow(t, level, lo) {
		return t, nil
	}
	n, err := w.nodeOf(t, level, lo)
	if err != nil {
		return t, err
	}
	if n.leaf() {
		xs := overlayExtents(limitExtents(n.extents, w.limit), edits)
		return w.build(storedExtents(xs), level, lo)
	}
	children := n.children
	if n.level < level { // a root that has to grow
		children = []extentChild{{index: 0, extentRef: t.extentRef}}
	}
	return w.rewriteChildren(children, level, lo, edits)
}

// mustGrow tells whether t is the old root, which has a level below the one
// that is now asked for.
func (w *extentWriter) mustGrow(t extentTree, level int, lo int64) bool {
	return lo == 0 && w.base.form == formExtents && t.ptr == w.base.ptr && level > w.base.level
}

// nodeOf is the node of t. That of the old root has its own level, which may
// be below the level asked for.
func (w *extentWriter) nodeOf(t extentTree, level int, lo int64) (*extentNode, error) {
	switch {
	case t.node != nil:
		return t.node, nil
	case w.mustGrow(t, level, lo):
		return w.base.rootNode(w.ctx)
	}
	return w.open(t.extentRef, level, lo)
}

func (w *extentWriter) rewriteChildren(old []extentChild, level int, lo int64, edits []extent) (extentTree, error) {
	var children []extentChild
	for len(old) > 0 || len(edits) > 0 {
		i := 256
		if len(old) > 0 {
			i = int(old[0].index)
		}
		if len(edits) > 0 {
			i = min(i, partOf(level, edits[0].off))
		}
		var t extentTree
		if len(old) > 0 && int(old[0].index) == i {
			t.extentRef = old[0].extentRef
			old = old[1:]
		}
		clo, chi := partBounds(level, lo, i)
		k := sort.Search(len(edits), func(k int) bool { return edits[k].off >= chi })
		t, err := w.rewrite(t, level-1, clo, edits[:k])
		if err != nil {
			return t, err
		}
		edits = edits[k:]
		if t.count > 0 {
			children = append(children, extentChild{index: uint8(i), extentRef: t.extentRef})
		}
	}
	return w.join(children, level, lo)
}

// build stores the extents of a part.
func (w *extentWriter) build(xs []extent, level int, lo int64) (extentTree, error) {
	if len(xs) == 0 {
		return extentTree{}, nil
	}
	if len(xs) <= leafMax || level == 0 {
		return w.storeLeaf(xs, level, lo)
	}
	return w.rewriteChildren(nil, level, lo, xs)
}

// join stores the node with these children, or the leaf that has what little
// they have.
func (w *extentWriter) join(children []extentChild, level int, lo int64) (extentTree, error) {
	n := &extentNode{level: level, lo: lo, hi: lo + min(levelSize(level), math.MaxInt64-lo), children: children}
	for _, c := range children {
		n.count += c.count
		n.alloc += c.alloc
	}
	if n.count <= leafMax {
		return w.collapse(n)
	}
	w.plain = encodeExtentInner(w.plain[:0], level, children)
	return w.store(n)
}

func (w *extentWriter) collapse(n *extentNode) (extentTree, error) {
	var xs []extent
	for _, c := range n.children {
		clo, _ := partBounds(n.level, n.lo, int(c.index))
		leaf, err := w.open(c.extentRef, n.level-1, clo)
		if err != nil {
			return extentTree{}, err
		}
		xs = append(xs, leaf.extents...)
	}
	return w.build(xs, n.level, n.lo)
}

func (w *extentWriter) storeLeaf(xs []extent, level int, lo int64) (extentTree, error) {
	n := &extentNode{level: level, lo: lo, hi: lo + min(levelSize(level), math.MaxInt64-lo), extents: xs, count: len(xs)}
	for i := range xs {
		n.alloc += xs[i].n
	}
	w.plain = encodeExtentLeaf(w.plain[:0], xs)
	if len(w.plain) > store.MaxPlain {
		return extentTree{}, fmt.Errorf("%d extents within %d bytes of a file: %w", len(xs), int64(extentPage), syscall.EFBIG)
	}
	return w.store(n)
}

func (w *extentWriter) store(n *extentNode) (extentTree, error) {
	p, buf, err := w.base.env.seal(w.ctx, store.ChunkExtents, plaintext{w.plain, true}, w.buf)
	w.buf = buf
	if err != nil {
		return extentTree{}, err
	}
	w.base.env.nodes.add(p, n)
	return extentTree{extentRef: extentRef{count: n.count, alloc: n.alloc, ptr: p}, node: n}, nil
}

// open opens a stored node of the old tree or the new.
func (w *extentWriter) open(r extentRef, level int, lo int64) (*extentNode, error) {
	n, err := w.base.env.extentNode(w.ctx, r.ptr, level, lo, false)
	if err == nil && (n.count != r.count || n.alloc != r.alloc) {
		err = damagedNode(r.ptr.ID)
	}
	return n, err
}
