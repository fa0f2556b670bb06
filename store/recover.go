package store

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
)

// openChunks opens the chunk store of a data directory. It trusts nothing that
// does not verify: the merged tables speak for the segments they cover, other
// segments speak by their footers, and those without a good footer are read.
func openChunks(fs files, dir string, o Options) (*Chunks, error) {
	c := newChunks(fs, dir, o)
	if err := c.load(); err != nil {
		c.stop()
		return nil, errors.Join(err, c.handles.closeAll())
	}
	c.start()
	c.kickSeal()
	return c, nil
}

func (c *Chunks) load() error {
	for _, dir := range []string{c.dir, c.indexDir} {
		if err := c.files.mkdir(dir); err != nil {
			return err
		}
	}
	numbers, err := c.listNumbers(c.dir, ".seg")
	if err != nil {
		return err
	}
	covered, err := c.loadTables(numbers)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		c.useNumber(n)
		if cv, ok := covered[n]; ok {
			c.addCovered(cv)
		} else if err := c.loadSegment(n); err != nil {
			return err
		}
	}
	for _, t := range c.tables {
		if err := c.takeDamage(t); err != nil {
			if err := c.replaceTable(t, err); err != nil {
				return err
			}
		}
	}
	c.resumeLast()
	return nil
}

// useNumber keeps a segment number from being given again.
func (c *Chunks) useNumber(n uint32) { c.lastSeg.Store(max(c.lastSeg.Load(), n)) }

// listNumbers returns the numbers of the files with a suffix, sorted.
func (c *Chunks) listNumbers(dir, suffix string) ([]uint32, error) {
	names, err := c.files.list(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, name := range names {
		if n, ok := parseName(name, suffix); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// loadTables opens the merged tables, newest first, and returns what they
// cover of the segments that exist. A table that is damaged or that newer ones
// replace is removed: footers can give the same again.
func (c *Chunks) loadTables(segments []uint32) (map[uint32]cover, error) {
	if err := c.removeUnfinished(); err != nil {
		return nil, err
	}
	runs, err := c.listNumbers(c.indexDir, ".tab")
	if err != nil {
		return nil, err
	}
	covered := map[uint32]cover{}
	for _, n := range slices.Backward(runs) {
		c.lastTab = max(c.lastTab, n)
		if err := c.loadTable(n, segments, covered); err != nil {
			return nil, fmt.Errorf("index table %d: %w", n, err)
		}
	}
	return covered, nil
}

// removeUnfinished removes tables that were being written.
func (c *Chunks) removeUnfinished() error {
	unfinished, err := c.listNumbers(c.indexDir, ".tab"+newSuffix)
	for _, n := range unfinished {
		err = errors.Join(err, c.files.remove(filepath.Join(c.indexDir, tableName(n)+newSuffix)))
	}
	return err
}

func (c *Chunks) loadTable(n uint32, segments []uint32, covered map[uint32]cover) error {
	h := c.handles.add(filepath.Join(c.indexDir, tableName(n)), nil)
	t, err := openTable(h, n)
	if errors.Is(err, ErrVersion) || err != nil && !tellsDamage(err) {
		return err
	}
	if err != nil {
		c.log.Error("index table is damaged, footers replace it", "table", n, "err", err)
		return h.remove()
	}
	fresh := false
	for _, cv := range t.covers {
		c.useNumber(cv.segment) // never again, or old entries would point into it
		_, exists := slices.BinarySearch(segments, cv.segment)
		if _, ok := covered[cv.segment]; exists && !ok {
			covered[cv.segment] = cv
			fresh = true
		}
	}
	if !fresh {
		return h.remove()
	}
	c.tables = append(c.tables, t)
	return nil
}

// takeDamage takes over which copies were known to be damaged when a table was
// written. Only a table that has such is read for it.
func (c *Chunks) takeDamage(t *table) error {
	if t.trail.damaged == 0 {
		return nil
	}
	it := tableIterator{t: t}
	for it.next() {
		if it.damaged {
			c.setDamaged(it.entry, true)
		}
	}
	return it.err
}

// setDamaged notes whether a copy is known not to verify, if its segment is here.
func (c *Chunks) setDamaged(e entry, damaged bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if damaged && c.segments[e.segment] != nil {
		c.damaged[e] = true
	} else {
		delete(c.damaged, e)
	}
}

// addCovered adds a sealed segment whose chunks a merged table has.
func (c *Chunks) addCovered(cv cover) {
	path := filepath.Join(c.dir, segmentName(cv.segment))
	c.segments[cv.segment] = &segment{
		number:  cv.segment,
		handle:  c.handles.add(path, nil),
		size:    int64(cv.end),
		durable: int64(cv.end),
		chunks:  int64(cv.chunks),
		bytes:   int64(cv.bytes),
	}
}

// loadSegment adds a segment that no merged table covers.
func (c *Chunks) loadSegment(n uint32) error {
	seg := &segment{number: n, handle: c.handles.add(filepath.Join(c.dir, segmentName(n)), nil)}
	t, err := openFooter(seg)
	if errors.Is(err, ErrVersion) || err != nil && !tellsDamage(err) {
		return fmt.Errorf("segment %d: %w", n, err)
	}
	if err == nil {
		c.segments[n] = seg
		c.tables = append([]*table{t}, c.tables...)
		return nil
	}
	return c.recoverSegment(seg)
}

// openFooter opens and checks all of a segment's table, and takes over its
// counts.
func openFooter(seg *segment) (*table, error) {
	t, err := openTable(seg.handle, 0)
	if err != nil {
		return nil, err
	}
	if err := t.verify(); err != nil {
		return nil, err
	}
	if len(t.covers) != 1 || t.covers[0].segment != seg.number || t.covers[0].end > t.trail.start {
		return nil, fmt.Errorf("footer %w: it is another segment's", ErrDamaged)
	}
	cv := t.covers[0]
	seg.size, seg.durable = int64(cv.end), int64(cv.end)
	seg.chunks, seg.bytes = int64(cv.chunks), int64(cv.bytes)
	return t, nil
}

// recoverSegment reads a segment without a good footer and makes it one that
// can be appended to: what is torn off its end goes, what verifies stays.
func (c *Chunks) recoverSegment(seg *segment) error {
	f, err := seg.handle.acquire()
	if err != nil {
		return err
	}
	defer seg.handle.release()
	size, err := f.Size()
	if err != nil {
		return err
	}
	found, err := scanSegment(f, seg.number, min(size, math.MaxUint32))
	if err != nil {
		return err
	}
	if found.header != nil && len(found.records) == 0 {
		return c.dropEmpty(seg, size)
	}
	if err := c.mend(f, seg.number, found, size); err != nil {
		return fmt.Errorf("segment %d: %w", seg.number, err)
	}
	c.take(seg, found)
	c.segments[seg.number] = seg
	c.unsealed = append(c.unsealed, seg)
	return nil
}

// dropEmpty removes a segment without a header and without a record: what a
// crash leaves of one that was being made. One that is too large for that is
// kept out of the way.
func (c *Chunks) dropEmpty(seg *segment, size int64) error {
	if size <= segmentHeaderSize+recordSize(MaxSealed) {
		return seg.handle.remove()
	}
	path := filepath.Join(c.dir, segmentName(seg.number))
	c.log.Error("segment has nothing that verifies, it is set aside", "segment", seg.number, "bytes", size)
	return c.files.rename(path, path+".damaged")
}

// mend cuts what does not verify off the end of a segment and writes anew what
// may not be on disk: a process that died may have had a flush fail, after
// which the kernel shows bytes that it will never write.
func (c *Chunks) mend(f file, number uint32, found *scan, size int64) error {
	if found.header != nil {
		header := segmentHeader{number: number}.append(nil)
		if _, err := f.WriteAt(header, 0); err != nil {
			return err
		}
	}
	if size > found.end {
		if err := f.Truncate(found.end); err != nil {
			return err
		}
	}
	if err := fillGaps(f, number, found); err != nil {
		return err
	}
	buf := make([]byte, min(1<<20, found.end-found.durable))
	for off := found.durable; off < found.end; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), found.end-off)]
		if err := readFull(f, buf, off); err != nil {
			return err
		}
		if _, err := f.WriteAt(buf, off); err != nil {
			return err
		}
	}
	return nil
}

// fillGaps makes fillers of the gaps that are no damage, lest they look like
// it when the segment is on disk beyond them.
func fillGaps(f file, number uint32, found *scan) error {
	for _, g := range found.bad {
		if found.damage(g) || g.length < recordHeaderSize {
			continue
		}
		r := record{filler: true, segment: number, offset: uint32(g.offset), length: uint32(g.length - recordHeaderSize)}
		if _, err := f.WriteAt(r.append(nil), g.offset); err != nil {
			return err
		}
	}
	return nil
}

// take fills a segment's memory map, from which its footer is made: with what
// verifies, and with what is damaged and has no good copy beside it, lest it be
// forgotten. Nothing counts as durable until the next flush.
func (c *Chunks) take(seg *segment, found *scan) {
	damaged := found.damaged()
	seg.mem = make(map[ID]span, len(found.records)+len(damaged))
	seg.size, seg.durable, seg.marked = found.end, 0, found.marked
	seg.chunks, seg.bytes = 0, 0
	for _, r := range slices.Concat(damaged, found.records) {
		seg.mem[r.id] = span{offset: r.offset, length: r.length}
		seg.bytes += int64(r.length)
		seg.chunks++
	}
	for _, r := range damaged {
		c.damaged[seg.entry(r.id, span{r.offset, r.length})] = true
	}
	for _, g := range found.bad {
		if found.damage(g) {
			c.log.Error("segment has bytes that do not verify", "segment", seg.number, "offset", g.offset, "length", g.length)
		}
	}
}

// resumeLast goes on with the newest segment if it has no footer, and has
// those of older ones written.
func (c *Chunks) resumeLast() {
	for _, seg := range c.unsealed {
		if seg.number == c.lastSeg.Load() && seg.size < c.segmentSize {
			c.active = seg
		} else {
			c.enqueue(sealJob{seg: seg})
		}
	}
}

// replaceTable puts other tables in the place of one that is damaged. An error
// says that neither it nor they can be read for now; nothing is changed then.
func (c *Chunks) replaceTable(t *table, cause error) error {
	c.indexing.Lock()
	defer c.indexing.Unlock()
	err := c.replaceTableLocked(t, cause)
	if err == nil {
		return nil
	}
	c.log.Error("index table cannot be read and not be replaced", "err", err)
	if tellsDamage(err) { // what of its segments can be read has replaced it
		return nil
	}
	return err
}

// replaceTableLocked replaces a table by the footers of the segments it
// covers, or what reading them gives. The caller holds indexing.
func (c *Chunks) replaceTableLocked(t *table, cause error) error {
	c.mu.RLock()
	known := slices.Contains(c.tables, t)
	c.mu.RUnlock()
	if !known {
		return nil
	}
	if !tellsDamage(cause) {
		return cause
	}
	c.log.Error("index table is damaged, segments replace it", "table", t.run, "segments", len(t.covers), "err", cause)
	var with []*table
	var errs []error
	for _, cv := range t.covers {
		seg, _ := c.segmentOf(entry{segment: cv.segment})
		if seg == nil {
			continue
		}
		footer, err := c.reopen(seg, t.run != 0)
		if err != nil && !tellsDamage(err) {
			return err
		}
		if footer != nil {
			with = append(with, footer)
		}
		errs = append(errs, err)
	}
	c.swapTables([]*table{t}, with)
	if t.run != 0 {
		errs = append(errs, t.handle.remove())
	}
	c.kickSeal()
	return errors.Join(errs...)
}

// remakeFooter has a segment whose footer is bad read, and given a new one.
func (c *Chunks) remakeFooter(seg *segment, cause error) error {
	if !tellsDamage(cause) {
		return cause
	}
	c.log.Error("footer is damaged", "segment", seg.number, "err", cause)
	for _, t := range c.tablesNow() {
		if t.handle == seg.handle {
			return c.replaceTable(t, cause)
		}
	}
	c.indexing.Lock()
	defer c.indexing.Unlock()
	_, err := c.reopen(seg, false)
	c.kickSeal()
	return err
}

// reopen opens a segment's footer, or makes the segment an unsealed one by
// reading it if that is bad or not to be trusted.
func (c *Chunks) reopen(seg *segment, trust bool) (*table, error) {
	if trust {
		t, err := openFooter(&segment{number: seg.number, handle: seg.handle})
		if err == nil {
			err = c.takeDamage(t)
		}
		if err == nil {
			return t, nil
		}
		if !tellsDamage(err) {
			return nil, err
		}
		c.log.Error("footer is damaged", "segment", seg.number, "err", err)
	}
	f, err := seg.handle.acquire()
	if err != nil {
		return nil, err
	}
	defer seg.handle.release()
	found, err := scanSegment(f, seg.number, seg.size)
	if err != nil {
		return nil, err
	}
	c.unseal(seg, found)
	return nil, nil
}

// unseal gives a sealed segment a memory map again and queues it for a new
// footer.
func (c *Chunks) unseal(seg *segment, found *scan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seg.mem != nil {
		return
	}
	found.durable = found.end
	c.take(seg, found)
	c.unsealed = append(slices.Clone(c.unsealed), seg)
	slices.SortFunc(c.unsealed, func(a, b *segment) int { return int(a.number) - int(b.number) })
	c.enqueue(sealJob{seg: seg})
}
