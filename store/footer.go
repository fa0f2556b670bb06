package store

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// queueSeal hands a segment that nothing is appended to any more to the
// sealing goroutine. Slot says that the caller has taken a slot for it.
func (c *Chunks) queueSeal(seg *segment, slot bool) {
	c.mu.Lock()
	c.enqueue(sealJob{seg, slot})
	c.mu.Unlock()
	c.kickSeal()
}

// enqueue notes that a segment waits for its footer; the caller holds mu.
func (c *Chunks) enqueue(job sealJob) {
	job.seg.retired = true
	c.sealQueue = append(c.sealQueue, job)
}

func (c *Chunks) kickSeal() {
	select {
	case c.toSeal <- struct{}{}:
	default:
	}
}

// sealJob is a segment that waits for its footer.
type sealJob struct {
	seg  *segment
	slot bool // it has a slot, to be freed after the first try
}

// sealLoop writes footers, merges tables and keeps the reserve, until close.
func (c *Chunks) sealLoop() {
	look := time.NewTicker(reserveLookAt)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			c.wantReserve()
		case <-c.toSeal:
			c.sealAll()
			if c.spent.Load() {
				continue // until there is room
			}
			if err := c.mergeTables(c.ctx); err != nil && c.ctx.Err() == nil {
				c.log.Error("cannot merge index tables", "err", err)
			}
			c.wantReserve()
		case <-c.ctx.Done():
			return
		}
	}
}

// sealAll tries to seal what is in the queue. What lacks space for its footer
// stays in the queue for the next time. When it returns, everything queued
// before has been tried.
func (c *Chunks) sealAll() {
	c.sealing.Lock()
	defer c.sealing.Unlock()
	c.mu.Lock()
	jobs := c.sealQueue
	c.sealQueue = nil
	c.mu.Unlock()
	for _, job := range jobs {
		err := c.seal(job.seg)
		if job.slot {
			<-c.sealSlots
		}
		if err == nil || c.ctx.Err() != nil {
			continue
		}
		c.log.Error("cannot seal segment", "segment", job.seg.number, "err", err)
		if isFull(err) {
			c.mu.Lock()
			c.sealQueue = append(c.sealQueue, sealJob{seg: job.seg})
			c.mu.Unlock()
		}
	}
}

// seal makes a segment durable, then its footer, and drops its memory map. The
// order is what keeps the footer from being ahead of the records.
func (c *Chunks) seal(seg *segment) error {
	if live, _ := c.segmentOf(entry{segment: seg.number}); live != seg {
		return nil // removed meanwhile
	}
	if err := c.Sync(c.ctx); err != nil && !c.isDurable(seg) {
		return err
	}
	if !c.isDurable(seg) {
		return fmt.Errorf("segment %d: %w: left without a footer", seg.number, ErrFailed)
	}
	if seg.size == segmentHeaderSize {
		return c.removeSegment(seg) // it came to hold nothing
	}
	if err := c.checkSpent(); err != nil {
		return err // and again later
	}
	t, err := c.writeFooter(seg)
	if err != nil {
		return fmt.Errorf("footer of segment %d: %w", seg.number, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed(seg, t)
	return nil
}

// sealed replaces a segment's memory map by its table; the caller holds mu.
func (c *Chunks) sealed(seg *segment, t *table) {
	seg.mem = nil
	seg.chunks, seg.bytes = int64(t.trail.entries), int64(t.covers[0].bytes)
	c.unsealed = slices.DeleteFunc(slices.Clone(c.unsealed), func(o *segment) bool { return o == seg })
	if c.segments[seg.number] == seg { // not removed meanwhile
		c.tables = append([]*table{t}, c.tables...)
	}
}

func (c *Chunks) isDurable(seg *segment) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return !seg.failed && seg.durable >= seg.size
}

// writeFooter writes the table of a segment behind its records and makes it
// durable. Nothing else changes the segment meanwhile.
func (c *Chunks) writeFooter(seg *segment) (*table, error) {
	f, err := seg.handle.acquire()
	if err != nil {
		return nil, err
	}
	defer seg.handle.release()
	start := alignUp(seg.size, blockSize)
	// What stands behind the records is no record; cut it, then pad with zeros.
	if err := errors.Join(f.Truncate(seg.size), f.Truncate(start)); err != nil {
		return nil, err
	}
	t, err := c.writeTable(io.NewOffsetWriter(f, start), start, seg)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Truncate(seg.size))
	}
	t.handle = seg.handle
	return t, nil
}

func (c *Chunks) writeTable(w io.Writer, start int64, seg *segment) (*table, error) {
	entries := c.sortedEntries(seg)
	tw := newTableWriter(w, start, uint64(len(entries)), []cover{{segment: seg.number, end: uint64(seg.size)}})
	for _, e := range entries {
		if err := tw.add(e, c.isDamaged(e)); err != nil {
			return nil, err
		}
	}
	return tw.finish()
}

func (c *Chunks) sortedEntries(seg *segment) []entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	entries := make([]entry, 0, len(seg.mem))
	for id, sp := range seg.mem {
		entries = append(entries, seg.entry(id, sp))
	}
	slices.SortFunc(entries, compareEntries)
	return entries
}
