package vol

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"bazil/store"
)

// TestLogAreas: an area with records that count is not written over, whatever
// groups are closed and durable meanwhile.
func TestLogAreas(t *testing.T) {
	l := newFsyncLog(filepath.Join(t.TempDir(), "v.db"), ID{1}, &Options{LogSize: 2 * testArea})
	group := func(n uint64) *group { return &group{state: state{moment: moment{l.process, n}}} }
	use := func() uint64 { _, seq := l.append(9, []byte("plain")); return seq }
	l.begin(moment{5, 3}, false, false)
	l.renew()
	if !l.ready() {
		t.Fatal("no log was made")
	}
	g4, g5 := group(4), group(5)
	use()
	l.closed(g4)
	if l.active != 1 || g4.logged != 1 {
		t.Fatalf("area %d after the first group, which has %d", l.active, g4.logged)
	}
	use()
	l.closed(g5) // while g4 is not durable: area 0 counts
	if l.active != 1 {
		t.Fatal("an area that counts was given to new records")
	}
	use()
	l.release(g4)
	if l.areas[0].used || !l.areas[1].used {
		t.Fatalf("%+v", l.areas)
	}
	l.release(g5) // record 3 came after it was closed
	if !l.areas[1].used {
		t.Fatal("an area with a record behind the group is free")
	}
	l.closed(group(6))
	if l.active != 0 || l.areas[0].pos != l.areas[0].start {
		t.Fatalf("area %d, at %d", l.active, l.areas[0].pos)
	}
	g7 := group(7)
	l.closed(g7)
	l.release(g7)
	if l.closed(group(8)); l.active != 0 {
		t.Fatal("an empty area was left for the other")
	}
	for n := 0; l.ready(); n++ {
		l.append(9, make([]byte, logBytesMax))
		if l.areas[0].pos > l.areas[0].end {
			t.Fatalf("%d records do not fit", n)
		}
	}
	g9 := group(9)
	l.closed(g9)
	l.release(g9)
	if l.closed(group(10)); !l.ready() {
		t.Fatal("there is no room though nothing counts")
	}
	l.failed = syscall.EIO
	if l.ready() {
		t.Fatal("a log that failed takes records")
	}
}

// begunLog is a log with a file, and its groups.
func begunLog(t *testing.T, area int64) (l *fsyncLog, next func() *group) {
	l = newFsyncLog(filepath.Join(t.TempDir(), "v.db"), ID{1}, &Options{LogSize: 2 * area, Sealer: store.NewSealer(store.SharingKey{7}), Log: slog.New(slog.DiscardHandler)})
	l.begin(moment{5, 3}, false, false)
	l.renew()
	n := uint64(3)
	return l, func() *group {
		n++
		g := &group{state: state{moment: moment{l.process, n}}}
		l.closed(g)
		return g
	}
}

// records are those in the log's areas, as far as they follow each other.
func (l *fsyncLog) records(t *testing.T) (runs [2][]logHit) {
	b := must[[]byte](t)(os.ReadFile(l.path))
	for i := range runs {
		from := min(int(l.areas[i].start), len(b))
		runs[i] = followRecords(b[from:min(int(l.areas[i].end), len(b))]).hits
	}
	return runs
}

// TestLogAreasApart: the second area is not written before what the first has is
// flushed, and says so; nothing that is queued goes into a file that is made anew.
func TestLogAreasApart(t *testing.T) {
	l, next := begunLog(t, testArea)
	b1, _ := l.append(9, []byte("one"))
	next()
	b2, _ := l.append(9, []byte("two"))
	ok(t, l.wait(ctx, b1))
	select {
	case <-b2.done:
		t.Fatal("both areas were written with one flush")
	default:
	}
	ok(t, l.wait(ctx, b2))
	if runs := l.records(t); len(runs[0]) != 1 || len(runs[1]) != 1 || runs[1][0].durable != 1 {
		t.Fatalf("%+v", runs)
	}
	l.release(next())
	b3, _ := l.append(9, []byte("three"))
	g := next()
	b4, _ := l.append(9, []byte("four"))
	ok(t, l.file.Close())
	if err := l.wait(ctx, b3); err == nil {
		t.Fatal("written to a closed file")
	}
	l.release(g)
	if l.renew(); l.ready() {
		t.Fatal("made anew though a record may count")
	}
	l.release(next())
	if l.renew(); !l.ready() || l.wait(ctx, b4) == nil {
		t.Fatal("not made anew, or something old went into it")
	}
	b5, seq := l.append(9, []byte("five"))
	ok(t, l.wait(ctx, b5))
	if runs := l.records(t); len(runs[0]) != 1 || len(runs[1]) != 0 || runs[0][0].seq != seq || runs[0][0].durable != 0 {
		t.Fatalf("%+v", runs)
	}
}

// TestLogRecordAlone: a damaged record that is alone in its area is told of by
// what is in the other one, and one torn by a crash is no damage.
func TestLogRecordAlone(t *testing.T) {
	l, next := begunLog(t, testArea)
	say := func(s string) {
		b, _ := l.append(9, []byte(s))
		ok(t, l.wait(ctx, b))
	}
	say("one")
	g := next()
	say("two") // counts on the group
	l.release(g)
	next()
	say("three") // in the place of one
	if !l.areas[0].used || !l.areas[1].used {
		t.Fatal("not both areas count")
	}
	whole := must[[]byte](t)(os.ReadFile(l.path))
	for name, c := range map[string]struct {
		damage int // the area; -1: none
		seqs   []uint64
		told   bool
	}{"whole": {-1, []uint64{2, 3}, false}, "two": {1, []uint64{3}, true}, "three": {0, []uint64{2}, false}} {
		b := bytes.Clone(whole)
		if c.damage >= 0 {
			b[l.areas[c.damage].start+recordHeader+3] ^= 1
		}
		f := judgeLog(b, testArea, &g.state)
		var seqs []uint64
		for _, h := range f.records {
			seqs = append(seqs, h.seq)
		}
		if !slices.Equal(seqs, c.seqs) || errors.Is(f.err, ErrDamaged) != c.told {
			t.Errorf("%s: records %d, %v", name, seqs, f.err)
		}
	}
}

// TestLogIsMadeAnew: what an earlier process wrote stays until it does not count.
func TestLogIsMadeAnew(t *testing.T) {
	l := newFsyncLog(filepath.Join(t.TempDir(), "v.db"), ID{1}, &Options{LogSize: 2 * testArea, Log: slog.New(slog.DiscardHandler)})
	ok(t, os.WriteFile(l.path, []byte("of an earlier process"), 0o600))
	there := func() bool { return string(must[[]byte](t)(os.ReadFile(l.path))) == "of an earlier process" }
	if l.renew(); !there() {
		t.Fatal("gone before the volume was looked at")
	}
	l.begin(moment{5, 3}, true, false)
	if l.renew(); !there() || l.ready() {
		t.Fatal("gone though it counts")
	}
	g := &group{state: state{moment: moment{l.process, 4}}}
	l.closed(g)
	l.release(g)
	if l.renew(); there() || !l.ready() {
		t.Fatal("there though it does not count")
	}
}

// TestLogGrows: the room that an area gets is its own.
func TestLogGrows(t *testing.T) {
	l, next := begunLog(t, logStep+logStep/2)
	use := func(n int) {
		for range n {
			b, _ := l.append(9, make([]byte, logBytesMax))
			ok(t, l.wait(ctx, b))
		}
	}
	use(1)
	l.release(next())
	use(2)
	next() // both count; the first was released before
	if l.active != 0 {
		t.Fatal("the first area is not used again")
	}
	use(11)
	if runs := l.records(t); len(runs[0]) != 11 || len(runs[1]) != 2 {
		t.Fatalf("%d and %d records", len(runs[0]), len(runs[1]))
	}
}
