package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// filled makes a closed data directory with sealed segments, merged tables and
// an unsealed tail.
func filled(t testing.TB) (dir string, all []chunk) {
	t.Helper()
	dir = newDir(t)
	s := mustOpen(t, dir, Options{SegmentSize: filledSegment})
	all = putMany(t, s.Chunks(), 150, 700)
	settle(t, s.Chunks())
	mustClose(t, s)
	return dir, all
}

const filledSegment = 8 << 10

func find(all []chunk, id ID) chunk {
	i := slices.IndexFunc(all, func(ch chunk) bool { return ch.id == id })
	return all[i]
}

func TestScrubRepairs(t *testing.T) {
	dir, all := filled(t)
	segments, _ := filepath.Glob(filepath.Join(dir, chunksDir, "*.seg"))
	flip(t, segments[1], segmentHeaderSize+100) // in a chunk
	flip(t, segments[2], segmentHeaderSize+20)  // in a record header
	flip(t, segments[3], filledSegment+100)     // in a footer
	flip(t, onlyOf(t, filepath.Join(dir, indexDir, "*.tab")), 500)
	s := mustOpen(t, dir, Options{SegmentSize: filledSegment})
	defer mustClose(t, s)
	c := s.Chunks()
	ctx := context.Background()

	got, err := c.Scrub(ctx, ScrubOptions{})
	if err != nil || len(got.Damaged) != 1 || got.Repaired != 0 || got.Chunks < 150 || got.Next != 0 {
		t.Fatalf("%+v %v", got, err)
	}
	if ids := c.Damaged(); !slices.Equal(ids, got.Damaged) {
		t.Errorf("damaged: %v, scrub said %v", ids, got.Damaged)
	}
	if c.Has(got.Damaged[0]) {
		t.Error("damaged chunk counts as present")
	}
	got, err = c.Scrub(ctx, ScrubOptions{
		Repair: func(context.Context, ID) ([]byte, error) { return newChunk(1e6, 1000).sealed, nil },
	})
	if err != nil || got.Repaired != 0 || len(c.Damaged()) != 1 {
		t.Fatalf("another chunk's bytes are a repair: %+v %v", got, err)
	}
	calls := 0
	got, err = c.Scrub(ctx, ScrubOptions{
		Repair:   func(_ context.Context, id ID) ([]byte, error) { return find(all, id).sealed, nil },
		Progress: func(ScrubProgress) { calls++ },
	})
	if err != nil || len(got.Damaged) != 1 || got.Repaired != 1 || calls == 0 {
		t.Fatalf("%+v %v", got, err)
	}
	if ids := c.Damaged(); len(ids) != 0 {
		t.Errorf("still damaged: %v", ids)
	}
	for _, ch := range all {
		mustGet(t, c, ch)
	}
	if got, err := c.Scrub(ctx, ScrubOptions{}); err != nil || len(got.Damaged) != 0 {
		t.Errorf("after repair: %+v %v", got, err)
	}
}

// TestScrubRepairsTail: what opening found damaged is in no table, and counts
// as all other damage does.
func TestScrubRepairsTail(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{})
	all := putMany(t, s.Chunks(), 3, 100)
	mustClose(t, s)
	flip(t, onlyOf(t, filepath.Join(dir, chunksDir, "*.seg")), segmentHeaderSize+recordSize(100)+recordHeaderSize+10)
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	c := s.Chunks()
	for _, sealed := range []bool{false, true} {
		if sealed {
			settle(t, c)
		}
		got, err := c.Scrub(t.Context(), ScrubOptions{})
		if err != nil || got.Chunks != 3 || !slices.Equal(got.Damaged, []ID{all[1].id}) {
			t.Errorf("sealed %v: %+v %v", sealed, got, err)
		}
	}
	got, err := c.Scrub(t.Context(), ScrubOptions{Repair: func(_ context.Context, id ID) ([]byte, error) { return find(all, id).sealed, nil }})
	if err != nil || got.Repaired != 1 || len(c.Damaged()) != 0 {
		t.Errorf("%+v, still damaged: %v, %v", got, c.Damaged(), err)
	}
	mustGet(t, c, all[1])
}

func onlyOf(t testing.TB, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	return paths[0]
}

// TestScrubResumes cuts a scrub short and goes on.
func TestScrubResumes(t *testing.T) {
	dir, all := filled(t)
	s := mustOpen(t, dir, Options{SegmentSize: filledSegment})
	defer mustClose(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	part, err := s.Chunks().Scrub(ctx, ScrubOptions{Progress: func(p ScrubProgress) {
		if p.Done == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || part.Next == 0 {
		t.Fatalf("%+v %v", part, err)
	}
	rest, err := s.Chunks().Scrub(context.Background(), ScrubOptions{From: part.Next})
	if err != nil || part.Chunks+rest.Chunks < int64(len(all)) || rest.Chunks == int64(len(all)) {
		t.Errorf("%d and %d of %d chunks: %v", part.Chunks, rest.Chunks, len(all), err)
	}
}

// TestCollectKeepsDamaged: a segment whose live chunk is damaged stays, until
// it has been repaired.
func TestCollectKeepsDamaged(t *testing.T) {
	dir, all := filled(t)
	segments, _ := filepath.Glob(filepath.Join(dir, chunksDir, "*.seg"))
	flip(t, segments[0], segmentHeaderSize+100)
	s := mustOpen(t, dir, Options{SegmentSize: filledSegment})
	defer mustClose(t, s)
	ctx := context.Background()
	got, err := s.Chunks().Collect(ctx, markAll(all[:1]), CollectOptions{MinDead: 1e-9})
	if err != nil || got.Stuck != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := s.Chunks().Get(ctx, all[0].id, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	mustPut(t, s.Chunks(), all[0])
	got, err = s.Chunks().Collect(ctx, markAll(all[:1]), CollectOptions{MinDead: 1e-9})
	if err != nil || got.Stuck != 0 {
		t.Fatalf("%+v %v", got, err)
	}
	mustGet(t, s.Chunks(), all[0])
}

func mustCheck(t testing.TB, dir string) []Fault {
	t.Helper()
	faults, err := Check(context.Background(), dir, CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

func TestCheckSound(t *testing.T) {
	dir, _ := filled(t)
	if faults := mustCheck(t, dir); len(faults) != 0 {
		t.Errorf("faults in a sound directory: %v", faults)
	}
	s := mustOpen(t, dir, Options{})
	if _, err := Check(context.Background(), dir, CheckOptions{}); !errors.Is(err, ErrLocked) {
		t.Errorf("checked while open: %v", err)
	}
	mustClose(t, s)
}

// TestCheckNamesFlips flips bits all over and expects each to be named.
func TestCheckNamesFlips(t *testing.T) {
	dir, _ := filled(t)
	paths, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
	for _, path := range paths {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for off := 1; off < len(whole); off += max(len(whole)/9, 7) {
			if isPadding(whole, off) {
				continue
			}
			flip(t, path, int64(off))
			faults := mustCheck(t, dir)
			// The mark at the end of an unsealed tail may as well be torn.
			tail := off >= len(whole)-recordHeaderSize && !bytes.Contains(whole, tableMagic[:])
			if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Path == path }) && !tail {
				t.Errorf("%s at %d: not found among %v", filepath.Base(path), off, faults)
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, chunksDir, "stray"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if faults := mustCheck(t, dir); len(faults) != 1 || !strings.Contains(faults[0].String(), "stray") {
		t.Errorf("%v", faults)
	}
}

// isPadding says that the byte lies in a run of zeros, which nothing reads.
func isPadding(b []byte, off int) bool {
	lo, hi := max(0, off-8), min(len(b), off+8)
	return bytes.Count(b[lo:hi], []byte{0}) == hi-lo
}

func TestReindex(t *testing.T) {
	dir, all := filled(t)
	flip(t, onlyOf(t, filepath.Join(dir, indexDir, "*.tab")), 500)
	if err := Reindex(context.Background(), dir, Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if faults := mustCheck(t, dir); len(faults) != 0 {
		t.Errorf("%v", faults)
	}
	s := mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	if err := Reindex(context.Background(), dir, Options{}, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("reindexed while open: %v", err)
	}
	for _, ch := range all {
		mustGet(t, s.Chunks(), ch)
	}
}

// TestScrubChecksHeaders: the header of a record is checked against the index
// and the bytes, also where its own checksum is right, and the chunk gets one
// that is good.
func TestScrubChecksHeaders(t *testing.T) {
	for name, change := range map[string]func(r *record){
		"ID":       func(r *record) { r.id[0]++ },
		"length":   func(r *record) { r.length++ },
		"checksum": func(r *record) { r.dataCRC++ },
	} {
		fs := newFaultFiles()
		c := simChunks(t, fs, 16<<10)
		all := putMany(t, c, 2, 500)
		head := fs.Files[c.dir+"/"+segmentName(1)].Seen[segmentHeaderSize:][:recordHeaderSize]
		r, err := parseRecord(head, 1, segmentHeaderSize)
		if err != nil {
			t.Fatal(err)
		}
		change(&r)
		copy(head, r.append(nil))
		got, err := c.Scrub(t.Context(), ScrubOptions{})
		if err != nil || len(got.Damaged) != 0 || c.Stats().Damaged != 1 || c.Stats().Chunks != 3 {
			t.Errorf("%s: %+v, %+v, %v", name, got, c.Stats(), err)
		}
		mustGet(t, c, all[0])
	}
}

// TestScrubBesideCollection: a segment that a collection removes while it is
// read is not damaged.
func TestScrubBesideCollection(t *testing.T) {
	fs := readHooked{newFaultFiles(), new(func())}
	c := simChunks(t, fs, 16<<10)
	all := putMany(t, c, 4, 500)
	told := 0
	c.onDamage = func(ID) { told++ }
	*fs.read = func() {
		*fs.read = nil
		if got, err := c.Collect(t.Context(), markAll(all[:3]), CollectOptions{MinDead: 1e-9}); err != nil || got.Done != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	got, err := c.Scrub(t.Context(), ScrubOptions{})
	if err != nil || len(got.Damaged) != 0 || told != 0 || c.Stats().Damaged != 0 {
		t.Errorf("%+v, told %d times, %d damaged, %v", got, told, c.Stats().Damaged, err)
	}
}
