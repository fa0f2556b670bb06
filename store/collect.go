package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// CollectOptions are how a collection works. The zero value works.
type CollectOptions struct {
	DryRun         bool                  // only say what would be freed
	MinDead        float64               // the dead part from which a segment is rewritten; a quarter if 0
	BytesPerSecond int64                 // bound on reading and copying; none if 0
	Progress       func(CollectProgress) // called now and then from the collecting goroutine; may be nil
}

// CollectProgress says how far a collection is, or how it went.
type CollectProgress struct {
	Live, LiveBytes int64 // chunks marked, and their sealed bytes
	Dead, DeadBytes int64 // chunks not marked
	Segments        int   // segments that are worth rewriting
	Done            int   // of these, removed
	Copied          int64 // sealed bytes written anew
	Freed           int64 // bytes of segment files removed, less those copied; with DryRun, what it would be
	Stuck           int   // segments kept because a live chunk in them is damaged and has no other copy
}

// Collect frees the space of chunks that nobody references. Mark calls keep,
// from any goroutine, with every chunk that is referenced anywhere: in volumes
// with what they have not committed yet, in snapshots, in pulls under way.
// Before it calls mark, Collect waits for all holds that began earlier; what
// is Put or found with Has from then on is kept. If mark returns an error,
// nothing is freed.
//
// Sparse segments are emptied one after the other: live chunks are copied,
// then the segment is removed. So a collection can be cut short at any moment
// and run again. One runs at a time.
func (c *Chunks) Collect(ctx context.Context, mark func(ctx context.Context, keep func(ID)) error, o CollectOptions) (CollectProgress, error) {
	if err := c.lock(ctx, c.collecting); err != nil {
		return CollectProgress{}, fmt.Errorf("collect: %w", err)
	}
	defer func() { <-c.collecting }()
	run := &collection{c: c, o: o, keep: newKeepSet(), pace: pace{perSecond: o.BytesPerSecond}}
	if run.o.MinDead == 0 {
		run.o.MinDead = 0.25
	}
	c.keep.Store(run.keep)
	defer c.keep.Store(nil)
	if err := errors.Join(run.run(ctx, mark), c.unspend(true)); err != nil {
		return run.progress, fmt.Errorf("collect: %w", err)
	}
	return run.progress, nil
}

// collection is one run of Collect.
type collection struct {
	c        *Chunks
	o        CollectOptions
	keep     *keepSet
	pace     pace
	progress CollectProgress
}

func (r *collection) run(ctx context.Context, mark func(context.Context, func(ID)) error) error {
	if err := r.c.holds.barrier(ctx); err != nil {
		return err
	}
	if !r.o.DryRun {
		if err := r.c.sealActive(ctx); err != nil {
			return err
		}
	}
	if err := mark(ctx, func(id ID) { r.keep.add(&id) }); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	plan, err := r.plan(ctx)
	if err != nil || r.o.DryRun {
		return err
	}
	for _, s := range plan {
		if err := r.empty(ctx, s); err != nil {
			return err
		}
		r.report()
	}
	if err := r.c.mergeTables(ctx); err != nil && !isFull(err) {
		return err
	}
	return r.c.refillReserve()
}

func (r *collection) report() {
	if r.o.Progress != nil {
		r.o.Progress(r.progress)
	}
}

// sealActive ends the active segment, so that what is dead in it can be freed,
// and waits until all full segments have their footers.
func (c *Chunks) sealActive(ctx context.Context) error {
	if err := c.lockWriter(ctx); err != nil {
		return err
	}
	if c.active != nil && c.hasChunks(c.active) {
		c.queueSeal(c.active, false)
		c.active = nil
	}
	c.unlockWriter()
	c.sealAll()
	return nil
}

func (c *Chunks) hasChunks(seg *segment) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return seg.chunks > 0
}

// sparse is a segment with what is live in it.
type sparse struct {
	seg        *segment
	size       int64
	live, dead int64 // sealed bytes
}

// plan counts what is live and dead, and returns the segments worth
// rewriting, those with least to copy first: they give space to the others.
func (r *collection) plan(ctx context.Context) ([]sparse, error) {
	counts, bad, err := r.countAll(ctx)
	for ; bad != nil && ctx.Err() == nil; counts, bad, err = r.countAll(ctx) {
		if err := r.c.replaceTable(bad, err); err != nil {
			return nil, err
		}
		r.c.sealAll()
	}
	if err != nil {
		return nil, err
	}
	plan := r.choose(counts)
	r.progress.Segments = len(plan)
	if r.o.DryRun {
		for _, s := range plan {
			r.progress.Freed += s.size - s.live
		}
	}
	r.report()
	return plan, nil
}

// countAll goes through all tables, or returns the one that cannot be read.
func (r *collection) countAll(ctx context.Context) (map[uint32]*sparse, *table, error) {
	r.c.indexing.Lock() // so that no table is merged away meanwhile
	defer r.c.indexing.Unlock()
	counts := map[uint32]*sparse{}
	r.progress = CollectProgress{}
	for _, t := range r.c.tablesNow() {
		err := t.each(func(e entry) bool {
			r.count(counts, e)
			return ctx.Err() == nil
		})
		if err != nil {
			return nil, t, err
		}
	}
	for _, seg := range r.c.unsealedNow() {
		if !r.o.DryRun && !r.c.canDie(seg) {
			continue
		}
		for _, e := range r.c.sortedEntries(seg) {
			r.count(counts, e)
		}
	}
	return counts, nil, ctx.Err()
}

func (c *Chunks) unsealedNow() []*segment {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.unsealed)
}

// canDie says whether a segment may be emptied: nothing is appended to it, and
// if it has no footer that is for want of space.
func (c *Chunks) canDie(seg *segment) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return seg.mayDie()
}

// mayDie is canDie for who holds mu.
func (s *segment) mayDie() bool { return s.mem == nil || s.retired && !s.failed }

func (c *Chunks) tablesNow() []*table {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.tables
}

func (r *collection) count(counts map[uint32]*sparse, e entry) {
	s := counts[e.segment]
	if s == nil {
		if s = r.c.sparseOf(e.segment); s == nil {
			return // removed since the table was written
		}
		counts[e.segment] = s
	}
	if r.keep.has(&e.id) {
		s.live += int64(e.length)
		r.progress.Live++
		r.progress.LiveBytes += int64(e.length)
	} else {
		s.dead += int64(e.length)
		r.progress.Dead++
		r.progress.DeadBytes += int64(e.length)
	}
}

func (c *Chunks) sparseOf(n uint32) *sparse {
	c.mu.RLock()
	defer c.mu.RUnlock()
	seg := c.segments[n]
	if seg == nil {
		return nil
	}
	return &sparse{seg: seg, size: seg.size}
}

// choose returns the segments with enough dead in them, those with damaged
// copies that are of no more use, and the small ones if there are several, which
// one larger replaces.
func (r *collection) choose(counts map[uint32]*sparse) []sparse {
	var plan, small []sparse
	superseded := r.superseded()
	for n, s := range counts {
		switch {
		case superseded[n] || s.dead > 0 && float64(s.dead) >= r.o.MinDead*float64(s.live+s.dead):
			plan = append(plan, *s)
		case s.size < r.c.segmentSize/mergeFanIn:
			small = append(small, *s)
		}
	}
	if len(small) >= mergeFanIn {
		plan = append(plan, small...)
	}
	slices.SortFunc(plan, func(a, b sparse) int {
		return cmp.Or(cmp.Compare(a.live, b.live), cmp.Compare(a.seg.number, b.seg.number))
	})
	return plan
}

// superseded returns the segments with copies known to be damaged of which none
// is needed, since the chunk is dead or there is a good copy: nothing but
// rewriting the segment ends what a check tells of it.
func (r *collection) superseded() map[uint32]bool {
	r.c.mu.RLock()
	damaged := slices.Collect(maps.Keys(r.c.damaged))
	r.c.mu.RUnlock()
	all := map[uint32]bool{}
	for _, e := range damaged {
		before, seen := all[e.segment]
		all[e.segment] = (before || !seen) && (!r.keep.has(&e.id) || r.c.present(e.id))
	}
	return all
}

// empty copies what is live in a segment and removes it.
func (r *collection) empty(ctx context.Context, s sparse) error {
	seg := s.seg
	if !r.setDying(seg, true) {
		return nil // it has become one that failed, or is read anew
	}
	removed := false
	defer func() {
		if !removed {
			r.setDying(seg, false)
		}
	}()
	entries, err := r.c.entriesOf(seg)
	if err != nil { // a later run will do
		return r.c.remakeFooter(seg, err)
	}
	copied, stuck, err := r.copyLive(ctx, seg, entries)
	if err != nil {
		return fmt.Errorf("segment %d: %w", seg.number, err)
	}
	if stuck {
		r.progress.Stuck++
		return nil
	}
	if err := r.c.Sync(ctx); err != nil {
		return err
	}
	removed = true
	r.progress.Done++
	r.progress.Copied += copied
	r.progress.Freed += s.size - copied
	if err := r.c.removeSegment(seg); err != nil {
		return err
	}
	for _, e := range entries {
		if !r.keep.has(&e.id) {
			r.c.cache.forget(&e.id)
		}
	}
	return r.c.unspend(false)
}

// setDying says that nothing new may rely on what is in the segment: from then
// on its chunks are stored again when they are Put. False if it cannot die.
func (r *collection) setDying(seg *segment, dying bool) bool {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if dying && !seg.mayDie() {
		return false
	}
	seg.dying = dying
	return true
}

// entriesOf returns the chunks of a segment as they stand in it.
func (c *Chunks) entriesOf(seg *segment) ([]entry, error) {
	entries, err := c.anyOrder(seg)
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.offset, b.offset) })
	return entries, err
}

func (c *Chunks) anyOrder(seg *segment) ([]entry, error) {
	c.mu.RLock()
	unsealed := seg.mem != nil
	c.mu.RUnlock()
	if unsealed {
		if entries := c.sortedEntries(seg); len(entries) > 0 {
			return entries, nil
		}
	}
	t, err := openFooter(&segment{number: seg.number, handle: seg.handle})
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, t.trail.entries)
	err = t.each(func(e entry) bool { entries = append(entries, e); return true })
	return entries, err
}

// copyLive appends those chunks that are live to other segments. Stuck says
// that one of them is damaged here and there is no other copy. What is not
// live now will not become so: since the segment is dying, who Puts or finds
// such a chunk has either been seen in keep or stores a copy elsewhere.
func (r *collection) copyLive(ctx context.Context, seg *segment, entries []entry) (copied int64, stuck bool, err error) {
	var buf []byte
	for _, e := range entries {
		if !r.keep.has(&e.id) || r.c.goodElsewhere(e) {
			continue
		}
		if err := r.pace.wait(ctx, int64(e.length)); err != nil {
			return copied, stuck, err
		}
		buf, err = seg.readSealed(buf[:0], e)
		if err == nil {
			err = VerifyID(e.id, buf)
		}
		if err != nil && !tellsDamage(err) {
			return copied, stuck, fmt.Errorf("chunk %v: %w", e.id, err)
		}
		if err != nil {
			r.c.noteDamage(e, err)
			stuck = true
			continue
		}
		if err := r.c.appendReserved(ctx, e.id, buf); err != nil {
			return copied, stuck, err
		}
		copied += int64(e.length)
	}
	return copied, stuck, nil
}

// goodElsewhere says that there is another copy, which verifies and will last.
func (c *Chunks) goodElsewhere(e entry) bool {
	var room [4]entry
	copies, _ := c.candidates(room[:0], &e.id)
	for _, o := range copies {
		c.mu.RLock()
		ok := o != e && c.reliable(o)
		seg := c.segments[o.segment]
		c.mu.RUnlock()
		if !ok {
			continue
		}
		sealed, err := seg.readSealed(nil, o)
		if err == nil {
			err = VerifyID(o.id, sealed)
		}
		if err == nil {
			return true
		}
		if tellsDamage(err) {
			c.noteDamage(o, err)
		}
	}
	return false
}

// appendReserved is appendCopy that may use the reserve. On a disk that gives
// new room to what is written over old the reserve is full, too: its zeros have
// then been cut off, and the third try has the room they took.
func (c *Chunks) appendReserved(ctx context.Context, id ID, sealed []byte) error {
	err := c.appendCopy(ctx, id, sealed)
	for try := 0; isFull(err) && try < 2; try++ {
		if spend := c.spendReserve(ctx); spend != nil {
			return errors.Join(err, spend)
		}
		err = c.appendCopy(ctx, id, sealed)
	}
	return err
}

// removeSegment forgets a segment and removes its file. Merged tables may go
// on listing it until they are merged again.
func (c *Chunks) removeSegment(seg *segment) error {
	c.mu.Lock()
	delete(c.segments, seg.number)
	c.unsealed = slices.DeleteFunc(slices.Clone(c.unsealed), func(o *segment) bool { return o == seg })
	for id, e := range c.doubtful {
		if e.segment == seg.number { // it is dead, or there is another copy
			delete(c.doubtful, id)
		}
	}
	c.removals++
	c.tables = slices.DeleteFunc(slices.Clone(c.tables), func(t *table) bool { return t.handle == seg.handle })
	for e := range c.damaged {
		if e.segment == seg.number {
			delete(c.damaged, e)
		}
	}
	c.mu.Unlock()
	return seg.handle.remove()
}
