package vol

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"bazil/merge"
	"bazil/store"
)

// loggedVolume is a volume that has a log, and an open file of some chunks the
// bytes of which are durable.
func loggedVolume(t *testing.T, d *disk) (*Volume, *Handle, []byte) {
	t.Helper()
	v := d.open()
	data := randomBytes(3, 300_000)
	h := openFile(t, v, writeFile(t, v.Root(), "f", string(data)).Name(), true)
	must[int](t)(h.WriteAt(ctx, []byte("0"), 0))
	ok(t, v.Sync(ctx))
	data[0] = '0'
	if !v.log.ready() {
		t.Fatal("no log was made")
	}
	return v, h, data
}

func writeSync(h *Handle, s string, off int64) error {
	if _, err := h.WriteAt(ctx, []byte(s), off); err != nil {
		return err
	}
	return h.Sync(ctx)
}

// anotherGroup makes a group; the one before is over then, in all its parts.
func anotherGroup(t *testing.T, v *Volume) {
	t.Helper()
	v.mu.Lock()
	gen := v.now.gen
	v.mu.Unlock()
	writeFile(t, v.Root(), fmt.Sprint("another", gen), "")
	ok(t, v.Sync(ctx))
}

// bySync counts the commit groups that fn makes.
func (v *Volume) bySync(fn func()) uint64 {
	v.mu.Lock()
	before := v.done
	v.mu.Unlock()
	fn()
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.done - before
}

// TestLog: an fsync of a few bytes makes no group, and they survive a crash,
// with the file's times and its version; what was not synced does not.
func TestLog(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	secret := "what nobody may read on the disk"
	if n := v.bySync(func() {
		for i := range 40 {
			off := int64(i * 7001)
			copy(data[off:], secret)
			ok(t, writeSync(h, secret, off))
		}
		seq := v.log.seq
		if ok(t, h.Sync(ctx)); v.log.seq != seq {
			t.Error("what is in the log is logged again")
		}
	}); n != 0 {
		t.Fatalf("%d groups", n)
	}
	n := must[*Node](t)(v.Root().Lookup(ctx, "f"))
	a, version := must[Attr](t)(n.Attr()), n.Version()
	must[int](t)(h.WriteAt(ctx, []byte("not synced"), 1000))
	v.crash()
	check := func() (faults []error) {
		must[FileChecked](t)(CheckFile(ctx, d.path, d.chunks, d.sealer, false, func(err error) { faults = append(faults, err) }))
		return faults
	}
	if f := check(); f != nil {
		t.Error(f)
	}
	if b := must[[]byte](t)(os.ReadFile(logPath(d.path))); bytes.Contains(b, []byte(secret)) {
		t.Error("the log is not sealed")
	}
	for range 2 { // crashes again before a group
		v = d.open()
		if got := readFile(t, v.Root(), "f"); got != string(data) {
			t.Fatal("the file is another")
		}
		n := must[*Node](t)(v.Root().Lookup(ctx, "f"))
		if b := must[Attr](t)(n.Attr()); b.MTime != a.MTime || b.Ino != a.Ino || n.Version() != version {
			t.Fatalf("%+v of version %d became %+v of %d", a, version, b, n.Version())
		}
		v.crash()
	}
}

// TestLogAcrossProcesses: what several processes wrote to the log, none of
// which lived until a group was durable, is done again in its order.
func TestLogAcrossProcesses(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	for i := range 6 {
		for j := range 3 {
			s := fmt.Sprint("process ", i, " write ", j)
			copy(data[100*j:], s)
			ok(t, writeSync(h, s, int64(100*j)))
		}
		v.crash()
		v = d.open()
		if got := readFile(t, v.Root(), "f"); got != string(data) {
			t.Fatalf("after process %d: %.240q", i, got)
		}
		h = openFile(t, v, "f", true)
	}
}

// TestLogReplayGroups: a group that is made of what the log had leaves the
// volume in the state on which the log counts.
func TestLogReplayGroups(t *testing.T) {
	d := newDisk(t)
	v, h, _ := loggedVolume(t, d)
	ok(t, writeSync(h, "logged", 7000))
	v.mu.Lock()
	before := v.state.moment
	v.replaying = true
	v.mu.Unlock()
	ok(t, v.Sync(ctx)) // by a group
	if !v.log.areas[0].used && !v.log.areas[1].used {
		t.Error("the log does not count any more")
	}
	v.crash()
	v = d.open()
	v.mu.Lock()
	defer v.mu.Unlock()
	next := moment{v.log.process, before.group + 1} // if it has made a group by now
	if got := v.log.durable; got != before && got != next {
		t.Fatalf("state %v became %v", before, got)
	}
}

// TestLogSizes: a file that was cut and grew in between has zeros there.
func TestLogSizes(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	if n := v.bySync(func() {
		ok(t, h.Truncate(ctx, 100_000))
		ok(t, h.Truncate(ctx, 200_000))
		ok(t, writeSync(h, "x", 400_000))
		ok(t, h.Truncate(ctx, 399_000))
		ok(t, h.Sync(ctx))
		ok(t, h.Truncate(ctx, 450_000)) // nothing but the size
		ok(t, h.Sync(ctx))
	}); n != 0 {
		t.Fatalf("%d groups", n)
	}
	want := append(data[:100_000:100_000], make([]byte, 350_000)...)
	v.crash()
	v = d.open()
	if readFile(t, v.Root(), "f") != string(want) {
		t.Fatal("the file is another")
	}
	h = openFile(t, v, "f", true)
	ok(t, h.Truncate(ctx, 0)) // open(O_TRUNC)
	ok(t, writeSync(h, "short", 0))
	ok(t, h.Close())
	v.crash()
	if got := readFile(t, d.open().Root(), "f"); got != "short" {
		t.Fatalf("%d bytes", len(got))
	}
}

// TestLogIsNotEnough: where more than a few bytes changed, a group is made, and
// everything is there after a crash.
func TestLogIsNotEnough(t *testing.T) {
	mode := uint32(0o600)
	for name, change := range map[string]func(v *Volume, h *Handle) error{
		"mode": func(v *Volume, h *Handle) error {
			return must[*Node](t)(v.Root().Lookup(ctx, "f")).SetAttr(ctx, SetAttr{Mode: &mode})
		},
		"rename": func(v *Volume, h *Handle) error { return v.Root().Rename(ctx, "f", v.Root(), "g") },
		"moved directory": func(v *Volume, h *Handle) error {
			dir := mkdir(t, v.Root(), "d")
			return errors.Join(v.Root().Rename(ctx, "f", dir, "f"), v.Root().Rename(ctx, "d", v.Root(), "e"))
		},
		"much": func(v *Volume, h *Handle) error {
			_, err := h.WriteAt(ctx, randomBytes(1, logBytesMax+1), 0)
			return err
		},
		"scattered": func(v *Volume, h *Handle) error {
			for i := range int64(logRangesMax + 1) {
				must[int](t)(h.WriteAt(ctx, []byte{1}, 3*i))
			}
			return nil
		},
	} {
		d := newDisk(t)
		v, h, _ := loggedVolume(t, d)
		n := v.bySync(func() {
			ok(t, change(v, h))
			ok(t, writeSync(h, "and bytes", 100))
		})
		want := readTreeAt(t, v.Root())
		v.crash()
		if got := readTreeAt(t, d.open().Root()); got != want || n == 0 {
			t.Errorf("%s: %d groups; %.100q is %.100q after a crash", name, n, want, got)
		}
	}
}

// readTreeAt tells modes, names and contents.
func readTreeAt(t *testing.T, dir *Node) (s string) {
	for _, e := range must[[]DirEntry](t)(dir.List(ctx)) {
		n := must[*Node](t)(dir.Lookup(ctx, e.Name))
		s += fmt.Sprintf("%o %s ", must[Attr](t)(n.Attr()).Mode, e.Name)
		if e.Kind == merge.KindDir {
			s += readTreeAt(t, n)
		} else {
			s += readNode(t, n)
		}
	}
	return s
}

// TestLogThenGone: what happens to a file after its record may be lost in a
// crash, or not; the record changes nothing else.
func TestLogThenGone(t *testing.T) {
	for name, c := range map[string]struct {
		change      func(v *Volume) error
		lost, there string // what the tree has: if the change is lost, if it is durable
	}{
		"removed": {func(v *Volume) error { return v.Root().Unlink(ctx, "f") }, "f", ""},
		"renamed": {func(v *Volume) error { return v.Root().Rename(ctx, "f", v.Root(), "g") }, "f", "g"},
		"replaced": {func(v *Volume) error {
			writeFile(t, v.Root(), "n", "new")
			return v.Root().Rename(ctx, "n", v.Root(), "f")
		}, "f", "new"},
	} {
		for _, durable := range []bool{false, true} {
			d := newDisk(t)
			v, h, data := loggedVolume(t, d)
			copy(data[5000:], "logged")
			ok(t, writeSync(h, "logged", 5000))
			ok(t, c.change(v))
			if durable {
				ok(t, v.Sync(ctx))
			}
			v.crash()
			got := plainTree(t, d.open())
			want := map[string]string{}
			switch {
			case !durable:
				want[c.lost] = string(data)
			case c.there == "new":
				want["f"] = "new"
			case c.there != "":
				want[c.there] = string(data)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, durable %v: %.60q", name, durable, fmt.Sprint(got))
			}
		}
	}
}

// TestLogStuckFile: a file that cannot be flushed keeps what it has in the log
// while groups of others become durable.
func TestLogStuckFile(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	data := randomBytes(3, 300_000)
	writeFile(t, v.Root(), "f", string(data))
	ok(t, v.Close())
	v, chunks := faultyVolume(t, d)
	h := openFile(t, v, "f", true)
	copy(data[7000:], "logged")
	ok(t, writeSync(h, "logged", 7000))
	chunks.fail(fmt.Errorf("a chunk that it needs: %w", store.ErrNotFound))
	for _, name := range []string{"g1", "g2"} {
		g := openFile(t, v, writeFile(t, v.Root(), name, "small").Name(), true)
		for range 3 {
			if err := v.Sync(ctx); !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			ok(t, writeSync(g, "small", 0))
		}
	}
	v.crash()
	if got := plainTree(t, d.open()); got["f"] != string(data) || got["g1"] != "small" || got["g2"] != "small" {
		t.Fatalf("%.100q", fmt.Sprint(got))
	}
}

// TestLogFails: where the log cannot be written, fsync goes on by groups.
func TestLogFails(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	ok(t, v.log.file.Close())
	sync := func(i int) { copy(data[i*50:], "here"); ok(t, writeSync(h, "here", int64(i*50))) }
	if n := v.bySync(func() { sync(0) }); n != 1 {
		t.Errorf("%d groups where the log fails", n)
	}
	anotherGroup(t, v)
	if n := v.bySync(func() { sync(1); sync(2) }); n != 0 || v.log.failed != nil {
		t.Errorf("%d groups after that", n)
	}
	v.crash()
	if readFile(t, d.open().Root(), "f") != string(data) {
		t.Fatal("lost")
	}
}

// TestLogFull: more than the log holds, from several writers, with groups
// beside it; after a crash each file has what was synced last, or more.
func TestLogFull(t *testing.T) {
	d := newDisk(t)
	v, _, _ := loggedVolume(t, d)
	const files, size, each = 4, 1 << 20, 120
	var synced [files][each]atomic.Bool
	var wg sync.WaitGroup
	block := func(w, i int) string { return strings.Repeat(fmt.Sprintf("%d-%07d", w, i), 8000) }
	for w := range files {
		h := openFile(t, v, writeFile(t, v.Root(), fmt.Sprint(w), string(make([]byte, size))).Name(), true)
		ok(t, h.Sync(ctx))
		wg.Go(func() {
			for i := range each {
				if err := writeSync(h, block(w, i), int64(i%8)*100_000); err != nil {
					t.Error(err)
				}
				synced[w][i].Store(true)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := v.Sync(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	v.crash()
	v = d.open()
	for w := range files {
		got := readFile(t, v.Root(), fmt.Sprint(w))
		for i := each - 8; i < each; i++ {
			if off := i % 8 * 100_000; synced[w][i].Load() && got[off:off+72000] != block(w, i) {
				t.Errorf("file %d: write %d is lost: %.20q", w, i, got[off:])
			}
		}
	}
}

// TestLogOfAnother: a log that is not of the state in which the volume is does
// nothing and is kept.
func TestLogOfAnother(t *testing.T) {
	d := newDisk(t)
	v, _, data := loggedVolume(t, d)
	backup := filepath.Join(t.TempDir(), "backup")
	v.crash()
	v = d.open()
	ok(t, v.Close())
	ok(t, os.WriteFile(backup, must[[]byte](t)(os.ReadFile(d.path)), 0o600))
	v = d.open()
	h := openFile(t, v, "f", true)
	for range 3 {
		ok(t, writeSync(h, "later", 0))
		ok(t, v.Sync(ctx))
	}
	ok(t, writeSync(h, "logged", 9000))
	v.crash()
	ok(t, os.WriteFile(d.path, must[[]byte](t)(os.ReadFile(backup)), 0o600))
	v = d.open()
	if readFile(t, v.Root(), "f") != string(data) {
		t.Fatal("a record was done to another state")
	}
	if kept := must[[]string](t)(filepath.Glob(logPath(d.path) + ".*")); len(kept) != 1 {
		t.Fatal("the log was not kept", kept)
	}
	h = openFile(t, v, "f", true)
	ok(t, writeSync(h, "again", 0))
	ok(t, writeSync(h, "again", 5))
	v.crash()
	check := must[[]error](t)(checkFile(d))
	if len(check) != 1 || !strings.Contains(check[0].Error(), ` of "f", the last at `) || !strings.Contains(check[0].Error(), ": 6 bytes at 9000;") {
		t.Errorf("a check says of the log: %v", check)
	}
}

// checkFile returns the faults that a check of a volume finds.
func checkFile(d *disk) (faults []error, err error) {
	_, err = CheckFile(ctx, d.path, d.chunks, d.sealer, false, func(err error) { faults = append(faults, err) })
	return faults, err
}

// TestLogUnderAnotherKey: a volume of which the log cannot be read is not
// opened, and the log stays.
func TestLogUnderAnotherKey(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	copy(data, "logged")
	ok(t, writeSync(h, "logged", 0))
	v.crash()
	o := d.options()
	o.Sealer = store.NewSealer(store.SharingKey{1, 2, 3})
	if _, err := Open(d.path, o); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), logPath(d.path)) {
		t.Fatal(err)
	}
	if readFile(t, d.open().Root(), "f") != string(data) {
		t.Fatal("lost")
	}
}

// TestLogFlipped: a bit that changes anywhere in the log never becomes a bit
// of a file: it has the bytes of some fsync, whole.
func TestLogFlipped(t *testing.T) {
	d := newDisk(t)
	v, h, _ := loggedVolume(t, d)
	allowed := map[string]bool{readFile(t, v.Root(), "f"): true}
	for i := range 5 {
		ok(t, writeSync(h, fmt.Sprint("logged ", i), int64(i*3)))
		allowed[readFile(t, v.Root(), "f")] = true
	}
	v.crash()
	db, log := must[[]byte](t)(os.ReadFile(d.path)), must[[]byte](t)(os.ReadFile(logPath(d.path)))
	r := rand.New(rand.NewPCG(8, 8))
	for range 60 {
		flipped := bytes.Clone(log)
		at := r.IntN(logHead + 1200)
		if at >= 40 && at < logHead {
			at = logHead + at%1200
		}
		flipped[at] ^= 1 << r.IntN(8)
		ok(t, os.WriteFile(d.path, db, 0o600))
		ok(t, os.WriteFile(logPath(d.path), flipped, 0o600))
		v, err := Open(d.path, d.options())
		if errors.Is(err, ErrFormat) {
			continue // another version
		}
		ok(t, err)
		if got := readFile(t, v.Root(), "f"); !allowed[got] {
			t.Fatalf("byte %d: %.40q", at, got)
		}
		v.crash()
	}
}

// TestLogOnFullDisk: see TestNoSpace; what the log had before stays good.
func TestLogOnFullDisk(t *testing.T) {
	d := newDisk(t)
	v, chunks := faultyVolume(t, d)
	h := openFile(t, v, writeFile(t, v.Root(), "f", string(randomBytes(3, 300_000))).Name(), true)
	ok(t, v.Sync(ctx))
	ok(t, writeSync(h, "0", 0))
	chunks.fail(syscall.ENOSPC)
	ok(t, writeSync(h, "logged", 7000)) // needs no room
	want := readFile(t, v.Root(), "f")
	if err := v.Sync(ctx); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	v.crash()
	if readFile(t, d.open().Root(), "f") != want {
		t.Fatal("lost")
	}
}
