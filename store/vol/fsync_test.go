package vol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"bazil/store"
)

// fetchChunks gives the chunks of another store.
type fetchChunks struct{ *store.Chunks }

func (f fetchChunks) Fetch(ctx context.Context, id store.ID) ([]byte, error) {
	return f.Get(ctx, id, nil)
}

// chunksOf are the chunks of a small file without unsaved bytes.
func chunksOf(t *testing.T, n *Node) (ids []store.ID) {
	h := must[*Handle](t)(n.Open(ctx, false))
	defer h.Close()
	s := h.f.c.clean.Load()
	for off := int64(0); off < s.size; {
		x, k, err := s.segment(ctx, off, s.size-off)
		ok(t, err)
		ids = append(ids, x.ptr.ID)
		off += k
	}
	return ids
}

// TestLogOnUnflushedChunks: an fsync of a file with a chunk that came in from
// another device and is not on disk makes a group: a crash may take the chunk,
// without which nothing can be written there again. The next goes to the log.
func TestLogOnUnflushedChunks(t *testing.T) {
	a, sealer := testStore(t)
	there := newDiskOn(t, a, sealer, NewID()).open()
	data := string(randomBytes(5, 20_000))
	f := writeFile(t, there.Root(), "f", data)
	ok(t, there.Sync(ctx))
	put := func(v *Volume) {
		for _, id := range chunksOf(t, f) {
			must[bool](t)(v.o.Chunks.Put(ctx, id, must[[]byte](t)(a.Get(ctx, id, nil))))
		}
	}
	fetched := func(v *Volume) { v.SetFetch(fetchChunks{a}) }
	for name, c := range map[string]struct {
		arrive func(v *Volume)
		at     string
	}{"pulled": {put, "f"}, "fetched by the write": {fetched, "f"}, "pulled, and renamed": {put, "g"}} {
		b, _ := testStore(t)
		d := newDiskOn(t, b, sealer, there.ID())
		v := d.open()
		pull(t, v, there, -1)
		if c.at != "f" {
			ok(t, v.Root().Rename(ctx, "f", v.Root(), c.at))
			ok(t, v.Sync(ctx))
		}
		h := openFile(t, v, c.at, true)
		if !v.log.ready() {
			t.Fatal("there is no log")
		}
		c.arrive(v)
		want := []byte(data)
		sync := func(s string, off int64) uint64 {
			copy(want[off:], s)
			return v.bySync(func() { ok(t, writeSync(h, s, off)) })
		}
		groups := sync("synced", 7000)
		if sync("logged", 9000) != 0 {
			t.Errorf("%s: the next makes a group, too", name)
		}
		v.crash()
		if groups == 0 { // nothing was flushed
			d.chunks, _ = testStore(t)
		}
		o := d.options()
		o.Fetch = fetchChunks{a} // the other device is still there
		if got := readFile(t, d.openWith(o).Root(), c.at); got != string(want) {
			t.Errorf("%s: after a crash it is another file", name)
		}
	}
}

// TestLogOnExtentsThatCameAgain: an extent chunk that is known from before, and
// was collected and came in again since, counts only when it is on disk again.
func TestLogOnExtentsThatCameAgain(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	want := randomBytes(6, 300_000)
	body := must[Body](t)(writeFile(t, v.Root(), "f", string(want)).syncedBody())
	info := must[bodyInfo](t)(body.parse())
	if info.form != formExtents {
		t.Fatalf("form %v", info.form)
	}
	sealed := must[[]byte](t)(d.chunks.Get(ctx, info.ptr.ID, nil))
	ok(t, v.Close())
	v = d.open()
	if readFile(t, v.Root(), "f") != string(want) || v.env.nodes.get(info.ptr) == nil {
		t.Fatal("the extent chunk is not known")
	}
	mark := func(_ context.Context, keep func(store.ID)) error {
		return v.MarkChunks(ctx, func(id store.ID) {
			if id != info.ptr.ID {
				keep(id)
			}
		})
	}
	must[store.CollectProgress](t)(d.chunks.Collect(ctx, mark, store.CollectOptions{MinDead: 1e-9}))
	if d.chunks.Has(info.ptr.ID) {
		t.Fatal("it was not collected")
	}
	must[bool](t)(d.chunks.Put(ctx, info.ptr.ID, sealed))
	h := openFile(t, v, "f", true)
	defer h.Close()
	if v.bySync(func() { ok(t, writeSync(h, "synced", 7000)) }) == 0 {
		t.Error("an fsync relies on a chunk that is not on disk")
	}
	if v.bySync(func() { ok(t, writeSync(h, "logged", 9000)) }) != 0 {
		t.Error("the next makes a group, too")
	}
}

// syncedBody is the body that the file has in the volume.
func (n *Node) syncedBody() (Body, error) {
	if err := n.v.Sync(ctx); err != nil {
		return "", err
	}
	n.v.mu.Lock()
	defer n.v.mu.Unlock()
	in, err := n.v.inodeByNumber(n.num)
	if err != nil {
		return "", err
	}
	return Body(in.at.rec.version().Content), nil
}

// TestLogOfUnlinked: a file without a name is made durable by a group.
func TestLogOfUnlinked(t *testing.T) {
	d := newDisk(t)
	v, h, _ := loggedVolume(t, d)
	ok(t, v.Root().Unlink(ctx, "f"))
	ok(t, v.Sync(ctx))
	ok(t, writeSync(h, "still", 0))
	if got := readHandle(t, h); got[:5] != "still" {
		t.Errorf("%.20q", got)
	}
	v.crash()
	v = d.open()
	anotherGroup(t, v)
	anotherGroup(t, v)
	d.logIsFine()
}

// TestLogDamaged: a record is damaged that was on disk when the next was written.
// Neither is done again, a check and an event tell, and the log is kept.
func TestLogDamaged(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	start := v.log.areas[v.log.active].pos
	ok(t, writeSync(h, "first", 1000))
	ok(t, writeSync(h, "second", 2000))
	v.crash()
	log := must[[]byte](t)(os.ReadFile(logPath(d.path)))
	log[start+recordHeader+3] ^= 1
	ok(t, os.WriteFile(logPath(d.path), log, 0o600))
	if faults := must[[]error](t)(checkFile(d)); len(faults) != 1 || !errors.Is(faults[0], ErrDamaged) {
		t.Errorf("a check finds %v", faults)
	}
	var events bytes.Buffer
	o := d.options()
	o.Log = slog.New(slog.NewTextHandler(&events, nil))
	v = d.openWith(o)
	if readFile(t, v.Root(), "f") != string(data) {
		t.Error("the file is another")
	}
	if !strings.Contains(events.String(), "writes that fsync had made durable may be missing") {
		t.Errorf("events: %s", events.String())
	}
	kept := must[[]string](t)(filepath.Glob(logPath(d.path) + ".*"))
	if len(kept) != 1 || !bytes.Equal(must[[]byte](t)(os.ReadFile(kept[0])), log) {
		t.Errorf("kept: %q", kept)
	}
	ok(t, v.Close())
	ok(t, Remove(d.path))
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(d.path))); len(left) != 0 {
		t.Errorf("left of the removed volume: %v", left)
	}
}

// TestLogRedoneStuck: a file that cannot be flushed after its record was done
// again keeps that: the state says from which group on records of it count.
func TestLogRedoneStuck(t *testing.T) {
	for _, left := range []uint64{0, 1} {
		d := newDisk(t)
		v, chunks := faultyVolume(t, d)
		f := writeFile(t, v.Root(), "f", string(randomBytes(3, 300_000)))
		ok(t, v.Sync(ctx))
		anotherGroup(t, v)
		chunks.fail(fmt.Errorf("a chunk that it needs: %w", store.ErrNotFound))
		want := v.state.group
		if left > 0 {
			v.state.left, want = map[uint64]uint64{f.Ino(): left}, left
		}
		ok(t, v.redo(&logRecord{logPlace: logPlace{ino: f.Ino()}, logChange: logChange{limit: math.MaxInt64, size: 300_000, ranges: []fileRun{{0, 3}}, data: []byte("new")}}))
		if err := v.Sync(ctx); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		var s state
		ok(t, v.db.View(func(tx *bbolt.Tx) (err error) { s, err = readState(tx); return err }))
		if got := s.left[f.Ino()]; got != want {
			t.Errorf("records count from group %d on, want %d", got, want)
		}
	}
}

// TestLogHeadDamaged: without the log's head, what it has is done again as always.
func TestLogHeadDamaged(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	copy(data[1000:], "logged")
	ok(t, writeSync(h, "logged", 1000))
	v.crash()
	log := must[[]byte](t)(os.ReadFile(logPath(d.path)))
	log[3] ^= 1
	ok(t, os.WriteFile(logPath(d.path), log, 0o600))
	if readFile(t, d.open().Root(), "f") != string(data) {
		t.Error("lost")
	}
}

// TestLogBehindFailedGroup: fsyncs go on while a group cannot be made, and count
// on its number. The next process's first group is behind that, so that a crash
// before the log is made anew leaves nothing to be suspected.
func TestLogBehindFailedGroup(t *testing.T) {
	d := newDisk(t)
	v, chunks := faultyVolume(t, d)
	data := randomBytes(3, 300_000)
	h := openFile(t, v, writeFile(t, v.Root(), "f", string(data)).Name(), true)
	ok(t, v.Sync(ctx))
	chunks.fail(syscall.ENOSPC)
	copy(data[7000:], "logged")
	ok(t, writeSync(h, "logged", 7000))
	for range 5 {
		if err := v.Sync(ctx); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	copy(data[9000:], "behind")
	ok(t, writeSync(h, "behind", 9000))
	v.crash()
	log := must[[]byte](t)(os.ReadFile(logPath(d.path)))
	v = d.open()
	anotherGroup(t, v)
	v.crash()
	ok(t, os.WriteFile(logPath(d.path), log, 0o600))
	if readFile(t, d.open().Root(), "f") != string(data) {
		t.Error("lost")
	}
	d.logIsFine()
}

// logIsFine tells if a log was set aside.
func (d *disk) logIsFine() {
	d.tb.Helper()
	if kept := must[[]string](d.tb)(filepath.Glob(logPath(d.path) + ".*")); kept != nil {
		d.tb.Errorf("the log was kept: %q", kept)
	}
}

// TestLogOfClosing: what is synced while the volume is being closed goes into its
// last group, and nothing that counts is in the log afterwards; one that is broken
// makes nothing durable.
func TestLogOfClosing(t *testing.T) {
	v, h, _ := loggedVolume(t, newDisk(t))
	set := func(closed, ended bool) {
		v.mu.Lock()
		v.closed, v.ended = closed, ended
		v.mu.Unlock()
	}
	must[int](t)(h.WriteAt(ctx, []byte("last"), 0))
	set(true, false)
	if err := h.Sync(ctx); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
	set(false, true)
	if n := v.bySync(func() { ok(t, h.Sync(ctx)) }); n != 1 {
		t.Errorf("%d groups at the end", n)
	}
	set(false, false)
}

// hookChunks calls a function before it stores a chunk, which the error of that
// prevents.
type hookChunks struct {
	*store.Chunks
	before func() error
}

func (h *hookChunks) Put(ctx context.Context, id store.ID, sealed []byte) (bool, error) {
	if err := h.before(); err != nil {
		return false, err
	}
	return h.Chunks.Put(ctx, id, sealed)
}

// TestLogStuckThenGone: a file that cannot be flushed is removed while the others
// of its group are made durable. A crash brings it back, with what was synced.
func TestLogStuckThenGone(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	copy(data[7000:], "logged")
	ok(t, writeSync(h, "logged", 7000))
	remove := sync.OnceFunc(func() {
		ok(t, v.Root().Unlink(ctx, "f"))
		ok(t, h.Close())
	})
	v.env.chunks = &hookChunks{d.chunks, func() error { remove(); return store.ErrNotFound }}
	if err := v.Sync(ctx); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	v.crash()
	if readFile(t, d.open().Root(), "f") != string(data) {
		t.Error("lost")
	}
}

// TestLogBesideGroup: an fsync while a group is on its way has what the group has
// of its file, too, whether the group becomes durable or not, and goes on to count
// if the next group cannot flush the file.
func TestLogBesideGroup(t *testing.T) {
	for name, outcome := range map[string]error{"durable": nil, "failed": syscall.ENOSPC} {
		d := newDisk(t)
		v, h, data := loggedVolume(t, d)
		copy(data[7000:], "group")
		must[int](t)(h.WriteAt(ctx, []byte("group"), 7000))
		beside := sync.OnceFunc(func() {
			copy(data[9000:], "beside")
			if n := v.bySync(func() { ok(t, writeSync(h, "beside", 9000)) }); n != 0 {
				t.Errorf("%s: fsync waited for the group", name)
			}
		})
		err := outcome
		v.env.chunks = &hookChunks{d.chunks, func() error { beside(); return err }}
		if got := v.Sync(ctx); !errors.Is(got, outcome) {
			t.Fatal(name, got)
		}
		if err = store.ErrNotFound; outcome == nil {
			if got := v.Sync(ctx); !errors.Is(got, store.ErrNotFound) {
				t.Fatal(name, got)
			}
		}
		v.crash()
		if readFile(t, d.open().Root(), "f") != string(data) {
			t.Errorf("%s: lost", name)
		}
	}
}

// TestLogStuckLater: records that a group made obsolete are not done again to a
// file that a later group could not flush.
func TestLogStuckLater(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	ok(t, writeSync(h, "old", 7000))
	ok(t, v.Sync(ctx))
	copy(data, randomBytes(4, logBytesMax+1))
	must[int](t)(h.WriteAt(ctx, data[:logBytesMax+1], 0))
	ok(t, h.Sync(ctx)) // by a group
	v.env.chunks = &hookChunks{d.chunks, func() error { return store.ErrNotFound }}
	must[int](t)(h.WriteAt(ctx, []byte("stuck"), 0))
	if err := v.Sync(ctx); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	v.crash()
	if readFile(t, d.open().Root(), "f") != string(data) {
		t.Error("an old record was done again")
	}
}

// TestLogCrowded: a group is made before the log is full.
func TestLogCrowded(t *testing.T) {
	d := newDisk(t)
	o := d.options()
	o.LogSize = 6 * recordMax
	v := d.openWith(o)
	h := openFile(t, v, writeFile(t, v.Root(), "f", "").Name(), true)
	ok(t, v.Sync(ctx))
	g := v.now
	for range 2 {
		must[int](t)(h.WriteAt(ctx, make([]byte, logBytesMax-1000), 0))
		if b, logged := v.logSync(h); !logged || b == nil {
			t.Fatal("not logged")
		}
	}
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ok(t, g.wait(bounded))
}

// TestLogNeedsState: while the state is of a version that knows no log, nothing
// is logged: an earlier server might go on from it, and know of no record.
func TestLogNeedsState(t *testing.T) {
	d := newDisk(t)
	ok(t, changeFile(d.path, func(tx *bbolt.Tx) error {
		s, err := readState(tx)
		s.moment = moment{}
		b := appendState(nil, &s)
		b = b[:len(b)-8-1-1] // process, group, files left
		b[0] = stateNoLog
		return errors.Join(err, putSummed(tx.Bucket(bucketMeta), keyState, b))
	}))
	v := d.open()
	if v.log.ready() {
		t.Error("there is a log before the first group")
	}
	anotherGroup(t, v)
	anotherGroup(t, v)
	if !v.log.ready() {
		t.Error("there is none behind it")
	}
}

// TestLogTornBatch: of two fsyncs that a crash interrupts, the first is torn and
// the second whole. Neither had returned: neither is done again, and nothing is
// wrong with the log.
func TestLogTornBatch(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	copy(data[100:], "before")
	ok(t, writeSync(h, "before", 100))
	start := v.log.areas[v.log.active].pos // of the next record
	for i, s := range []string{"first", "second"} {
		must[int](t)(h.WriteAt(ctx, []byte(s), int64(1000*(i+1))))
		if b, logged := v.logSync(h); !logged || b == nil {
			t.Fatal("not logged")
		}
	}
	ok(t, v.log.wait(ctx, h.f.logged))
	v.crash()
	log := must[[]byte](t)(os.ReadFile(logPath(d.path)))
	log[start+recordHeader+3] ^= 1
	ok(t, os.WriteFile(logPath(d.path), log, 0o600))
	if faults := must[[]error](t)(checkFile(d)); faults != nil {
		t.Errorf("a check finds %v", faults)
	}
	if readFile(t, d.open().Root(), "f") != string(data) {
		t.Error("the file is another")
	}
	d.logIsFine()
}

// TestStuckFileIsTold: who syncs a file that cannot be flushed hears of it,
// though the log would take the bytes; when it can be flushed, the log goes on.
func TestStuckFileIsTold(t *testing.T) {
	d := newDisk(t)
	v, chunks := faultyVolume(t, d)
	h := openFile(t, v, writeFile(t, v.Root(), "f", string(randomBytes(3, 300_000))).Name(), true)
	ok(t, v.Sync(ctx))
	ok(t, writeSync(h, "0", 0))
	must[int](t)(h.WriteAt(ctx, []byte("stuck"), 7000))
	chunks.fail(fmt.Errorf("a chunk that it needs: %w", store.ErrNotFound))
	if err := v.Sync(ctx); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if err := writeSync(h, "more", 9000); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	chunks.heal()
	ok(t, writeSync(h, "more", 9000))
	if n := v.bySync(func() { ok(t, writeSync(h, "logged", 11_000)) }); n != 0 {
		t.Error("the log is not used again")
	}
	want := readFile(t, v.Root(), "f")
	v.crash()
	if readFile(t, d.open().Root(), "f") != want {
		t.Error("lost")
	}
}

// TestLogWithinWrite: an fsync that runs between a write and its becoming a part
// of a group does not make it count as durable.
func TestLogWithinWrite(t *testing.T) {
	d := newDisk(t)
	v, h, data := loggedVolume(t, d)
	copy(data[7000:], "half")
	must[int](t)(h.f.c.WriteAt(ctx, []byte("half"), 7000)) // as Handle.WriteAt begins
	ok(t, h.Sync(ctx))
	writeFile(t, v.Root(), "other", "makes a group")
	ok(t, v.Sync(ctx))
	ok(t, v.wroteSome(h.in)) // as it ends
	ok(t, h.Sync(ctx))
	v.crash()
	if readFile(t, d.open().Root(), "f") != string(data) {
		t.Error("lost")
	}
}
