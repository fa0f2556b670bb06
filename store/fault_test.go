package store

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"bazil/store/faultfs"
)

// failing makes calls of one kind on paths with a suffix fail while on is true.
type failing struct {
	call, suffix string
	err          error
	on           bool
}

func (f *failing) fail(call, path string) error {
	if f.on && call == f.call && strings.HasSuffix(path, f.suffix) {
		return &os.PathError{Op: call, Path: path, Err: f.err}
	}
	return nil
}

// failFlushes has flushes of segments fail while on is true.
func failFlushes(fs faultFiles) *failing {
	f := &failing{call: "sync", suffix: ".seg", err: syscall.EIO}
	fs.Fail = f.fail
	return f
}

// TestFlushFails: who waits hears of it, the segment is given up, and what can
// be read is written elsewhere, so that a later Sync means what it says.
func TestFlushFails(t *testing.T) {
	fs := newFaultFiles()
	f := failFlushes(fs)
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	a, b := newChunk(1, 500), newChunk(2, 500)
	mustPut(t, c, a)
	fs.Mu.Lock()
	f.on = true
	fs.Mu.Unlock()
	if err := c.Sync(context.Background()); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	if c.Has(a.id) {
		t.Error("a chunk in doubt counts as present")
	}
	mustPut(t, c, b)
	if c.active.number == 1 {
		t.Error("appended to a failed segment")
	}
	if err := c.Sync(context.Background()); !errors.Is(err, ErrFailed) {
		t.Fatalf("second sync: %v", err)
	}
	fs.Mu.Lock()
	f.on = false
	fs.Mu.Unlock()
	mustSync(t, c)
	mustGet(t, c, a)
	mustGet(t, c, b)
	if n := c.Stats().Doubtful; n != 0 {
		t.Errorf("%d chunks in doubt", n)
	}
}

// TestFlushFailsAndForgets: what cannot be read any more keeps Sync failing
// until it is stored again.
func TestFlushFailsAndForgets(t *testing.T) {
	fs := newFaultFiles()
	f := failFlushes(fs)
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	a := newChunk(1, 3000)
	mustPut(t, c, a)
	f.on = true
	if err := c.Sync(context.Background()); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	f.on = false
	for _, n := range fs.Files {
		n.Seen = n.Seen[:0]
	}
	for range 2 {
		if err := c.Sync(context.Background()); !errors.Is(err, ErrFailed) {
			t.Fatalf("sync forgets what was lost: %v", err)
		}
	}
	if !mustPut(t, c, a) {
		t.Error("the lost chunk counts as present")
	}
	mustSync(t, c)
	mustGet(t, c, a)
}

// TestFlushFailsBesideWrite: a flush that fails between a write and the moment
// when the chunk is known puts that chunk in doubt as well.
func TestFlushFailsBesideWrite(t *testing.T) {
	fs := hookedFiles{faultFiles: newFaultFiles(), wrote: new(func())}
	f := failFlushes(fs.faultFiles)
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	a, b := newChunk(1, 500), newChunk(2, 500)
	mustPut(t, c, a)
	*fs.wrote = func() {
		*fs.wrote = nil
		f.on = true
		if err := c.Sync(context.Background()); !errors.Is(err, ErrFailed) {
			t.Errorf("sync: %v", err)
		}
		f.on = false
	}
	mustPut(t, c, b)
	mustSync(t, c)
	if !c.Has(a.id) || !c.Has(b.id) {
		t.Error("a chunk has no copy that lasts after a good flush")
	}
}

// hookedFiles calls wrote, if there is one, after each write to a segment.
type hookedFiles struct {
	faultFiles
	wrote *func()
}

func (fs hookedFiles) create(path string) (file, error) {
	f, err := fs.faultFiles.create(path)
	return hookedFile{f, fs.wrote}, err
}

type hookedFile struct {
	file
	wrote *func()
}

func (f hookedFile) WritePartsAt(parts [][]byte, off int64) error {
	err := f.file.WritePartsAt(parts, off)
	if hook := *f.wrote; hook != nil {
		hook()
	}
	return err
}

// TestDiskFull: writers hear ENOSPC, readers go on, and space brings it back.
func TestDiskFull(t *testing.T) {
	fs := newFaultFiles()
	f := &failing{call: "write", err: syscall.ENOSPC}
	fs.Fail = f.fail
	c := simChunks(t, fs, 16<<10)
	all := putMany(t, c, 10, 700)
	fs.Mu.Lock()
	f.on = true
	fs.Mu.Unlock()
	for range 3 {
		ch := newChunk(99, 700)
		if _, err := c.Put(context.Background(), ch.id, ch.sealed); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("put on a full disk: %v", err)
		}
		if c.Has(ch.id) {
			t.Error("what could not be written counts as present")
		}
		for _, ch := range all {
			mustGet(t, c, ch)
		}
		mustSync(t, c)
	}
	fs.Mu.Lock()
	f.on = false
	fs.Mu.Unlock()
	mustPut(t, c, newChunk(99, 700))
	mustSync(t, c)
	if n := c.Stats().Segments; n != 1 {
		t.Errorf("%d segments: the full one was not gone on with", n)
	}
}

// TestVersionsRefused: a segment, a record or a table of a later version is
// refused by name, not taken for damage.
func TestVersionsRefused(t *testing.T) {
	head := segmentHeader{number: 1}.append(nil)
	head[8] = 2
	putCRC(head)
	if _, err := parseSegmentHeader(head, 1); !errors.Is(err, ErrVersion) {
		t.Errorf("segment: %v", err)
	}
	ch := newChunk(1, 100)
	rec := record{id: ch.id, segment: 1, offset: 64, length: 100}.append(nil)
	rec[24] = 9
	putCRC(rec)
	if _, err := parseRecord(rec, 1, 64); !errors.Is(err, ErrVersion) {
		t.Errorf("record: %v", err)
	}
	trail := tableTrailer{}.append(nil)
	trail[8] = 2
	putCRC(trail)
	if _, err := parseTableTrailer(trail, 64); !errors.Is(err, ErrVersion) {
		t.Errorf("table: %v", err)
	}

	fs := newFaultFiles()
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, c, ch)
	mustSync(t, c)
	halt(c)
	for _, n := range fs.Files {
		copy(n.Seen, head)
	}
	if _, err := openSim(fs); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "segment 1") {
		t.Errorf("open: %v", err)
	}
}

// putCRC gives a header of 64 bytes the CRC of its present content.
func putCRC(b []byte) {
	sum := crc(b[:60])
	b[60], b[61], b[62], b[63] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
}

// FuzzSegment opens stores whose only segment is any bytes.
func FuzzSegment(f *testing.F) {
	fs := newFaultFiles()
	c, err := openSim(fs)
	if err != nil {
		f.Fatal(err)
	}
	for i := range uint64(4) {
		if _, err := c.Put(context.Background(), newChunk(i, 100).id, newChunk(i, 100).sealed); err != nil {
			f.Fatal(err)
		}
	}
	path := c.dir + "/" + segmentName(1)
	f.Add(append([]byte(nil), fs.Files[path].Seen...))
	if err := c.sealActive(context.Background()); err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte(nil), fs.Files[path].Seen...))
	halt(c)
	f.Add([]byte("bazilseg"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := newFaultFiles()
		fs.Files[path] = faultfs.NewNode(b)
		c, err := openSim(fs)
		if err != nil {
			return
		}
		defer halt(c)
		for id := range c.knownIDs() {
			if sealed, err := c.Get(context.Background(), id, nil); err == nil && VerifyID(id, sealed) != nil {
				t.Fatal("serves what does not verify")
			}
		}
		mustPut(t, c, newChunk(77, 100))
		mustSync(t, c)
		mustGet(t, c, newChunk(77, 100))
	})
}

func (c *Chunks) knownIDs() map[ID]bool {
	ids := map[ID]bool{}
	for _, seg := range c.unsealed {
		for id := range seg.mem {
			ids[id] = true
		}
	}
	for _, t := range c.tables {
		t.each(func(e entry) bool { ids[e.id] = true; return true })
	}
	return ids
}

// FuzzTable opens any bytes as a merged table.
func FuzzTable(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add(make([]byte, 200), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, entries uint64) {
		fs := newFaultFiles()
		trail := tableTrailer{entries: entries, start: 0, blocks: uint32(len(b) / blockSize), summaryCRC: crc(b[len(b)/blockSize*blockSize:])}
		for _, whole := range [][]byte{b, trail.append(append([]byte(nil), b...))} {
			fs.Files["t"] = faultfs.NewNode(whole)
			hs := &handles{files: fs, max: 4}
			tab, err := openTable(hs.add("t", nil), 1)
			if err != nil {
				continue
			}
			var buf [blockSize]byte
			tab.verify()
			tab.lookup(nil, &ID{1, 2, 3}, &buf)
		}
	})
}
