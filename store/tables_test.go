package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bazil/store/faultfs"
)

// tableBytes is a table of n chunks of segment 1, alone in its file.
func tableBytes(t *testing.T, n int) (b []byte, entries []entry) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range n {
		e := entry{segment: 1, offset: uint32(64 + i*200), length: 100}
		for j := range e.id {
			e.id[j] = byte(r.Uint32())
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, compareEntries)
	return writtenTable(t, 0, []cover{{segment: 1, end: uint64(64 + n*200)}}, entries), entries
}

func writtenTable(t *testing.T, start int64, covers []cover, entries []entry) []byte {
	t.Helper()
	var b writeBuffer
	tw := newTableWriter(&b, start, uint64(len(entries)), covers)
	for _, e := range entries {
		if err := tw.add(e, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tw.finish(); err != nil {
		t.Fatal(err)
	}
	return b
}

// fixSums gives a table's summary and trailer the checksums of their present
// content.
func fixSums(b []byte) {
	trail := b[len(b)-tableTrailerSize:]
	summary := b[int(binary.LittleEndian.Uint32(trail[12:]))*blockSize : len(b)-tableTrailerSize]
	binary.LittleEndian.PutUint32(trail[40:], crc(summary))
	putCRC(trail)
}

func openedTable(b []byte) (*table, error) {
	fs := newFaultFiles()
	fs.Files["t"] = faultfs.NewNode(b)
	return openTable((&handles{files: fs, max: 4}).add("t", nil), 1)
}

// TestTableIsConsistent: a table of which all checksums are right is refused
// if its parts do not fit each other.
func TestTableIsConsistent(t *testing.T) {
	const n = 300 // four blocks
	const blocks = (n + entriesPerBlock - 1) / entriesPerBlock
	for name, damage := range map[string]func(b []byte){
		"nothing": nil,
		"blocks change places": func(b []byte) {
			first := bytes.Clone(b[:blockSize])
			copy(b, b[blockSize:2*blockSize])
			copy(b[blockSize:], first)
		},
		"entries that it does not have": func(b []byte) { b[len(b)-tableTrailerSize+16]++ },
		"a segment has another number of chunks": func(b []byte) {
			b[blocks*(blockSize+8)+4]++
		},
		"a segment has another number of bytes": func(b []byte) {
			b[blocks*(blockSize+8)+8]++
		},
		"chunks of a segment that it does not cover": func(b []byte) { b[blocks*(blockSize+8)]++ },
		"the filter lacks chunks": func(b []byte) {
			clear(b[blocks*(blockSize+8)+coverSize : len(b)-tableTrailerSize])
		},
	} {
		b, _ := tableBytes(t, n)
		if damage != nil {
			damage(b)
			fixSums(b)
		}
		tab, err := openedTable(b)
		if err == nil {
			err = tab.verify()
		}
		if damage == nil && err != nil || damage != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTableBlocksHaveNumbers: a lookup does not take one block for another.
func TestTableBlocksHaveNumbers(t *testing.T) {
	b, entries := tableBytes(t, 300)
	copy(b, b[blockSize:2*blockSize])
	tab, err := openedTable(b)
	if err != nil {
		t.Fatal(err)
	}
	var buf [blockSize]byte
	if got, err := tab.lookup(nil, &entries[0].id, &buf); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestTableSummaryIsSummed: what stays in memory is checked when it is read.
func TestTableSummaryIsSummed(t *testing.T) {
	b, _ := tableBytes(t, 300)
	b[len(b)-tableTrailerSize-1] ^= 1
	if _, err := openedTable(b); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// TestFooterIsOfItsSegment: a table at the end of a segment speaks for that
// segment alone, and for records that stand before it.
func TestFooterIsOfItsSegment(t *testing.T) {
	const start = blockSize
	e := entry{id: ID{1}, segment: 1, offset: segmentHeaderSize, length: 100}
	for name, test := range map[string]struct {
		covers []cover
		good   bool
	}{
		"its own":         {[]cover{{segment: 1, end: start}}, true},
		"records behind":  {[]cover{{segment: 1, end: start + 8}}, false},
		"another's too":   {[]cover{{segment: 1, end: start}, {segment: 2, end: 64}}, false},
		"another's alone": {[]cover{{segment: 2, end: start}}, false},
	} {
		entries := []entry{e}
		if name == "another's alone" {
			entries[0].segment = 2
		}
		fs := newFaultFiles()
		fs.Files["s"] = faultfs.NewNode(append(make([]byte, start), writtenTable(t, start, test.covers, entries)...))
		seg := &segment{number: 1, handle: (&handles{files: fs, max: 4}).add("s", nil)}
		if _, err := openFooter(seg); (err == nil) != test.good || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMergeGivesEachOnce: what two tables have is in the merged one once.
func TestMergeGivesEachOnce(t *testing.T) {
	b, entries := tableBytes(t, 200)
	one, err := openedTable(b)
	if err != nil {
		t.Fatal(err)
	}
	two, err := openedTable(b)
	if err != nil {
		t.Fatal(err)
	}
	var got []entry
	err = mergeEach([]*table{one, two}, func(e entry) error { got = append(got, e); return nil })
	if err != nil || !slices.Equal(got, entries) {
		t.Errorf("%d entries of %d, %v", len(got), len(entries), err)
	}
}

// TestMergedTableIsOnDisk: a merged table takes the place of others when a
// crash can neither take it nor a part of it, so that opening after one reads
// that table and no footers.
func TestMergedTableIsOnDisk(t *testing.T) {
	fs := newFaultFiles()
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	for i := range uint64(mergeFanIn) {
		mustPut(t, c, newChunk(i, 1000))
		if err := c.sealActive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.mergeTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		fs.Mu.Lock()
		left := fs.Crash(rand.New(rand.NewPCG(seed, 1)))
		fs.Mu.Unlock()
		var log bytes.Buffer
		again := newChunks(faultFiles{left}, "d", Options{SegmentSize: crashSegment, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err := again.load(); err != nil || again.Stats().Tables != 1 || log.Len() > 0 {
			t.Fatalf("crash %d: %d tables, %v\n%s", seed, again.Stats().Tables, err, &log)
		}
		again.stop()
	}
}

// TestFullSegmentIsNotResumed: the newest segment is gone on with only while
// there is room in it; a full one gets its footer.
func TestFullSegmentIsNotResumed(t *testing.T) {
	for size, resumed := range map[int]bool{1000: true, crashSegment: false} {
		fs := newFaultFiles()
		c, err := openSim(fs)
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, c, newChunk(1, size))
		mustSync(t, c)
		halt(c)
		if c, err = openSim(fs); err != nil {
			t.Fatal(err)
		}
		if got := c.active != nil; got != resumed || len(c.sealQueue) == 1 == resumed {
			t.Errorf("with %d bytes it is gone on with: %v, %d wait for footers", size, got, len(c.sealQueue))
		}
		halt(c)
	}
}

// TestSealOfRemoved: a segment that a collection removes before it gets its
// footer, or while it does, leaves no table and is no failure.
func TestSealOfRemoved(t *testing.T) {
	for _, when := range []string{"before", "while"} {
		fs := syncHooked{newFaultFiles(), new(func())}
		var log bytes.Buffer
		c := newChunks(fs, "d", Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err := c.load(); err != nil {
			t.Fatal(err)
		}
		c.done.Go(c.flushLoop)
		mustPut(t, c, newChunk(1, 1000))
		mustSync(t, c)
		seg := c.active
		remove := func() {
			if err := c.removeSegment(seg); err != nil {
				t.Error(err)
			}
		}
		c.queueSeal(seg, false)
		if when == "before" {
			remove()
		} else {
			*fs.sync = func() { *fs.sync = nil; remove() }
		}
		c.sealAll()
		if st := c.Stats(); st.Tables != 0 || st.Segments != 0 || strings.Contains(log.String(), "ERROR") {
			t.Errorf("%s: %d segments, %d tables\n%s", when, st.Segments, st.Tables, &log)
		}
		halt(c)
	}
}

// syncHooked calls sync, if there is one, after each flush of a file that was
// made here.
type syncHooked struct {
	faultFiles
	sync *func()
}

func (fs syncHooked) create(path string) (file, error) {
	f, err := fs.faultFiles.create(path)
	return syncHookedFile{f, fs.sync}, err
}

type syncHookedFile struct {
	file
	sync *func()
}

func (f syncHookedFile) Sync() error {
	err := f.file.Sync()
	if hook := *f.sync; hook != nil {
		hook()
	}
	return err
}

// TestTableTrailerIsBounded: a trailer does not promise more entries than its
// blocks have, for which somebody might make room.
func TestTableTrailerIsBounded(t *testing.T) {
	b, _ := tableBytes(t, 300)
	binary.LittleEndian.PutUint64(b[len(b)-tableTrailerSize+16:], 1<<40)
	fixSums(b)
	if _, err := openedTable(b); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
