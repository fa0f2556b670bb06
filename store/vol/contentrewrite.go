package vol

import (
	"context"
	"runtime"

	"bazil/store"
)

// What was rewritten in place is sealed in aligned blocks. A run of at least
// resplitMin bytes is split by content instead, from the start of the chunk
// that it begins in to the first boundary behind it where a chunk began
// before, or resplitPast bytes behind it.
const (
	resplitMin   = store.MaxPlain
	resplitPast  = 4 << 20
	resplitBatch = 8 << 20 // what is sealed before its blocks are freed
	rangesMax    = 64      // of a block sealed in parts
)

// fileRun is a range of a file.
type fileRun struct{ lo, hi int64 }

// sealBlocks stores what the blocks of f have.
func (c *content) sealBlocks(ctx context.Context, f *dirtyLayer, base *stored) error {
	c.mu.RLock()
	runs := f.longRuns()
	c.mu.RUnlock()
	for _, r := range runs {
		if err := c.resplit(ctx, f, base, r); err != nil {
			return err
		}
	}
	g := newSealGroup(c.env.pool, min(len(f.blocks), 2*runtime.GOMAXPROCS(0)))
	err := c.sealEachBlock(ctx, f, base, g)
	if werr := g.wait(); err == nil {
		err = werr
	}
	return err
}

// longRuns are the runs of bytes in blocks that are worth splitting anew.
func (l *dirtyLayer) longRuns() (long []fileRun) {
	var run fileRun
	add := func() {
		if run.hi-run.lo >= resplitMin {
			long = append(long, run)
		}
	}
	for _, i := range l.sortedBlocks() {
		for _, r := range l.blocks[i].ranges {
			lo, hi := i*blockSize+int64(r.lo), i*blockSize+int64(r.hi)
			if lo != run.hi {
				add()
				run.lo = lo
			}
			run.hi = hi
		}
	}
	add()
	return long
}

func (c *content) sealEachBlock(ctx context.Context, f *dirtyLayer, base *stored, g *sealGroup) error {
	for _, i := range f.sortedBlocks() {
		b := f.blocks[i]
		if b.sealed {
			continue
		}
		lo, hi := f.blockBounds(i)
		var err error
		switch here := b.covers(int(lo-i*blockSize), int(hi-i*blockSize)) || base.local(ctx, lo, min(hi, f.limit)); {
		case here:
			err = c.sealBlock(ctx, f, b, lo, hi, g)
		case len(b.ranges) <= rangesMax:
			err = c.sealRanges(ctx, b, i*blockSize, g)
		default: // others are asked before the pool is kept busy with it
			if err = base.readAt(ctx, make([]byte, hi-lo), lo); err == nil {
				err = c.sealBlock(ctx, f, b, lo, hi, g)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sealBlock seals [lo, hi), the bytes of a block and those between them.
func (c *content) sealBlock(ctx context.Context, f *dirtyLayer, b *dirtyBlock, lo, hi int64, g *sealGroup) error {
	return g.run(ctx, func(ctx context.Context, buf []byte) (_ []byte, err error) {
		mem := c.env.blocks.Get().(*[blockSize]byte)
		defer c.env.blocks.Put(mem)
		plain := mem[:hi-lo]
		if err := c.readLayer(ctx, f, plain, lo); err != nil {
			return buf, err
		}
		x := extent{off: lo, n: hi - lo}
		if x.ptr, buf, err = c.env.sealData(ctx, plaintext{plain, true}, buf); err != nil {
			return buf, err
		}
		c.blockSealed(b, []extent{x})
		return buf, nil
	})
}

// blockBounds is what block i has to be sealed for: all of it that is in the
// file and in none of f's cells.
func (l *dirtyLayer) blockBounds(i int64) (lo, hi int64) {
	lo, hi = i*blockSize, min((i+1)*blockSize, l.size)
	for x := cellAt(l.cells, lo); x != nil; x = cellAt(l.cells, lo) {
		lo = x.end()
	}
	if k := findExtent(l.cells, lo); k < len(l.cells) {
		hi = min(hi, l.cells[k].off)
	}
	return lo, hi
}

// sealRanges seals the dirty bytes of a block and nothing else: what is between
// them only another device has, and it is not needed.
func (c *content) sealRanges(ctx context.Context, b *dirtyBlock, at int64, g *sealGroup) error {
	return g.run(ctx, func(ctx context.Context, buf []byte) (_ []byte, err error) {
		var cells []extent
		for _, r := range b.ranges {
			plain := make([]byte, 0, r.hi-r.lo)
			b.eachPage(r.lo, r.hi, func(_ int, mem []byte) { plain = append(plain, mem...) })
			x := extent{off: at + int64(r.lo), n: int64(len(plain))}
			if x.ptr, buf, err = c.env.sealData(ctx, plaintext{bytes: plain}, buf); err != nil {
				return buf, err
			}
			cells = append(cells, x)
		}
		c.blockSealed(b, cells)
		return buf, nil
	})
}

// blockSealed gives a block its extents for its memory.
func (c *content) blockSealed(b *dirtyBlock, cells []extent) {
	c.mu.Lock()
	freed := b.charge
	*b = dirtyBlock{cells: cells, sealed: true}
	c.mu.Unlock()
	c.free(freed)
}

// resplit stores a run of f's blocks, split by content.
func (c *content) resplit(ctx context.Context, f *dirtyLayer, base *stored, r fileRun) error {
	done := int64(0)
	if k := len(f.cells); k > 0 {
		done = f.cells[k-1].end()
	}
	if r.hi <= done {
		return nil
	}
	w := &resplitter{c: c, f: f, base: base, run: r, end: r.hi}
	if past := min(r.hi+resplitPast, f.size); base.local(ctx, r.hi, min(past, f.limit)) {
		w.end = past
	}
	w.from = max(done, c.chunkStart(ctx, f, r.lo))
	w.off, w.buf.off = w.from, w.from
	for !w.finished(ctx) {
		if err := w.batch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// resplitter reads a part of a frozen layer and stores it split by content.
type resplitter struct {
	c    *content
	f    *dirtyLayer
	base *stored
	run  fileRun
	end  int64       // what it reads to at most
	buf  splitStream // what was read and not yet cut
	off  int64       // where the cells go on
	from int64       // what was stored already ends here
}

// finished tells whether the cells reach behind the run, to a place where a
// chunk began before.
func (w *resplitter) finished(ctx context.Context) bool {
	return w.off >= w.end || w.off >= w.run.hi && w.c.chunkBegins(ctx, w.f, w.base, w.off)
}

// batch stores some chunks and makes them cells of the layer.
func (w *resplitter) batch(ctx context.Context) error {
	var cells []*extent
	g := newSealGroup(w.c.env.pool, 2*runtime.GOMAXPROCS(0))
	err := w.seal(ctx, g, &cells)
	if werr := g.wait(); err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	w.c.mu.Lock()
	for _, x := range cells {
		w.f.cells = append(w.f.cells, *x)
	}
	freed, _ := w.f.forgetBlocks(w.from, w.off)
	w.c.mu.Unlock()
	w.from = w.off
	w.c.free(freed)
	return nil
}

func (w *resplitter) seal(ctx context.Context, g *sealGroup, cells *[]*extent) error {
	for w.off-w.from < resplitBatch && !w.finished(ctx) {
		if err := w.fill(ctx); err != nil {
			return err
		}
		p := w.buf.take(w.c.splitter().Next(w.buf.buf, w.buf.end() == w.end))
		x := &extent{off: p.off, n: p.n}
		*cells = append(*cells, x)
		w.off = p.end()
		err := g.run(ctx, func(ctx context.Context, buf []byte) (_ []byte, err error) {
			x.ptr, buf, err = w.c.env.sealData(ctx, plaintext{bytes: p.data}, buf)
			return buf, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fill reads until there is enough to cut, or all.
func (w *resplitter) fill(ctx context.Context) error {
	if len(w.buf.buf) >= store.MaxPlain || w.buf.end() == w.end {
		return nil
	}
	p := make([]byte, min(store.MaxPlain, w.end-w.buf.end()))
	if err := w.c.readLayer(ctx, w.f, p, w.buf.end()); err != nil {
		return err
	}
	w.buf.append(p)
	return nil
}

// chunkBegins tells whether at off, below the blocks of f, a chunk begins, or
// there is a hole.
func (c *content) chunkBegins(ctx context.Context, f *dirtyLayer, base *stored, off int64) bool {
	c.mu.RLock()
	i := f.pieceAt(off)
	inPiece := i < len(f.pieces) && f.pieces[i].off <= off
	begins := inPiece && f.pieces[i].off == off
	c.mu.RUnlock()
	if inPiece || off >= f.limit {
		return begins || !inPiece
	}
	x, _, err := base.segment(ctx, off, 1)
	return err == nil && (x == nil || x.off == off && x.at == 0)
}
