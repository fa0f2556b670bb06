package vol

import (
	"context"

	"bazil/store"
)

// need makes sure that a flush of what is about to be changed in [off, off+n)
// finds here what it will have to read: the extents around, and the data of a
// small file, which is stored as a whole. If another device has to be asked,
// the writer waits for it, and gets the error, rather than the commit group.
func (c *content) need(ctx context.Context, off, n int64) error {
	c.mu.RLock()
	base, first := c.base, c.live == nil
	c.mu.RUnlock()
	switch {
	case base == nil:
		return nil // malformed, which is told elsewhere
	case base.form == formChunk && first:
		return base.fetch(ctx, base.size)
	}
	return base.needLeaves(ctx, min(off, base.size-1), min(off+n, base.size))
}

// needSize is need for a truncation.
func (c *content) needSize(ctx context.Context, size int64) error {
	c.mu.RLock()
	base := c.base
	c.mu.RUnlock()
	if base == nil || size == 0 || size >= base.size {
		return nil
	}
	if size <= smallMax {
		return base.fetch(ctx, size)
	}
	return base.needLeaves(ctx, size-1, size)
}

// needLeaves opens the extent chunks on the way to [lo, hi), and at least those
// for lo.
func (s *stored) needLeaves(ctx context.Context, lo, hi int64) error {
	for s.form == formExtents {
		next, err := s.needLeaf(ctx, lo)
		if err != nil || next >= hi {
			return err
		}
		lo = next
	}
	return nil
}

// needLeaf opens the extent chunks on the way to off, and returns where those
// end. Whether they are on disk is asked each time: they may be known from when
// another file had them, and have been collected since.
func (s *stored) needLeaf(ctx context.Context, off int64) (int64, error) {
	p := s.ptr
	n, err := s.rootNode(ctx)
	for err == nil {
		if !s.env.chunks.Durable(p.ID) {
			s.env.loose.Add(1)
		}
		if n.leaf() {
			return n.hi, nil
		}
		c, lo, hi := n.child(off)
		if c == nil {
			return hi, nil
		}
		p = c.ptr
		n, err = s.node(ctx, c.extentRef, n.level-1, lo)
	}
	return 0, err
}

// get makes sure that a data chunk is here, which is not on disk.
func (e *contentEnv) get(ctx context.Context, p store.Pointer) error {
	if !e.chunks.Has(p.ID) {
		if _, err := e.reader.Read(ctx, p, store.ChunkData); err != nil {
			return ioError("read chunk", p.ID, err)
		}
	}
	e.loose.Add(1)
	return nil
}

// fetch gets the data of the first n bytes that are not here.
func (s *stored) fetch(ctx context.Context, n int64) error {
	for off := int64(0); off < n; {
		x, k, err := s.segment(ctx, off, n-off)
		if err != nil {
			return err
		}
		if x != nil && !s.env.chunks.Durable(x.ptr.ID) {
			if err := s.env.get(ctx, x.ptr); err != nil {
				return err
			}
		}
		off += k
	}
	return nil
}
