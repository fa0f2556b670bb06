package vol

import (
	"fmt"

	"bazil/store"
)

// extent says that n bytes of a file from off on are the bytes of a data
// chunk from at on. With a zero pointer it is a hole: n zeros that hide
// whatever lies below them. Stored extents are never holes, are 1 to
// store.MaxPlain bytes long, and lie within one page of extentPage bytes.
type extent struct {
	off int64
	n   int64
	at  int64
	ptr store.Pointer
}

// String does not print the key.
func (x extent) String() string {
	return fmt.Sprintf("%d bytes at %d from %d of %v", x.n, x.off, x.at, x.ptr.ID)
}

func (x *extent) end() int64 { return x.off + x.n }

func (x *extent) hole() bool { return x.ptr.IsZero() }

// clip is the part of x in [lo, hi), which must overlap it.
func (x extent) clip(lo, hi int64) extent {
	if end := x.end(); hi < end {
		x.n -= end - hi
	}
	if d := lo - x.off; d > 0 {
		x.off += d
		x.at += d
		x.n -= d
	}
	return x
}

// follows tells whether x goes on in the chunk and the file where y stops.
func (x *extent) follows(y *extent) bool {
	return x.off == y.end() && x.ptr == y.ptr && x.at == y.at+y.n
}

// findExtent is the index of the first extent of xs that ends after off.
func findExtent(xs []extent, off int64) int {
	i, j := 0, len(xs)
	for i < j {
		m := int(uint(i+j) >> 1)
		if xs[m].off+xs[m].n > off {
			j = m
		} else {
			i = m + 1
		}
	}
	return i
}

// overlayExtents lays over on under, both sorted and free of overlaps: the
// result, sorted, has over's extents and what they leave visible of under's.
func overlayExtents(under, over []extent) []extent {
	if len(over) == 0 {
		return under
	}
	out := make([]extent, 0, len(under)+2*len(over))
	i, pos := 0, int64(0) // what under has before pos is hidden or done
	for _, o := range over {
		i = appendBetween(&out, under, i, pos, o.off)
		out = append(out, o)
		pos = o.end()
	}
	appendBetween(&out, under, i, pos, fileMax)
	return out
}

// appendBetween appends to out what xs[i:] has in [lo, hi) and returns the
// index of the first extent that ends after hi.
func appendBetween(out *[]extent, xs []extent, i int, lo, hi int64) int {
	for ; i < len(xs) && xs[i].off < hi; i++ {
		if xs[i].end() > lo && hi > lo {
			*out = append(*out, xs[i].clip(lo, hi))
		}
		if xs[i].end() > hi {
			break
		}
	}
	return i
}

// limitExtents is what xs, sorted, has before limit.
func limitExtents(xs []extent, limit int64) []extent {
	i := findExtent(xs, limit)
	if i == len(xs) || xs[i].off >= limit {
		return xs[:i]
	}
	out := append([]extent(nil), xs[:i]...)
	return append(out, xs[i].clip(xs[i].off, limit))
}

// splitExtents cuts the extents that cross a page.
func splitExtents(xs []extent) []extent {
	out := make([]extent, 0, len(xs)+len(xs)/32+1)
	for _, x := range xs {
		for {
			next := (x.off | (extentPage - 1)) + 1
			if x.end() <= next {
				break
			}
			out = append(out, x.clip(x.off, next))
			x = x.clip(next, x.end())
		}
		out = append(out, x)
	}
	return out
}

// storedExtents is xs as it is stored: without holes, and with parts of one
// chunk that follow each other in a page as one extent.
func storedExtents(xs []extent) []extent {
	out := make([]extent, 0, len(xs))
	for i := range xs {
		x := &xs[i]
		if x.hole() || x.n == 0 {
			continue
		}
		if k := len(out) - 1; k >= 0 && x.follows(&out[k]) && x.off&(extentPage-1) != 0 {
			out[k].n += x.n
			continue
		}
		out = append(out, *x)
	}
	return out
}
