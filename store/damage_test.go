package store

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// damagedTail makes a closed data directory with one unsealed segment of six
// chunks of which the second and the two behind it do not verify.
func damagedTail(t *testing.T) (dir string, all []chunk, damaged []ID) {
	t.Helper()
	dir = newDir(t)
	s := mustOpen(t, dir, Options{})
	all = putMany(t, s.Chunks(), 6, 100)
	mustClose(t, s)
	path := onlyOf(t, filepath.Join(dir, chunksDir, "*.seg"))
	for i := range int64(3) {
		flip(t, path, segmentHeaderSize+(1+i)*recordSize(100)+recordHeaderSize+10)
		damaged = append(damaged, all[1+i].id)
	}
	slices.SortFunc(damaged, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	return dir, all, damaged
}

// TestDamageOutlastsFooter: what was found damaged before the segment got its
// footer stays known, through footers, merged tables and restarts, until there
// is a good copy.
func TestDamageOutlastsFooter(t *testing.T) {
	dir, all, damaged := damagedTail(t)
	for _, stage := range []string{"tail", "sealed", "opened", "merged", "merged and opened", "table damaged"} {
		if stage == "table damaged" {
			flip(t, onlyOf(t, filepath.Join(dir, indexDir, "*.tab")), 500)
		}
		s := mustOpen(t, dir, Options{})
		c := s.Chunks()
		switch stage {
		case "sealed":
			if err := c.sealActive(t.Context()); err != nil {
				t.Fatal(err)
			}
		case "merged":
			mergeMany(t, c)
		}
		if got := c.Damaged(); !slices.Equal(got, damaged) {
			t.Errorf("%s: %d of %d damaged chunks are known", stage, len(got), len(damaged))
		}
		for _, id := range damaged {
			if _, err := c.Get(t.Context(), id, nil); !errors.Is(err, ErrDamaged) || c.Has(id) {
				t.Errorf("%s: counts as there %v, %v", stage, c.Has(id), err)
			}
		}
		mustGet(t, c, all[0])
		mustGet(t, c, all[5])
		got, err := c.Scrub(t.Context(), ScrubOptions{})
		if err != nil || len(got.Damaged) != len(damaged) {
			t.Errorf("%s: %+v, %v", stage, got, err)
		}
		mustClose(t, s)
		for _, id := range damaged {
			if !slices.ContainsFunc(mustCheck(t, dir), func(f Fault) bool { return strings.Contains(f.String(), id.String()) }) {
				t.Errorf("%s: check does not name %v", stage, id)
			}
		}
	}
	s := mustOpen(t, dir, Options{})
	c := s.Chunks()
	if !mustPut(t, c, find(all, damaged[0])) {
		t.Error("a good copy is taken for one that is here")
	}
	got, err := c.Scrub(t.Context(), ScrubOptions{Repair: func(_ context.Context, id ID) ([]byte, error) { return find(all, id).sealed, nil }})
	if err != nil || got.Repaired != 2 || len(c.Damaged()) != 0 {
		t.Errorf("%+v, still damaged: %v, %v", got, c.Damaged(), err)
	}
	mustClose(t, s)
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	for _, ch := range all {
		mustGet(t, s.Chunks(), ch)
	}
	if left := s.Chunks().Damaged(); len(left) != 0 {
		t.Errorf("repaired, and damaged when it is opened again: %v", left)
	}
}

// mergeMany adds segments until their tables are merged.
func mergeMany(t *testing.T, c *Chunks) {
	t.Helper()
	for i := range uint64(mergeFanIn) {
		mustPut(t, c, newChunk(1000+i, 100))
		if err := c.sealActive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.mergeTables(t.Context()); err != nil || c.Stats().Tables > 2 {
		t.Fatalf("%d tables, %v", c.Stats().Tables, err)
	}
}

// TestDamageIsNotInDoubt: a flush that fails puts nothing in doubt that was
// damaged before, and a later Sync does not fail for its sake.
func TestDamageIsNotInDoubt(t *testing.T) {
	fs := newFaultFiles()
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	all := putMany(t, c, 3, 500)
	mustSync(t, c)
	if err := c.mark(); err != nil {
		t.Fatal(err)
	}
	halt(c)
	for _, n := range fs.Files {
		n.Seen[segmentHeaderSize+recordSize(500)+recordHeaderSize+10] ^= 1
	}
	if c, err = openSim(fs); err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	f := failFlushes(fs)
	f.on = true
	if err := c.Sync(t.Context()); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	f.on = false
	mustSync(t, c)
	mustGet(t, c, all[0])
	if got := c.Damaged(); !slices.Equal(got, []ID{all[1].id}) {
		t.Errorf("damaged: %v", got)
	}
}

// TestScrubTakesDamageBack: a chunk that could not be read for a time is good
// when a scrub has read it.
func TestScrubTakesDamageBack(t *testing.T) {
	fs := newFaultFiles()
	f := &failing{call: "read", suffix: ".seg", err: syscall.EIO, on: true}
	c := simChunks(t, fs, 16<<10)
	all := putMany(t, c, 2, 500)
	fs.Fail = f.fail
	if _, err := c.Get(t.Context(), all[0].id, nil); !errors.Is(err, syscall.EIO) || c.Has(all[0].id) {
		t.Fatalf("there %v, %v", c.Has(all[0].id), err)
	}
	f.on = false
	got, err := c.Scrub(t.Context(), ScrubOptions{})
	if err != nil || len(got.Damaged) != 0 || !c.Has(all[0].id) {
		t.Errorf("there %v, %+v, %v", c.Has(all[0].id), got, err)
	}
}

// TestTableTellsDamage holds the flag of a damaged entry to its place.
func TestTableTellsDamage(t *testing.T) {
	var b writeBuffer
	tw := newTableWriter(&b, 0, 2, []cover{{segment: 1, end: 1000}})
	first := entry{id: ID{1}, segment: 1, offset: 64, length: 100}
	second := entry{id: ID{2}, segment: 1, offset: 256, length: 100}
	for _, e := range []entry{first, second} {
		if err := tw.add(e, e == second); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tw.finish(); err != nil {
		t.Fatal(err)
	}
	if b[blockHeaderSize+36] != 64 || b[blockHeaderSize+entrySize+36] != 1 || b[len(b)-tableTrailerSize+44] != 1 {
		t.Error("not the second entry's offset has bit 0, or the trailer does not count it")
	}
	if e := parseEntry(b[blockHeaderSize+entrySize:]); e != second {
		t.Errorf("read back: %+v", e)
	}
}

type writeBuffer []byte

func (b *writeBuffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// TestDamageEndsWithSegment: of a damaged chunk that nobody needs nothing is
// remembered when a collection has removed its segment.
func TestDamageEndsWithSegment(t *testing.T) {
	fs := newFaultFiles()
	c := simChunks(t, fs, 16<<10)
	all := putMany(t, c, 3, 500)
	fs.Files[c.dir+"/"+segmentName(1)].Seen[segmentHeaderSize+recordHeaderSize+10] ^= 1
	if _, err := c.Get(t.Context(), all[0].id, nil); !errors.Is(err, ErrDamaged) || c.Stats().Damaged != 1 {
		t.Fatalf("%d damaged, %v", c.Stats().Damaged, err)
	}
	got, err := c.Collect(t.Context(), markAll(all[2:]), CollectOptions{})
	if err != nil || got.Done != 1 || c.Stats().Damaged != 0 {
		t.Errorf("%+v, %d damaged, %v", got, c.Stats().Damaged, err)
	}
}

// TestCheckTellsDamageOnce: a damaged chunk that a record, a footer and a merged
// table tell of is one fault; it is a note when there is a good copy, and is
// gone when a collection has been there, however little was dead.
func TestCheckTellsDamageOnce(t *testing.T) {
	for name, at := range map[string]int64{"bytes": segmentHeaderSize + 100, "header": segmentHeaderSize + 20} {
		t.Run(name, func(t *testing.T) {
			dir, all := filled(t)
			flip(t, onlyOf(t, filepath.Join(dir, chunksDir, "*.seg")), at)
			id := all[0].id.String()
			faults, notes := checkNotes(t, dir)
			if len(faults) != 1 || !strings.Contains(faults[0].String(), id) || len(notes) != 0 {
				t.Fatalf("faults %v, notes %v", faults, notes)
			}
			s := mustOpen(t, dir, Options{SegmentSize: filledSegment})
			repaired, err := s.Chunks().Scrub(t.Context(), ScrubOptions{Repair: func(_ context.Context, id ID) ([]byte, error) { return find(all, id).sealed, nil }})
			if err != nil || len(s.Chunks().Damaged()) != 0 {
				t.Fatalf("%+v, %v", repaired, err)
			}
			mustClose(t, s)
			faults, notes = checkNotes(t, dir)
			if len(faults) != 0 || len(notes) != 1 || !strings.Contains(notes[0].String(), id) {
				t.Fatalf("repaired: faults %v, notes %v", faults, notes)
			}
			s = mustOpen(t, dir, Options{SegmentSize: filledSegment})
			if _, err := s.Chunks().Scrub(t.Context(), ScrubOptions{}); err != nil {
				t.Fatal(err)
			}
			got, err := s.Chunks().Collect(t.Context(), markAll(all), CollectOptions{})
			if err != nil || got.Done != 1 || got.Stuck != 0 || got.Dead != 0 {
				t.Errorf("%+v, %v", got, err)
			}
			for _, ch := range all {
				mustGet(t, s.Chunks(), ch)
			}
			mustClose(t, s)
			if faults, notes = checkNotes(t, dir); len(faults)+len(notes) != 0 {
				t.Errorf("collected: faults %v, notes %v", faults, notes)
			}
		})
	}
}

// checkNotes is mustCheck that returns the notes, too.
func checkNotes(t *testing.T, dir string) (faults, notes []Fault) {
	t.Helper()
	faults, err := Check(t.Context(), dir, CheckOptions{Note: func(f Fault) { notes = append(notes, f) }})
	if err != nil {
		t.Fatal(err)
	}
	return faults, notes
}

// TestCollectLeavesNeeded: a segment whose damaged chunk is needed and has no
// good copy is not read again and again for the sake of another one in it.
func TestCollectLeavesNeeded(t *testing.T) {
	dir, all, damaged := damagedTail(t)
	s := mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	c := s.Chunks()
	mustPut(t, c, find(all, damaged[0]))
	for range 2 {
		got, err := c.Collect(t.Context(), markAll(all), CollectOptions{})
		if err != nil || got.Segments != 0 || got.Copied != 0 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	got, err := c.Collect(t.Context(), markAll(append(all[:1:1], find(all, damaged[0]), all[4], all[5])), CollectOptions{MinDead: 0.9})
	if err != nil || got.Done == 0 || got.Stuck != 0 || c.Stats().Damaged != 0 {
		t.Errorf("the others are dead: %+v, %d damaged, %v", got, c.Stats().Damaged, err)
	}
}

// TestNoDamageWithoutLooking: an error of reading that says nothing of the
// bytes is told as what it is and makes no chunk a damaged one.
func TestNoDamageWithoutLooking(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR} {
		t.Run(errno.Error(), func(t *testing.T) {
			fs := newFaultFiles()
			c := simChunks(t, fs, 16<<10)
			all := putMany(t, c, 40, 500)
			settle(t, c)
			fail := failReads(fs, segmentName(1), errno)
			refused := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, errno) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotFound) {
					t.Errorf("%s: %v", what, err)
				}
			}
			fail(true)
			_, err := c.Get(t.Context(), all[0].id, nil)
			refused("get", err)
			_, err = c.Stored(t.Context(), all[0].id, nil)
			refused("stored", err)
			got, err := c.Scrub(t.Context(), ScrubOptions{})
			refused("scrub", err)
			if len(got.Damaged) != 0 {
				t.Errorf("scrub: %+v", got)
			}
			_, err = c.Collect(t.Context(), markAll(all[:1]), CollectOptions{})
			refused("collect", err)
			fail(false)
			if n := c.Stats().Damaged; n != 0 || !c.Has(all[0].id) {
				t.Errorf("%d damaged, there %v", n, c.Has(all[0].id))
			}
			for _, ch := range all {
				mustGet(t, c, ch)
			}
			if got, err := c.Collect(t.Context(), markAll(all[:1]), CollectOptions{}); err != nil || got.Stuck != 0 {
				t.Errorf("collect again: %+v, %v", got, err)
			}
			mustGet(t, c, all[0])
		})
	}
}

// TestIndexUnread: a table that cannot be read for a time stays, and no chunk is
// taken for one that is not here, lest a collection free what it leads to.
func TestIndexUnread(t *testing.T) {
	for _, suffix := range []string{".tab", ".seg"} {
		t.Run(suffix, func(t *testing.T) {
			fs := newFaultFiles()
			c := simChunks(t, fs, filledSegment)
			all := putMany(t, c, 150, 700)
			settle(t, c)
			before := c.Stats()
			fail := failReads(fs, suffix, syscall.EMFILE)
			fail(true)
			unread := 0
			for _, ch := range all {
				_, err := c.Get(t.Context(), ch.id, nil)
				if err != nil {
					unread++
				}
				if err != nil && (!errors.Is(err, syscall.EMFILE) || errors.Is(err, ErrDamaged)) {
					t.Fatalf("get: %v", err)
				}
			}
			if unread == 0 {
				t.Fatal("nothing fails")
			}
			if _, err := c.Scrub(t.Context(), ScrubOptions{}); !errors.Is(err, syscall.EMFILE) {
				t.Errorf("scrub: %v", err)
			}
			if got, err := c.Collect(t.Context(), markAll(all[:1]), CollectOptions{}); !errors.Is(err, syscall.EMFILE) || got.Freed != 0 {
				t.Errorf("collect: %+v, %v", got, err)
			}
			fail(false)
			if now := c.Stats(); now.Chunks < before.Chunks || now.Damaged != 0 {
				t.Errorf("%+v, before %+v", now, before)
			}
			for _, ch := range all {
				mustGet(t, c, ch)
			}
		})
	}
}

// failReads returns what has reads of a file fail, or no longer.
func failReads(fs faultFiles, suffix string, err error) func(on bool) {
	f := &failing{call: "read", suffix: suffix, err: err}
	return func(on bool) {
		fs.Mu.Lock()
		defer fs.Mu.Unlock()
		f.on, fs.Fail = on, f.fail
	}
}
