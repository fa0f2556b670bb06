package vol

import (
	"bytes"
	"context"
	"fmt"
	"syscall"
)

// ReadAt fills p with the bytes at off; n < len(p) with no error is the end
// of the file.
func (c *content) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if s := c.clean.Load(); s != nil {
		n, err := clampRead(off, len(p), s.size)
		if n == 0 || err != nil {
			return 0, err
		}
		c.ahead.note(s, off, int64(n))
		if err := s.readAt(ctx, p[:n], off); err != nil {
			return 0, err
		}
		return n, nil
	}
	return c.readDirty(ctx, p, off)
}

// ReadBuffers appends to dst slices that hold up to n bytes at off; fewer is
// the end of the file. They are lent: nobody may change them, nobody will.
func (c *content) ReadBuffers(ctx context.Context, dst [][]byte, off int64, n int) ([][]byte, error) {
	if s := c.clean.Load(); s != nil {
		n, err := clampRead(off, n, s.size)
		if n == 0 || err != nil {
			return dst, err
		}
		c.ahead.note(s, off, int64(n))
		return s.buffers(ctx, dst, off, int64(n))
	}
	return c.buffersDirty(ctx, dst, off, n)
}

// clampRead is how many of n bytes at off are within a file.
func clampRead(off int64, n int, size int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d: %w", off, syscall.EINVAL)
	}
	return int(max(min(int64(n), size-off), 0)), nil
}

// filePart is n bytes of a file that has unsaved changes: in memory, in an
// extent, zeros, or as the stored form has them.
type filePart struct {
	off, n int64
	mem    []byte
	cell   extent // if sealed
	sealed bool
	zero   bool
}

// gatherer collects where the bytes of a file are, in order. It works under
// c.mu, and copies what may change later.
type gatherer struct {
	c     *content
	p     []byte // where bytes in memory go, those at off first; nil to clone
	off   int64
	parts []filePart // without what was copied to p
}

func (c *content) readDirty(ctx context.Context, p []byte, off int64) (int, error) {
	c.mu.RLock()
	n, err := clampRead(off, len(p), c.size.Load())
	if n == 0 || err != nil || c.bad != nil {
		c.mu.RUnlock()
		return 0, cmpErr(c.bad, err)
	}
	g := gatherer{c: c, p: p[:n], off: off}
	g.top(off, off+int64(n))
	base := c.base
	c.mu.RUnlock()
	if err := g.fill(ctx, base); err != nil {
		return 0, err
	}
	return n, nil
}

// cmpErr is the first of two errors.
func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// readLayer fills p with bytes of l or what is below it.
func (c *content) readLayer(ctx context.Context, l *dirtyLayer, p []byte, off int64) error {
	c.mu.RLock()
	g := gatherer{c: c, p: p, off: off}
	g.layer(l, off, off+int64(len(p)))
	base := c.base
	c.mu.RUnlock()
	return g.fill(ctx, base)
}

// fill reads the parts that are not in memory into p.
func (g *gatherer) fill(ctx context.Context, base *stored) error {
	for i := range g.parts {
		part := &g.parts[i]
		dst := g.p[part.off-g.off:][:part.n]
		switch {
		case part.zero:
			clear(dst)
		case part.sealed:
			data, err := g.c.env.extentBytes(ctx, &part.cell, part.off, part.n)
			if err != nil {
				return err
			}
			copy(dst, data)
		default:
			if err := base.readAt(ctx, dst, part.off); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *content) buffersDirty(ctx context.Context, dst [][]byte, off int64, n int) ([][]byte, error) {
	c.mu.RLock()
	n, err := clampRead(off, n, c.size.Load())
	if n == 0 || err != nil || c.bad != nil {
		c.mu.RUnlock()
		return dst, cmpErr(c.bad, err)
	}
	g := gatherer{c: c, off: off}
	g.top(off, off+int64(n))
	base := c.base
	c.mu.RUnlock()
	for i := range g.parts {
		if dst, err = g.c.lend(ctx, dst, &g.parts[i], base); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// lend appends the bytes of a part.
func (c *content) lend(ctx context.Context, dst [][]byte, part *filePart, base *stored) ([][]byte, error) {
	switch {
	case part.mem != nil:
		return append(dst, part.mem), nil
	case part.zero:
		for n := part.n; n > 0; n -= int64(len(c.env.zeros)) {
			dst = append(dst, c.env.zeros[:min(n, int64(len(c.env.zeros)))])
		}
		return dst, nil
	case part.sealed:
		data, err := c.env.extentBytes(ctx, &part.cell, part.off, part.n)
		if err != nil {
			return dst, err
		}
		return append(dst, data), nil
	}
	return base.buffers(ctx, dst, part.off, part.n)
}

// top collects [lo, hi) of the file as it is now.
func (g *gatherer) top(lo, hi int64) {
	switch c := g.c; {
	case c.live != nil:
		g.layer(c.live, lo, hi)
	case c.frozen != nil:
		g.layer(c.frozen, lo, hi)
	default:
		g.base(lo, hi)
	}
}

func (g *gatherer) layer(l *dirtyLayer, lo, hi int64) {
	for lo < hi {
		if len(l.blocks) == 0 {
			g.stream(l, lo, hi)
			return
		}
		i := lo / blockSize
		end := min(hi, (i+1)*blockSize)
		if b := l.blocks[i]; b != nil {
			g.block(l, b, i*blockSize, lo, end)
		} else {
			g.stream(l, lo, end)
		}
		lo = end
	}
}

func (g *gatherer) block(l *dirtyLayer, b *dirtyBlock, at, lo, hi int64) {
	if b.sealed {
		g.cells(l, b.cells, lo, hi, g.stream)
		return
	}
	for _, r := range b.ranges {
		rlo, rhi := max(at+int64(r.lo), lo), min(at+int64(r.hi), hi)
		if rlo >= rhi {
			continue
		}
		g.stream(l, lo, rlo)
		b.eachPage(int(rlo-at), int(rhi-at), func(q int, mem []byte) { g.memory(at+int64(q), mem, false) })
		lo = rhi
	}
	g.stream(l, lo, hi)
}

func (g *gatherer) stream(l *dirtyLayer, lo, hi int64) {
	s := &l.stream
	if a, b := max(lo, s.off), min(hi, s.end()); a < b {
		g.cells(l, l.cells, lo, a, g.pieces)
		g.memory(a, s.buf[a-s.off:b-s.off], false)
		lo = b
	}
	g.cells(l, l.cells, lo, hi, g.pieces)
}

// cells collects from xs, and what they leave out from what is below them.
func (g *gatherer) cells(l *dirtyLayer, xs []extent, lo, hi int64, below func(l *dirtyLayer, lo, hi int64)) {
	for i := findExtent(xs, lo); lo < hi && i < len(xs) && xs[i].off < hi; i++ {
		x := &xs[i]
		below(l, lo, x.off)
		a, b := max(lo, x.off), min(hi, x.end())
		g.part(filePart{off: a, n: b - a, cell: *x, sealed: !x.hole(), zero: x.hole()})
		lo = b
	}
	if lo < hi {
		below(l, lo, hi)
	}
}

func (g *gatherer) pieces(l *dirtyLayer, lo, hi int64) {
	for i := l.pieceAt(lo); lo < hi && i < len(l.pieces) && l.pieces[i].off < hi; i++ {
		p := l.pieces[i]
		g.below(l, lo, p.off)
		a, b := max(lo, p.off), min(hi, p.end())
		if p.state == pieceSealed {
			g.part(filePart{off: a, n: b - a, cell: p.extent(), sealed: !p.ptr.IsZero(), zero: p.ptr.IsZero()})
		} else {
			g.memory(a, p.data[a-p.off:b-p.off], true)
		}
		lo = b
	}
	g.below(l, lo, hi)
}

// below collects from what a layer lies on.
func (g *gatherer) below(l *dirtyLayer, lo, hi int64) {
	if a := max(lo, l.limit); a < hi {
		g.below(l, lo, a)
		g.part(filePart{off: a, n: hi - a, zero: true})
		return
	}
	switch {
	case lo >= hi:
	case l != g.c.frozen && g.c.frozen != nil:
		g.layer(g.c.frozen, lo, hi)
	default:
		g.base(lo, hi)
	}
}

func (g *gatherer) base(lo, hi int64) { g.part(filePart{off: lo, n: hi - lo}) }

func (g *gatherer) part(p filePart) { g.parts = append(g.parts, p) }

// memory collects bytes in memory; fixed ones never change.
func (g *gatherer) memory(off int64, mem []byte, fixed bool) {
	switch {
	case g.p != nil:
		copy(g.p[off-g.off:], mem)
	case fixed:
		g.part(filePart{off: off, n: int64(len(mem)), mem: mem})
	default:
		g.part(filePart{off: off, n: int64(len(mem)), mem: bytes.Clone(mem)})
	}
}
