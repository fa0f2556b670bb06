package store

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"path/filepath"
	"slices"
)

// mergeFanIn tables of about one size are merged into one.
const mergeFanIn = 8

// mergeTables merges tables until there are fewer than mergeFanIn of each
// size. Tables stay few, and each entry is rewritten once per size.
func (c *Chunks) mergeTables(ctx context.Context) error {
	c.indexing.Lock()
	defer c.indexing.Unlock()
	for {
		group := c.mergeGroup()
		if group == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.mergeInto(ctx, group); err != nil {
			return err
		}
	}
}

// mergeGroup returns the tables to be merged next, nil if none need be.
func (c *Chunks) mergeGroup() []*table {
	c.mu.RLock()
	defer c.mu.RUnlock()
	byTier := map[int][]*table{}
	lowest := -1
	for _, t := range c.tables {
		if t.run != 0 && c.mostlyGone(t) {
			return []*table{t}
		}
		tier := t.tier()
		byTier[tier] = append(byTier[tier], t)
		if len(byTier[tier]) >= mergeFanIn && (lowest < 0 || tier < lowest) {
			lowest = tier
		}
	}
	if lowest < 0 {
		return nil
	}
	return byTier[lowest]
}

// mostlyGone says that half of a table's entries or more are of removed
// segments; the caller holds mu.
func (c *Chunks) mostlyGone(t *table) bool {
	var live uint64
	gone := false
	for _, cv := range t.covers {
		if c.segments[cv.segment] != nil {
			live += uint64(cv.chunks)
		} else {
			gone = true
		}
	}
	return gone && live <= t.trail.entries/2
}

// tier is the table's size class: each is mergeFanIn times the one below, and
// the lowest is that of segments with up to 4096 chunks.
func (t *table) tier() int {
	return max(bits.Len64(t.trail.entries)-10, 0) / 3
}

// mergeInto writes one table for those of group and puts it in their place.
func (c *Chunks) mergeInto(ctx context.Context, group []*table) error {
	if c.allGone(group) {
		c.swapTables(group, nil)
		return c.removeTables(group)
	}
	merged, err := c.writeMerged(ctx, group)
	var bad *badTable
	if errors.As(err, &bad) {
		return c.replaceTableLocked(bad.t, err)
	}
	if err != nil {
		return fmt.Errorf("merge %d tables: %w", len(group), err)
	}
	c.swapTables(group, []*table{merged})
	return c.removeTables(group)
}

// allGone says that no segment of any of the tables is left.
func (c *Chunks) allGone(group []*table) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, t := range group {
		for _, cv := range t.covers {
			if c.segments[cv.segment] != nil {
				return false
			}
		}
	}
	return true
}

// swapTables replaces tables at one moment.
func (c *Chunks) swapTables(old, with []*table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(c.tables), func(t *table) bool { return slices.Contains(old, t) })
	c.tables = append(slices.Clone(with), kept...)
}

// removeTables removes the files of tables that are not in use any more. Those
// in segments stay with them.
func (c *Chunks) removeTables(tables []*table) error {
	var errs []error
	for _, t := range tables {
		if t.run != 0 {
			errs = append(errs, t.handle.remove())
		}
	}
	return errors.Join(errs...)
}

// writeMerged writes a table file from several tables, durable with its name.
// The caller holds indexing.
func (c *Chunks) writeMerged(ctx context.Context, group []*table) (*table, error) {
	c.lastTab++
	path := filepath.Join(c.indexDir, tableName(c.lastTab))
	f, err := c.files.create(path + newSuffix)
	if err != nil {
		return nil, err
	}
	t, err := c.mergeTo(ctx, io.NewOffsetWriter(f, 0), group)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, c.files.remove(path+newSuffix))
	}
	if err := c.files.rename(path+newSuffix, path); err != nil {
		return nil, err
	}
	if err := c.files.syncDir(c.indexDir); err != nil {
		return nil, err
	}
	t.handle, t.run = c.handles.add(path, nil), c.lastTab
	return t, nil
}

// mergeTo merges tables, leaving out segments that are gone.
func (c *Chunks) mergeTo(ctx context.Context, w io.Writer, group []*table) (*table, error) {
	var covers []cover
	var max uint64
	live := map[uint32]bool{}
	for _, t := range group {
		max += t.trail.entries
		for _, cv := range t.covers {
			if seg, _ := c.segmentOf(entry{segment: cv.segment}); seg != nil && !live[cv.segment] {
				live[cv.segment] = true
				covers = append(covers, cv)
			}
		}
	}
	tw := newTableWriter(w, 0, max, covers)
	err := mergeEach(group, func(e entry) error {
		if !live[e.segment] {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return tw.add(e, c.isDamaged(e))
	})
	if err != nil {
		return nil, err
	}
	return tw.finish()
}

// badTable says which table could not be read.
type badTable struct {
	t   *table
	err error
}

func (b *badTable) Error() string { return b.err.Error() }
func (b *badTable) Unwrap() error { return b.err }

// mergeEach calls fn for the entries of several tables in order, once each.
func mergeEach(tables []*table, fn func(entry) error) error {
	var h tableHeap
	for _, t := range tables {
		it := &tableIterator{t: t}
		if it.next() {
			h = append(h, it)
		} else if it.err != nil {
			return &badTable{t, it.err}
		}
	}
	heap.Init(&h)
	var last entry
	for len(h) > 0 {
		it := h[0]
		if it.entry != last {
			last = it.entry
			if err := fn(last); err != nil {
				return err
			}
		}
		if it.next() {
			heap.Fix(&h, 0)
		} else if it.err != nil {
			return &badTable{it.t, it.err}
		} else {
			heap.Pop(&h)
		}
	}
	return nil
}

// tableHeap has the table with the lowest present entry first.
type tableHeap []*tableIterator

func (h tableHeap) Len() int           { return len(h) }
func (h tableHeap) Less(i, j int) bool { return compareEntries(h[i].entry, h[j].entry) < 0 }
func (h tableHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *tableHeap) Push(x any)        { *h = append(*h, x.(*tableIterator)) }
func (h *tableHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	*h = old[:len(old)-1]
	return it
}
