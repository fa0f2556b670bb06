package vol

import (
	"slices"
	"sort"
)

const (
	blockSize = 64 << 10 // what an in-place rewrite re-seals
	pageSize  = 4 << 10  // what it holds in memory
)

// dirtyBlock holds the bytes written in place to one aligned block of a file:
// memory for the pages that were touched, and which bytes of them count. Once
// sealed it has the extents that stand for the whole block instead.
type dirtyBlock struct {
	pages  [blockSize / pageSize]*[pageSize]byte
	count  int         // pages with memory
	ranges []byteRange // sorted, apart from each other; within the block
	cells  []extent    // of a sealed block
	sealed bool
	charge int64 // of the dirty budget
}

// byteRange is [lo, hi).
type byteRange struct{ lo, hi int }

// blockOverhead is what a dirtyBlock takes besides its pages.
const blockOverhead = 256

// blockCost bounds what writing n bytes in place takes, wherever they start.
func blockCost(n int) int64 {
	pages, blocks := n/pageSize+2, n/blockSize+2
	return int64(pages*(pageSize+64) + blocks*blockOverhead)
}

// write puts p at a place of the block and returns by how much its memory grew.
func (b *dirtyBlock) write(p []byte, at int) int64 {
	b.allocate(at, at+len(p))
	b.eachPage(at, at+len(p), func(q int, mem []byte) { copy(mem, p[q-at:]) })
	b.mark(at, at+len(p))
	before := b.charge
	b.charge = blockOverhead + int64(b.count)*pageSize + 16*int64(cap(b.ranges))
	return b.charge - before
}

// allocate gets memory for the pages of [lo, hi) that have none, in one piece
// where they lie together.
func (b *dirtyBlock) allocate(lo, hi int) {
	for i := lo / pageSize; i*pageSize < hi; {
		if b.pages[i] != nil {
			i++
			continue
		}
		j := i + 1
		for j*pageSize < hi && b.pages[j] == nil {
			j++
		}
		slab := make([]byte, (j-i)*pageSize)
		b.count += j - i
		for ; i < j; i++ {
			b.pages[i] = (*[pageSize]byte)(slab)
			slab = slab[pageSize:]
		}
	}
}

// eachPage calls fn with the memory of [lo, hi), page by page.
func (b *dirtyBlock) eachPage(lo, hi int, fn func(at int, mem []byte)) {
	for lo < hi {
		n := min(pageSize-lo%pageSize, hi-lo)
		fn(lo, b.pages[lo/pageSize][lo%pageSize:][:n])
		lo += n
	}
}

// mark adds [lo, hi) to the bytes that count.
func (b *dirtyBlock) mark(lo, hi int) {
	i := sort.Search(len(b.ranges), func(i int) bool { return b.ranges[i].hi >= lo })
	j := i
	for ; j < len(b.ranges) && b.ranges[j].lo <= hi; j++ {
		lo, hi = min(lo, b.ranges[j].lo), max(hi, b.ranges[j].hi)
	}
	b.ranges = slices.Replace(b.ranges, i, j, byteRange{lo, hi})
}

// overlaps tells whether any byte of [lo, hi) counts.
func (b *dirtyBlock) overlaps(lo, hi int) bool {
	i := sort.Search(len(b.ranges), func(i int) bool { return b.ranges[i].hi > lo })
	return i < len(b.ranges) && b.ranges[i].lo < hi
}

// covers tells whether all bytes of [lo, hi) count.
func (b *dirtyBlock) covers(lo, hi int) bool {
	i := sort.Search(len(b.ranges), func(i int) bool { return b.ranges[i].hi >= hi })
	return i < len(b.ranges) && b.ranges[i].lo <= lo
}

// unmark takes [lo, hi) out of the bytes that count.
func (b *dirtyBlock) unmark(lo, hi int) {
	i := sort.Search(len(b.ranges), func(i int) bool { return b.ranges[i].hi > lo })
	j := i
	var left []byteRange
	for ; j < len(b.ranges) && b.ranges[j].lo < hi; j++ {
		if r := b.ranges[j]; r.lo < lo {
			left = append(left, byteRange{r.lo, lo})
		}
		if r := b.ranges[j]; r.hi > hi {
			left = append(left, byteRange{hi, r.hi})
		}
	}
	b.ranges = slices.Replace(b.ranges, i, j, left...)
}
