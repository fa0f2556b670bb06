package vol

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"

	"bazil/store"
)

// extentNode is an opened extent chunk: the extents of a file, or of a part
// of one. It is immutable.
//
// The extents of a file form a tree over its offsets. Its shape follows from
// the extents alone, never from the order of the writes:
//
//	level 0      16 MiB of the file: one page
//	level k      256 parts of level k-1: 4 GiB, 1 TiB, 256 TiB, 64 PiB, all
//
// A part with at most leafMax extents is a leaf whatever its level; a part of
// level 0 is always one; any other has a child for each of its parts in which
// something is stored. The root has level 0 if it is a leaf, else the lowest
// level that covers all extents. Extents are cut at the ends of pages.
//
// An extent chunk is a store.ChunkExtents whose plaintext is
//
//	byte 0     version, 1
//	byte 1     0 for a leaf, else the level
//	uvarint    how many records follow, at least 1
//
// then for each extent of a leaf
//
//	uvarint    bytes from the end of the extent before (or the file's start)
//	uvarint    length in bytes, 1 to store.MaxPlain
//	uvarint    where it begins in the data chunk's plaintext
//	64 bytes   pointer of the data chunk
//
// and for each child of the others
//
//	byte       which of the 256 parts, ascending
//	uvarint    extents in it
//	uvarint    bytes in them
//	64 bytes   pointer of the extent chunk
//
// A chunk that does not have exactly this form, or not the counts that its
// parent states, is damaged.
type extentNode struct {
	level    int
	root     bool
	lo, hi   int64 // the part of the file it stands for
	extents  []extent
	children []extentChild
	count    int   // extents in it and below
	alloc    int64 // bytes in them
}

// extentChild leads to the node of one of a node's 256 parts.
type extentChild struct {
	index uint8
	extentRef
}

// extentRef leads to a node. The zero extentRef is a part with nothing in it.
type extentRef struct {
	count int
	alloc int64
	ptr   store.Pointer
}

const (
	extentPage    = 16 << 20 // what a node of level 0 stands for
	extentTop     = 5        // the level that covers any file
	leafMax       = 256
	extentVersion = 1
	extentMinSize = 3 + pointerSize // the shortest record
)

// levelSize is how much of a file a node of a level stands for.
func levelSize(level int) int64 {
	if level >= extentTop {
		return math.MaxInt64
	}
	return extentPage << (8 * level)
}

// levelFor is the lowest level that covers the first end bytes of a file.
func levelFor(end int64) int {
	level := 0
	for levelSize(level) < end {
		level++
	}
	return level
}

// partOf is the index of the child of a node of a level that off falls in.
func partOf(level int, off int64) int {
	return int(off>>(24+8*(level-1))) & 0xff
}

// partBounds is the range of the i-th child of a node at lo.
func partBounds(level int, lo int64, i int) (int64, int64) {
	size := levelSize(level - 1)
	clo := lo + int64(i)*size
	if clo > math.MaxInt64-size {
		return clo, math.MaxInt64
	}
	return clo, clo + size
}

func (n *extentNode) leaf() bool { return n.children == nil }

// child returns the child whose part off falls in, nil for a hole, and the
// bounds of that part.
func (n *extentNode) child(off int64) (c *extentChild, lo, hi int64) {
	i := partOf(n.level, off)
	lo, hi = partBounds(n.level, n.lo, i)
	k := sort.Search(len(n.children), func(k int) bool { return int(n.children[k].index) >= i })
	if k == len(n.children) || int(n.children[k].index) != i {
		return nil, lo, hi
	}
	return &n.children[k], lo, hi
}

// end is a bound of the file's size from below: where the last extent of a
// leaf ends, or where the last child of another begins.
func (n *extentNode) end() int64 {
	if n.leaf() {
		return n.extents[len(n.extents)-1].end()
	}
	lo, _ := partBounds(n.level, n.lo, int(n.children[len(n.children)-1].index))
	return lo
}

// memory is about what the node takes up, in bytes.
func (n *extentNode) memory() int64 {
	return 128 + 88*int64(len(n.extents)) + 96*int64(len(n.children))
}

// encodeExtentLeaf appends the plaintext of a leaf.
func encodeExtentLeaf(b []byte, xs []extent) []byte {
	b = append(b, extentVersion, 0)
	b = binary.AppendUvarint(b, uint64(len(xs)))
	pos := int64(0)
	for i := range xs {
		x := &xs[i]
		b = binary.AppendUvarint(b, uint64(x.off-pos))
		b = binary.AppendUvarint(b, uint64(x.n))
		b = binary.AppendUvarint(b, uint64(x.at))
		b = x.ptr.Append(b)
		pos = x.end()
	}
	return b
}

// encodeExtentInner appends the plaintext of a node with children.
func encodeExtentInner(b []byte, level int, cs []extentChild) []byte {
	b = append(b, extentVersion, byte(level))
	b = binary.AppendUvarint(b, uint64(len(cs)))
	for i := range cs {
		c := &cs[i]
		b = append(b, c.index)
		b = binary.AppendUvarint(b, uint64(c.count))
		b = binary.AppendUvarint(b, uint64(c.alloc))
		b = c.ptr.Append(b)
	}
	return b
}

// decodeExtentNode reads the plaintext of the node that stands for the part
// of a file at lo of a level. For a root, level is the Body's and lo 0.
func decodeExtentNode(plain []byte, level int, lo int64, root bool) (*extentNode, error) {
	if len(plain) < 3 {
		return nil, fmt.Errorf("%w: extent chunk of %d bytes", ErrBody, len(plain))
	}
	if plain[0] != extentVersion {
		return nil, unknownVersion("extent chunk", plain[0], extentVersion)
	}
	n := &extentNode{level: level, root: root, lo: lo}
	n.hi = lo + min(levelSize(level), math.MaxInt64-lo)
	count, rest, ok := cutUvarint(plain[2:])
	if !ok || count < 1 || count > int64(len(rest)/extentMinSize) {
		return nil, fmt.Errorf("%w: extent chunk of %d bytes with %d records", ErrBody, len(plain), count)
	}
	switch {
	case plain[1] == 0:
		ok = n.decodeLeaf(rest, int(count))
	case int(plain[1]) == level:
		ok = n.decodeInner(rest, int(count))
	default:
		ok = false
	}
	if !ok {
		return nil, fmt.Errorf("%w: extent chunk of level %d", ErrBody, plain[1])
	}
	return n, nil
}

func (n *extentNode) decodeLeaf(b []byte, count int) bool {
	if n.root {
		n.hi = math.MaxInt64
		if n.level != 0 {
			return false
		}
	}
	n.extents = make([]extent, count)
	pos := int64(0)
	for i := range n.extents {
		x := &n.extents[i]
		var ok bool
		if b, ok = x.decode(b, pos); !ok || x.off < n.lo || x.end() > n.hi {
			return false
		}
		pos = x.end()
		n.alloc += x.n
	}
	n.count = count
	many := count > leafMax
	return len(b) == 0 && !(many && n.level > 0) && !(many && n.root && pos > extentPage)
}

// decode reads one record of a leaf; pos is the end of the extent before.
func (x *extent) decode(b []byte, pos int64) ([]byte, bool) {
	gap, b, ok1 := cutUvarint(b)
	size, b, ok2 := cutUvarint(b)
	at, b, ok3 := cutUvarint(b)
	if !ok1 || !ok2 || !ok3 || len(b) < pointerSize || gap > fileMax-pos {
		return b, false
	}
	x.off, x.n, x.at, x.ptr = pos+gap, size, at, pointerAt(b)
	ok := x.n >= 1 && x.n <= store.MaxPlain && x.at <= store.MaxPlain-x.n && !x.hole() &&
		x.end() <= fileMax && x.off/extentPage == (x.end()-1)/extentPage
	return b[pointerSize:], ok
}

func (n *extentNode) decodeInner(b []byte, count int) bool {
	if n.level == 0 || count > 256 {
		return false
	}
	n.children = make([]extentChild, count)
	last := -1
	for i := range n.children {
		c := &n.children[i]
		var ok bool
		if b, ok = c.decode(b); !ok || int(c.index) <= last {
			return false
		}
		last = int(c.index)
		if c.alloc > fileMax-n.alloc {
			return false
		}
		n.count += c.count
		n.alloc += c.alloc
	}
	inFile := int64(last) <= (fileMax-1-n.lo)/levelSize(n.level-1)
	return len(b) == 0 && n.count > leafMax && inFile && !(n.root && last == 0)
}

// decode reads one record of an inner node.
func (c *extentChild) decode(b []byte) ([]byte, bool) {
	if len(b) == 0 {
		return b, false
	}
	c.index = b[0]
	count, b, ok1 := cutUvarint(b[1:])
	alloc, b, ok2 := cutUvarint(b)
	if !ok1 || !ok2 || len(b) < pointerSize {
		return b, false
	}
	c.count, c.alloc, c.ptr = int(count), alloc, pointerAt(b)
	ok := count >= 1 && count <= alloc && !c.ptr.IsZero()
	return b[pointerSize:], ok
}
