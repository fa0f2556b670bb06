package store

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestNumbersAreNotGivenAgain: the segment with the highest number is removed,
// and a merged table still has its entries when the store is opened again. Were
// the number given to another segment, they would point into that.
func TestNumbersAreNotGivenAgain(t *testing.T) {
	fs := newFaultFiles()
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	var last chunk
	for i := range mergeFanIn {
		last = newChunk(uint64(i), 1000)
		mustPut(t, c, last)
		mustSync(t, c)
		if err := c.sealActive(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.mergeTables(context.Background()); err != nil || c.Stats().Tables != 1 {
		t.Fatalf("%d tables, %v", c.Stats().Tables, err)
	}
	highest := c.lastSeg.Load()
	if err := c.removeSegment(c.segments[highest]); err != nil {
		t.Fatal(err)
	}
	halt(c)
	c, err = openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	if c.Has(last.id) {
		t.Error("a chunk of a segment that was removed is there")
	}
	mustPut(t, c, newChunk(100, 1000))
	if c.active.number <= highest {
		t.Errorf("segment %d was removed, and the next is %d", highest, c.active.number)
	}
	if c.Has(last.id) {
		t.Error("an old entry points into the new segment")
	}
}

// TestGetBesideCollection: a chunk that a collection moves while it is being
// read is found where it is then.
func TestGetBesideCollection(t *testing.T) {
	c := simChunks(t, newFaultFiles(), 16<<10)
	all := putMany(t, c, 8, 1000)
	moved := false
	got, err := c.get(context.Background(), all[3].id, nil, func(seg *segment, dst []byte, e entry) ([]byte, error) {
		if !moved {
			moved = true
			if p, err := c.Collect(context.Background(), markAll(all[3:4]), CollectOptions{}); err != nil || p.Done != 1 {
				t.Fatalf("%+v, %v", p, err)
			}
		}
		return readVerified(seg, dst, e)
	})
	if err != nil || !bytes.Equal(got, all[3].sealed) {
		t.Error(err)
	}
}

// TestSegmentIsMended: nothing that a crash left stands behind what is appended
// after it, and a header that does not verify is written anew.
func TestSegmentIsMended(t *testing.T) {
	fs := newFaultFiles()
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	putMany(t, c, 2, 1000)
	f, err := c.active.handle.acquire()
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte("torn"), 1000), c.active.size)
		_, damage := f.WriteAt([]byte{0xff}, segmentHeaderSize-1)
		err = errors.Join(err, damage)
		c.active.handle.release()
	}
	if err != nil {
		t.Fatal(err)
	}
	halt(c)
	if c, err = openSim(fs); err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	if f, err = c.active.handle.acquire(); err != nil {
		t.Fatal(err)
	}
	defer c.active.handle.release()
	if size, err := f.Size(); err != nil || size != c.active.size {
		t.Errorf("a file of %d bytes for a segment of %d: %v", size, c.active.size, err)
	}
	head := make([]byte, segmentHeaderSize)
	if err := readFull(f, head, 0); err != nil {
		t.Fatal(err)
	}
	if h, err := parseSegmentHeader(head, c.active.number); err != nil {
		t.Errorf("header %+v: %v", h, err)
	}
}

// TestSegmentSetAside: a large file in which nothing verifies is kept.
func TestSegmentSetAside(t *testing.T) {
	fs := newFaultFiles()
	path := filepath.Join("d", chunksDir, segmentName(5))
	f, err := fs.create(path)
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte("other"), 1<<19), 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	if fs.Files[path+".damaged"] == nil || c.Stats().Segments != 0 {
		t.Errorf("it is gone, or one of %d segments", c.Stats().Segments)
	}
}

// TestSegmentReadAnew: a segment with a bad footer counts for what it has, once.
func TestSegmentReadAnew(t *testing.T) {
	c, err := openSim(newFaultFiles())
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	putMany(t, c, 3, 1000)
	if err := c.sealActive(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := c.Stats()
	if err := c.remakeFooter(c.segments[1], ErrDamaged); err != nil {
		t.Fatal(err)
	}
	if after := c.Stats(); after.Chunks != before.Chunks || after.Bytes != before.Bytes {
		t.Errorf("%+v became %+v", before, after)
	}
}

// TestSegmentInDoubtIsWrittenAnew: of a process whose flush failed, the next one
// finds chunks that can be read and are not on disk. It writes them anew, so that
// its own flush means what it says.
func TestSegmentInDoubtIsWrittenAnew(t *testing.T) {
	lost := 0
	for n := range uint64(20) {
		fs := newFaultFiles()
		f := failFlushes(fs)
		c, err := openSim(fs)
		if err != nil {
			t.Fatal(err)
		}
		a := newChunk(n, 2000+int(n)*100)
		mustPut(t, c, a)
		f.on = true
		if err := c.Sync(context.Background()); !errors.Is(err, ErrFailed) {
			t.Fatal(err)
		}
		f.on = false
		halt(c)
		if !hasAfterCrash(t, fs, a) {
			lost++
		}
		if c, err = openSim(fs); err != nil {
			t.Fatal(err)
		}
		mustPut(t, c, a)
		mustSync(t, c)
		halt(c)
		if !hasAfterCrash(t, fs, a) {
			t.Fatalf("chunk %d was flushed, and a crash took it", n)
		}
	}
	if lost == 0 {
		t.Error("no flush that failed has lost anything")
	}
}

// hasAfterCrash says whether a store has a chunk when the power has failed.
func hasAfterCrash(t *testing.T, fs faultFiles, a chunk) bool {
	t.Helper()
	fs.Mu.Lock()
	disk := fs.Crash(rand.New(rand.NewPCG(1, 1)))
	fs.Mu.Unlock()
	c, err := openSim(faultFiles{disk})
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	return c.Has(a.id)
}

// TestGapBecomesFiller: a write that a crash took from between two others is no
// damage, also when what was appended behind it says that all before it was on
// disk.
func TestGapBecomesFiller(t *testing.T) {
	fs := newFaultFiles()
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	all := []chunk{newChunk(1, 500), newChunk(2, 500), newChunk(3, 500)}
	mustPut(t, c, all[0])
	mustSync(t, c)
	from := c.active.size
	mustPut(t, c, all[1])
	to := c.active.size
	mustPut(t, c, all[2])
	f, err := c.active.handle.acquire()
	if err == nil {
		_, err = f.WriteAt(make([]byte, to-from), from)
		c.active.handle.release()
	}
	if err != nil {
		t.Fatal(err)
	}
	halt(c)
	for n := range uint64(2) { // what each leaves is good for the next
		if c, err = openSim(fs); err != nil {
			t.Fatal(err)
		}
		if !c.Has(all[0].id) || c.Has(all[1].id) || !c.Has(all[2].id) {
			t.Error("not just the chunk that was lost is gone")
		}
		mustSync(t, c)
		mustPut(t, c, newChunk(10+n, 500))
		mustSync(t, c)
		found := scanned(t, c.active)
		if len(found.bad) > 0 {
			t.Errorf("damage: %+v, on disk up to %d", found.bad, found.durable)
		}
		halt(c)
	}
}

// scanned reads a segment as recovery does.
func scanned(t *testing.T, seg *segment) *scan {
	t.Helper()
	f, err := seg.handle.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer seg.handle.release()
	found, err := scanSegment(f, seg.number, seg.size)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestCloseMarks: a store that was closed says of its tail that all of it is on
// disk, which is on disk too; it does not say so where a flush failed.
func TestCloseMarks(t *testing.T) {
	for _, works := range []bool{true, false} {
		fs := newFaultFiles()
		f := failFlushes(fs)
		c, err := openSim(fs)
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, c, newChunk(1, 1000))
		f.on = !works
		if err := c.close(); (err == nil) != works {
			t.Fatalf("flushes work %v: %v", works, err)
		}
		path := c.dir + "/" + segmentName(1)
		for seed := range uint64(10) {
			left := faultFiles{fs.Crash(rand.New(rand.NewPCG(seed, 3)))}
			if works && left.Files[path] == nil {
				t.Fatal("the segment is gone")
			} else if left.Files[path] == nil {
				continue
			}
			seg := &segment{number: 1, handle: (&handles{files: left, max: 1}).add(path, nil), size: int64(len(left.Files[path].Seen))}
			if found := scanned(t, seg); found.marked != works {
				t.Errorf("flushes work %v, crash %d: marked %v", works, seed, found.marked)
			}
		}
	}
}
