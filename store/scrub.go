package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// ScrubOptions are how a scrub works. The zero value works.
type ScrubOptions struct {
	From           uint32                                                      // segment to begin with: the Next of a scrub that was cut short
	BytesPerSecond int64                                                       // bound on reading; none if 0
	Progress       func(ScrubProgress)                                         // called after each segment; may be nil
	Repair         func(ctx context.Context, id ID) (sealed []byte, err error) // gets a good copy from elsewhere; may be nil
}

// ScrubProgress says how far a scrub is, or how it went.
type ScrubProgress struct {
	Chunks, Bytes   int64  // read
	Damaged         []ID   // chunks of which a copy does not verify and there is no good one
	Repaired        int64  // of these, those stored anew
	Next            uint32 // the segment to go on with
	Done, Remaining int    // segments
}

// Scrub reads every chunk and checks it against its ID, what was found damaged
// before included, and every index table.
// A damaged chunk counts as absent from then on; if its plaintext is still in
// the cache it is sealed and stored again, else Repair may bring a good copy.
// Scrub returns an error only when it is cut short, as by a want of file
// descriptors; what it returns then tells where to go on.
func (c *Chunks) Scrub(ctx context.Context, o ScrubOptions) (ScrubProgress, error) {
	r := &scrub{c: c, o: o, pace: pace{perSecond: o.BytesPerSecond}}
	r.progress.Next = o.From
	if err := r.run(ctx); err != nil {
		return r.progress, fmt.Errorf("scrub: %w", err)
	}
	return r.progress, nil
}

// scrub is one run of Scrub.
type scrub struct {
	c        *Chunks
	o        ScrubOptions
	pace     pace
	buf      []byte
	progress ScrubProgress
}

func (r *scrub) run(ctx context.Context) error {
	if r.o.From == 0 {
		if err := r.c.scrubTables(); err != nil {
			return err
		}
	}
	numbers := r.c.segmentNumbers(r.o.From)
	for i, n := range numbers {
		r.progress.Next = n
		r.progress.Done, r.progress.Remaining = i, len(numbers)-i
		if r.o.Progress != nil {
			r.o.Progress(r.progress)
		}
		if err := r.segment(ctx, n); err != nil {
			return err
		}
	}
	r.progress.Next = 0
	r.progress.Done, r.progress.Remaining = len(numbers), 0
	return nil
}

// segmentNumbers returns the numbers of all segments from a number on, sorted.
func (c *Chunks) segmentNumbers(from uint32) (numbers []uint32) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for n := range c.segments {
		if n >= from {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// scrubTables verifies the tables and replaces those that are damaged.
func (c *Chunks) scrubTables() error {
	for _, t := range c.tablesNow() {
		if err := t.verify(); err != nil {
			if err := c.replaceTable(t, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// segment checks all chunks of one segment; it may have gone meanwhile.
func (r *scrub) segment(ctx context.Context, n uint32) error {
	seg, entries, err := r.c.allEntries(n)
	if seg == nil {
		return nil
	}
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil && !tellsDamage(err) {
		return fmt.Errorf("segment %d: %w", n, err)
	}
	if err != nil {
		r.c.log.Error("cannot read segment", "segment", n, "err", err)
		return ctx.Err()
	}
	for _, e := range entries {
		if err := r.pace.wait(ctx, int64(e.length)); err != nil {
			return err
		}
		if err := r.chunk(ctx, seg, e); err != nil {
			return err
		}
	}
	return nil
}

// allEntries returns the chunks of a segment, sealed or not, as they stand in it.
func (c *Chunks) allEntries(n uint32) (*segment, []entry, error) {
	c.mu.RLock()
	seg := c.segments[n]
	sealed := seg != nil && seg.mem == nil
	c.mu.RUnlock()
	if seg == nil {
		return nil, nil, nil
	}
	if sealed {
		entries, err := c.entriesOf(seg)
		if err == nil {
			return seg, entries, nil
		}
		if err := c.remakeFooter(seg, err); err != nil {
			return seg, nil, err
		}
	}
	entries := c.sortedEntries(seg)
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.offset, b.offset) })
	return seg, entries, nil
}

// chunk checks one chunk and tries to repair it.
func (r *scrub) chunk(ctx context.Context, seg *segment, e entry) error {
	sealed, err := r.read(seg, e)
	r.progress.Chunks++
	r.progress.Bytes += int64(e.length)
	if err == nil {
		if r.c.isDamaged(e) { // it could not be read before
			r.c.setDamaged(e, false)
		}
		return nil
	}
	if gone, _ := r.c.segmentOf(e); gone != seg {
		return nil // collected meanwhile
	}
	if !tellsDamage(err) {
		return fmt.Errorf("chunk %v in segment %d: %w", e.id, e.segment, err)
	}
	r.c.noteDamage(e, err)
	if r.c.goodElsewhere(e) {
		return nil
	}
	if sealed != nil { // only the header is bad
		return r.c.appendCopy(ctx, e.id, sealed)
	}
	r.progress.Damaged = append(r.progress.Damaged, e.id)
	return r.repair(ctx, e.id)
}

// read reads a record and checks its header and its bytes. It returns these
// if they are good, even if the header is not.
func (r *scrub) read(seg *segment, e entry) (sealed []byte, err error) {
	r.buf = grow(r.buf[:0], recordHeaderSize+int(e.length))
	if err := seg.handle.readAt(r.buf, int64(e.offset)); err != nil {
		return nil, err
	}
	sealed = r.buf[recordHeaderSize:]
	if err := VerifyID(e.id, sealed); err != nil {
		return nil, err
	}
	head, err := parseRecord(r.buf, seg.number, int64(e.offset))
	if err == nil && (head.id != e.id || head.length != e.length || head.dataCRC != crc(sealed)) {
		err = fmt.Errorf("record header %w: it is another chunk's", ErrDamaged)
	}
	return sealed, err
}

// repair stores a good copy if there is one to be had.
func (r *scrub) repair(ctx context.Context, id ID) error {
	sealed, ok := r.c.Reseal(id)
	if !ok && r.o.Repair == nil {
		return nil
	}
	var err error
	if !ok {
		sealed, err = r.o.Repair(ctx, id)
	}
	if err == nil {
		err = VerifyID(id, sealed)
	}
	if err != nil {
		r.c.log.Error("cannot repair chunk", "chunk", id, "err", err)
		return ctx.Err()
	}
	if _, err := r.c.Put(ctx, id, sealed); err != nil {
		return err
	}
	r.progress.Repaired++
	r.c.log.Info("chunk is repaired", "chunk", id)
	return nil
}

// Reseal returns the sealed bytes of a chunk of which the plaintext is still in
// the cache, whatever became of the copy on disk. They have that ID.
func (c *Chunks) Reseal(id ID) (sealed []byte, ok bool) { return c.cache.reseal(&id) }

// Damaged returns the chunks known to be damaged of which there is no good
// copy here, as far as is known: reading, scrubbing and opening find them.
func (c *Chunks) Damaged() []ID {
	c.mu.RLock()
	var ids []ID
	for e := range c.damaged {
		ids = append(ids, e.id)
	}
	c.mu.RUnlock()
	ids = slices.DeleteFunc(ids, c.present)
	slices.SortFunc(ids, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
