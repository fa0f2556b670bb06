package store

import (
	"context"
	"errors"
	"fmt"
)

// Put stores sealed bytes under their ID unless they are here; isNew says
// that they were not. They can be read at once and are durable after a Sync
// that starts when Put has returned. Bytes that this program did not seal must
// have passed VerifyID. Sealed is not kept. Errors are those of the file
// system (ENOSPC when full: what was stored stays readable), ErrTooBig,
// ErrClosed and ctx's.
func (c *Chunks) Put(ctx context.Context, id ID, sealed []byte) (isNew bool, err error) {
	if len(sealed) < MinSealed || len(sealed) > MaxSealed {
		return false, fmt.Errorf("store chunk %v: %w: %d sealed bytes", id, ErrTooBig, len(sealed))
	}
	period := c.holds.enter()
	defer c.holds.leave(period)
	if c.Has(id) {
		return false, nil
	}
	r := record{id: id, length: uint32(len(sealed)), dataCRC: crc(sealed)}
	if err := c.lockWriter(ctx); err != nil {
		return false, fmt.Errorf("store chunk %v: %w", id, err)
	}
	defer c.unlockWriter()
	if c.present(id) { // by now
		return false, nil
	}
	err = c.checkSpent()
	if err == nil {
		err = c.append(ctx, r, sealed)
	}
	if err != nil {
		return false, fmt.Errorf("store chunk %v: %w", id, err)
	}
	return true, nil
}

// appendCopy appends a chunk of this store again unless a copy that will last
// is here by now.
func (c *Chunks) appendCopy(ctx context.Context, id ID, sealed []byte) error {
	if err := c.lockWriter(ctx); err != nil {
		return err
	}
	defer c.unlockWriter()
	if c.present(id) {
		return nil
	}
	return c.append(ctx, record{id: id, length: uint32(len(sealed)), dataCRC: crc(sealed)}, sealed)
}

// append writes a record at the end of the active segment. The caller holds
// writer.
func (c *Chunks) append(ctx context.Context, r record, sealed []byte) error {
	seg, err := c.room(ctx, r.size())
	if err != nil {
		return err
	}
	c.buf, err = c.appendTo(seg, c.buf, r, sealed)
	if err != nil && closedByError(err) {
		c.active = nil
		c.queueSeal(seg, false)
	}
	return err
}

// appendTo writes a record, complete but for its place, at the end of a
// segment that nobody else appends to. Buf is room for its header, returned
// for the next.
func (c *Chunks) appendTo(seg *segment, buf []byte, r record, sealed []byte) ([]byte, error) {
	c.mu.RLock()
	r.segment, r.offset, r.durable = seg.number, uint32(seg.size), uint32(seg.durable)
	c.mu.RUnlock()
	buf = r.append(buf[:0])
	if err := seg.write(int64(r.offset), buf, sealed, recordPadding[:r.padding()]); err != nil {
		return buf, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	seg.mem[r.id] = span{offset: r.offset, length: r.length}
	seg.size += r.size()
	seg.chunks++
	seg.bytes += int64(r.length)
	seg.marked = false
	if seg.failed { // meanwhile, and the flush may have missed it
		c.doubtful[r.id] = seg.entry(r.id, seg.mem[r.id])
	} else {
		delete(c.doubtful, r.id)
	}
	return buf, nil
}

// mark ends the active segment with a filler of no length that says that all
// before it is on disk, which a Sync has just seen to. When the segment is
// opened again, what does not verify is then known for damage and is not taken
// for something that a crash left. The caller holds writer.
func (c *Chunks) mark() error {
	seg := c.active
	if seg == nil {
		return nil
	}
	c.mu.RLock()
	r := record{filler: true, segment: seg.number, offset: uint32(seg.size), durable: uint32(seg.size)}
	skip := seg.marked || seg.durable != seg.size
	c.mu.RUnlock()
	if skip {
		return nil
	}
	if err := seg.write(int64(r.offset), r.append(nil)); err != nil {
		return err
	}
	return seg.flush()
}

// errNotCut says that a failed write may have left something at the end.
var errNotCut = errors.New("segment could not be cut back")

// write writes the parts at off, the end of the segment, which is left as it
// was if that fails.
func (s *segment) write(off int64, parts ...[]byte) error {
	f, err := s.handle.acquire()
	if err != nil {
		return err
	}
	defer s.handle.release()
	if err = f.WritePartsAt(parts, off); err == nil {
		return nil
	}
	if cut := f.Truncate(off); cut != nil {
		return errors.Join(err, errNotCut, cut)
	}
	return err
}

// closedByError says whether a segment is to be appended to no more after a
// failed write: always, but when the disk is full and the segment as before.
func closedByError(err error) bool { return !isFull(err) || errors.Is(err, errNotCut) }

// room returns the active segment, a new one if there is none with n bytes
// left. The caller holds writer.
func (c *Chunks) room(ctx context.Context, n int64) (*segment, error) {
	if c.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if c.active != nil && !c.fits(c.active, n) {
		if err := c.retire(ctx); err != nil {
			return nil, err
		}
	}
	if c.active == nil {
		seg, err := c.newSegment()
		if err != nil {
			return nil, fmt.Errorf("new segment: %w", err)
		}
		c.active = seg
	}
	return c.active, nil
}

// fits says whether n more bytes belong in a segment.
func (c *Chunks) fits(seg *segment, n int64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	full := seg.chunks > 0 && seg.size+n > c.segmentSize || seg.chunks >= maxSegmentChunks
	return !full && !seg.failed
}

// retire ends appending to the active segment and has its footer written. It
// waits while too many segments are waiting for that. The caller holds writer.
func (c *Chunks) retire(ctx context.Context) error {
	select {
	case c.sealSlots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
	c.queueSeal(c.active, true)
	c.active = nil
	return nil
}

// newSegment makes the next segment.
func (c *Chunks) newSegment() (*segment, error) {
	seg, err := createSegment(c.handles, c.dir, c.lastSeg.Add(1))
	if err != nil {
		return nil, err
	}
	c.addSegment(seg)
	return seg, nil
}

func (c *Chunks) addSegment(seg *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.segments[seg.number] = seg
	c.unsealed = append(c.unsealed, seg)
}
