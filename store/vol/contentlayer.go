package vol

import (
	"math"
	"slices"
	"sort"

	"bazil/store"
)

// dirtyLayer is what was written to a file since some moment, over the bytes
// it had then. Of its parts the first that has a byte counts:
//
//	blocks   rewritten in place; in a frozen layer also sealed blocks
//	stream   the unfinished end of what is written in sequence
//	cells    in a frozen layer: what was sealed from blocks by splitting anew
//	pieces   the finished chunks of the stream
//
// and below limit the bytes from before, then zeros.
type dirtyLayer struct {
	limit  int64
	blocks map[int64]*dirtyBlock // by offset / blockSize
	stream splitStream
	cells  []extent       // sorted
	pieces []*streamPiece // sorted, free of overlaps
	size   int64          // of the file, once the layer is frozen
}

func newDirtyLayer(streamAt int64) *dirtyLayer {
	return &dirtyLayer{
		limit:  math.MaxInt64,
		stream: splitStream{start: unknownStart, off: streamAt, from: streamAt},
	}
}

// writeBlocks puts p in place and returns how much memory that took.
func (l *dirtyLayer) writeBlocks(p []byte, off int64) (grown int64) {
	if l.blocks == nil {
		l.blocks = make(map[int64]*dirtyBlock)
	}
	for len(p) > 0 {
		i, at := off/blockSize, int(off%blockSize)
		b := l.blocks[i]
		if b == nil {
			b = new(dirtyBlock)
			l.blocks[i] = b
		}
		n := min(len(p), blockSize-at)
		grown += b.write(p[:n], at)
		p = p[n:]
		off += int64(n)
	}
	return grown
}

// absorbMax is how large a stream's buffer gets by what is absorbed: enough to
// be cut, after which more is.
const absorbMax = store.MaxPlain + blockSize

// absorb moves the bytes of blocks that follow the end of the stream to it, as
// many as it has room for: writes of one sequence may come in any order. It
// returns how much more memory is taken afterwards.
func (l *dirtyLayer) absorb() (grown int64) {
	for len(l.stream.buf) < absorbMax && len(l.blocks) > 0 {
		end := l.stream.end()
		i, at := end/blockSize, int(end%blockSize)
		b := l.blocks[i]
		if b == nil {
			return grown
		}
		k := sort.Search(len(b.ranges), func(k int) bool { return b.ranges[k].hi > at })
		if k == len(b.ranges) || b.ranges[k].lo > at {
			return grown
		}
		hi := b.ranges[k].hi
		b.eachPage(at, hi, func(_ int, mem []byte) { grown += l.stream.append(mem) })
		grown -= l.forget(i, at, hi)
	}
	return grown
}

// forget takes bytes out of a block and returns what memory that frees.
func (l *dirtyLayer) forget(i int64, lo, hi int) int64 {
	b := l.blocks[i]
	b.unmark(lo, hi)
	if len(b.ranges) > 0 {
		return 0
	}
	delete(l.blocks, i)
	return b.charge
}

// forgetBlocks takes [lo, hi) out of the blocks and returns what memory that
// frees, and whether there was anything.
func (l *dirtyLayer) forgetBlocks(lo, hi int64) (freed int64, found bool) {
	drop := func(i int64, b *dirtyBlock) {
		from := max(lo-i*blockSize, 0)
		to := min(hi-i*blockSize, blockSize)
		if from < to && b.overlaps(int(from), int(to)) {
			found = true
			freed += l.forget(i, int(from), int(to))
		}
	}
	if (hi-lo)/blockSize > int64(len(l.blocks)) {
		for i, b := range l.blocks {
			drop(i, b)
		}
		return freed, found
	}
	for i := lo / blockSize; i*blockSize < hi; i++ {
		if b := l.blocks[i]; b != nil {
			drop(i, b)
		}
	}
	return freed, found
}

// sortedBlocks are the indexes of the blocks, ascending.
func (l *dirtyLayer) sortedBlocks() []int64 {
	is := make([]int64, 0, len(l.blocks))
	for i := range l.blocks {
		is = append(is, i)
	}
	slices.Sort(is)
	return is
}

// pieceAt is the index of the first piece that ends after off.
func (l *dirtyLayer) pieceAt(off int64) int {
	return sort.Search(len(l.pieces), func(i int) bool { return l.pieces[i].end() > off })
}

// holds tells whether p is one of the pieces.
func (l *dirtyLayer) holds(p *streamPiece) bool {
	i := l.pieceAt(p.off)
	return i < len(l.pieces) && l.pieces[i] == p
}

// cutPieces takes what is at off and beyond out of the pieces and returns
// those that are gone as a whole.
func (l *dirtyLayer) cutPieces(off int64) (gone []*streamPiece) {
	i := l.pieceAt(off)
	if i < len(l.pieces) && l.pieces[i].off < off {
		l.pieces[i].n = off - l.pieces[i].off
		i++
	}
	gone = slices.Clone(l.pieces[i:])
	clear(l.pieces[i:])
	l.pieces = l.pieces[:i]
	return gone
}

// edits are the extents of a frozen layer that was sealed.
func (l *dirtyLayer) edits() []extent {
	var blocks []extent
	for _, i := range l.sortedBlocks() {
		blocks = append(blocks, l.blocks[i].cells...)
	}
	pieces := make([]extent, 0, len(l.pieces))
	for _, p := range l.pieces {
		pieces = append(pieces, p.extent())
	}
	return overlayExtents(pieces, overlayExtents(l.cells, blocks))
}

// chunkIDs calls fn for the chunks that were stored for the layer.
func (l *dirtyLayer) chunkIDs(fn func(store.ID)) {
	each := func(xs []extent) {
		for i := range xs {
			if !xs[i].hole() {
				fn(xs[i].ptr.ID)
			}
		}
	}
	for _, b := range l.blocks {
		each(b.cells)
	}
	each(l.cells)
	for _, p := range l.pieces {
		if p.state == pieceSealed && !p.ptr.IsZero() {
			fn(p.ptr.ID)
		}
	}
}
