package vol

import (
	"cmp"
	"context"
	"math"
	"slices"

	"bazil/store"
)

// What is added to a large file between two flushes may be stored as it is,
// rather than with the unfinished chunk that it continues, as long as it is
// little and has not been done often: a log that is flushed with every line
// would else be stored again and again. The chunks are put right when one is
// finished, and at the latest by settle.
const (
	fragmentMax  = 64 << 10 // bytes
	fragmentsMax = 32
)

// Flush makes what was written before it began, or before the freeze that
// came before it, part of the chunk store and returns the body of the file as
// it was then. The chunks are durable after the next Sync of the store. After
// an error nothing is lost, and Flush may be called again.
func (c *content) Flush(ctx context.Context) (Body, error) {
	if err := lock(ctx, c.flushing); err != nil {
		return "", err
	}
	defer unlock(c.flushing)
	c.freeze()
	c.mu.RLock()
	f, base, bad := c.frozen, c.base, c.bad
	c.mu.RUnlock()
	if bad != nil {
		return "", bad
	}
	if f == nil {
		return base.encode(), nil
	}
	info, root, err := c.sealLayer(ctx, f, base)
	if err != nil {
		if ctx.Err() == nil && storeWide(err) {
			c.env.budget.refuse(err)
		}
		return "", err
	}
	return info.encode(), c.install(f, info, root)
}

// install makes what became of the frozen layer the stored form.
func (c *content) install(f *dirtyLayer, info bodyInfo, root *extentNode) error {
	s := storedFrom(c.env, info)
	if root != nil {
		s.root.Store(root)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad != nil {
		return c.bad
	}
	c.release(f)
	c.base, c.frozen = s, nil
	if c.live == nil {
		c.settling = false
		c.clean.Store(s)
	}
	return nil
}

// sealLayer stores what the frozen layer f has and returns the body of the
// file with it. It may be called again after an error.
func (c *content) sealLayer(ctx context.Context, f *dirtyLayer, base *stored) (bodyInfo, *extentNode, error) {
	if f.size <= smallMax {
		info, err := c.sealSmall(ctx, f)
		return info, nil, err
	}
	if err := c.cutFrozen(ctx, f, base); err != nil {
		return bodyInfo{}, nil, err
	}
	c.coverInline(f, base)
	if err := c.sealBlocks(ctx, f, base); err != nil {
		return bodyInfo{}, nil, err
	}
	if err := c.awaitPieces(ctx, f); err != nil {
		return bodyInfo{}, nil, err
	}
	limit := f.limit
	if limit >= base.size {
		limit = math.MaxInt64
	}
	return rewriteExtents(ctx, base, limit, f.edits(), f.size)
}

// sealSmall stores a file that is inline or one chunk, as a whole.
func (c *content) sealSmall(ctx context.Context, f *dirtyLayer) (bodyInfo, error) {
	if f.size == 0 {
		return bodyInfo{form: formHole}, nil
	}
	plain := f.wholeStream()
	if plain == nil {
		plain = make([]byte, f.size)
		if err := c.readLayer(ctx, f, plain, 0); err != nil {
			return bodyInfo{}, err
		}
	}
	if f.size <= inlineMax {
		return c.env.inlineInfo(plain), nil
	}
	info := bodyInfo{form: formChunk, size: f.size, allocated: f.size}
	g := newSealGroup(c.env.pool, 1)
	err := g.run(ctx, func(ctx context.Context, buf []byte) (_ []byte, err error) {
		info.ptr, buf, err = c.env.seal(ctx, store.ChunkData, plaintext{bytes: plain}, buf)
		return buf, err
	})
	if werr := g.wait(); err == nil {
		err = werr
	}
	return info, err
}

// wholeStream is the bytes of a frozen file if all are in the stream, and in
// little more memory than they need.
func (l *dirtyLayer) wholeStream() []byte {
	s := &l.stream
	if s.off > 0 || s.end() != l.size || len(l.blocks) > 0 || max(cap(s.buf), cap(s.mem)) > 2*len(s.buf) {
		return nil
	}
	return s.buf
}

// cutFrozen makes pieces of the stream of f and has them sealed.
func (c *content) cutFrozen(ctx context.Context, f *dirtyLayer, base *stored) error {
	c.mu.RLock()
	s, settling, fragments := f.stream, c.settling, c.fragments
	c.mu.RUnlock()
	if !s.dirty() && !(settling && fragments > 0) {
		return nil
	}
	fragment := !settling && !s.whole() && base.form == formExtents &&
		len(s.buf) <= fragmentMax && fragments < fragmentsMax
	if !fragment && !s.whole() {
		if err := c.loadPrefix(ctx, f); err != nil {
			return err
		}
	}
	c.mu.Lock()
	var ps []*streamPiece
	if fragment {
		ps = append(ps, f.stream.take(len(f.stream.buf)))
		f.pieces = append(f.pieces, ps...)
		c.fragments++
	} else {
		ps = c.cutAll(f)
		c.fragments = 0
	}
	c.mu.Unlock()
	c.submit(ps...)
	return nil
}

// coverInline makes the bytes of an inline base, which grew too large for
// that, dirty.
func (c *content) coverInline(f *dirtyLayer, base *stored) {
	if !base.direct() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := f.blocks[0]; b != nil && b.sealed {
		return
	}
	var grown int64
	pos, end := 0, int(min(base.size, f.limit))
	for _, r := range append(f.begun(), byteRange{end, end}) {
		if hi := min(r.lo, end); pos < hi {
			grown += f.writeBlocks(base.plain[pos:hi], int64(pos))
		}
		pos = max(pos, r.hi)
	}
	c.dirty.Add(grown)
	c.env.budget.force(grown)
}

// begun is what the first block and the pieces have of the file's first block,
// sorted.
func (l *dirtyLayer) begun() []byteRange {
	var all []byteRange
	if b := l.blocks[0]; b != nil {
		all = append(all, b.ranges...)
	}
	for _, p := range l.pieces {
		if p.off < blockSize {
			all = append(all, byteRange{int(p.off), int(min(p.end(), blockSize))})
		}
	}
	slices.SortFunc(all, func(a, b byteRange) int { return cmp.Compare(a.lo, b.lo) })
	return all
}

// awaitPieces waits until all pieces of f are sealed.
func (c *content) awaitPieces(ctx context.Context, f *dirtyLayer) error {
	c.submit(f.pieces...)
	for _, p := range f.pieces {
		err := c.await(ctx, p)
		if err != nil && ctx.Err() == nil {
			c.submit(p) // what failed may have begun long ago
			err = c.await(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// await waits for the end of what submit began.
func (c *content) await(ctx context.Context, p *streamPiece) error {
	c.mu.RLock()
	done := p.done
	c.mu.RUnlock()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return p.err
}
