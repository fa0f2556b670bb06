package store

import (
	"bytes"
	"context"
	"errors"
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
