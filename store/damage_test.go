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
