package vol

import (
	"context"

	"bazil/store"
)

// loadPrefix finds where the unfinished chunk of l's stream begins and puts
// the bytes from there in front of the buffer, so that splitting can go on as
// if it had never stopped. Data that only another device has, or that cannot
// be read, is not worth waiting for: the stream then begins where it is. An
// error is ctx's. Only the one who may cut l's stream calls it.
func (c *content) loadPrefix(ctx context.Context, l *dirtyLayer) error {
	c.mu.RLock()
	s, frozen := l.stream, l == c.frozen
	c.mu.RUnlock()
	if s.start == unknownStart {
		s.start = c.chunkStart(ctx, l, s.off)
	}
	var buf []byte
	if n := s.off - s.start; n > 0 {
		buf = make([]byte, n, n+int64(len(s.buf)))
		if c.readLayer(ctx, l, buf, s.start) != nil {
			buf, s.start = nil, s.off
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l == c.live || frozen && l == c.frozen {
		c.prepend(l, buf, s.start)
	}
	return nil
}

// prepend gives l's stream the bytes from start on. What other parts of the
// layer had of them is theirs no longer.
func (c *content) prepend(l *dirtyLayer, buf []byte, start int64) {
	s := &l.stream
	c.fragments = 0
	if len(buf) == 0 {
		s.start = s.off
		return
	}
	freed, found := l.forgetBlocks(start, s.off)
	gone := l.cutPieces(start)
	if found || len(gone) > 0 {
		s.from = start
	}
	c.free(freed)
	c.drop(gone)
	s.prepend(buf, start)
}

// chunkStart is where the chunk begins that has the byte before end, as l and
// what is below it have it: end if that is a hole, or is not worth reading.
func (c *content) chunkStart(ctx context.Context, l *dirtyLayer, end int64) int64 {
	c.mu.RLock()
	start, known := c.layerStart(l, end)
	base := c.base
	c.mu.RUnlock()
	if known {
		return start
	}
	if s := base.chunkStart(ctx, start); base.local(ctx, s, start) {
		return s
	}
	return start
}

// layerStart is chunkStart as far as the layers know it; if not known, the
// start is that of the stored form for the same chunk, or one that ends where
// the layers' part of it begins. c.mu is held.
func (c *content) layerStart(l *dirtyLayer, end int64) (start int64, known bool) {
	switch last := end - 1; {
	case end == 0:
		return 0, true
	case l == c.frozen && l.hasBlock(last):
		return end, true
	case l.stream.off <= last && last < l.stream.end():
		if l.stream.start != unknownStart {
			return l.stream.start, true
		}
		return c.layerStart(l, l.stream.off)
	case cellAt(l.cells, last) != nil:
		return end, true
	case last >= l.limit:
		return end, true
	}
	if i := l.pieceAt(end - 1); i < len(l.pieces) && l.pieces[i].off < end {
		if p := l.pieces[i]; p.n >= smallMax {
			return p.off, true
		}
		return c.layerStart(l, l.pieces[i].off) // one that was not finished
	}
	if l != c.frozen && c.frozen != nil {
		return c.layerStart(c.frozen, end)
	}
	return end, false
}

// hasBlock tells whether a block has the byte at off.
func (l *dirtyLayer) hasBlock(off int64) bool {
	b := l.blocks[off/blockSize]
	at := int(off % blockSize)
	return b != nil && (b.sealed || b.overlaps(at, at+1))
}

// cellAt is the extent of xs that has the byte at off, or nil.
func cellAt(xs []extent, off int64) *extent {
	if i := findExtent(xs, off); i < len(xs) && xs[i].off <= off {
		return &xs[i]
	}
	return nil
}

// chunkStart is where the chunk begins that has the byte before end. A chunk
// shorter than any that ends at a boundary of its own was the end of the file
// once: then the one before it counts, which may have been that too.
func (s *stored) chunkStart(ctx context.Context, end int64) int64 {
	if s.direct() || s.form == formChunk {
		if end <= s.size {
			return 0
		}
		return end
	}
	start := end
	for start > 0 && end-start < store.MaxPlain {
		x, _, err := s.segment(ctx, start-1, 1)
		if err != nil || x == nil {
			break
		}
		was := start
		if start = s.extentStart(ctx, x); was-start >= smallMax {
			break
		}
	}
	return start
}

// extentStart is where x begins with the extents before it that are the same
// chunk.
func (s *stored) extentStart(ctx context.Context, x *extent) int64 {
	for x.at > 0 && x.off > 0 {
		y, _, err := s.segment(ctx, x.off-1, 1)
		if err != nil || y == nil || !x.follows(y) {
			break
		}
		x = y
	}
	return x.off
}
