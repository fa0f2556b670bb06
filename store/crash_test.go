package store

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/store/faultfs"
)

var crashPoints = flag.Int("crashpoints", 1200, "different states that a crash leaves to try, at least")
var crashSeed = flag.Uint64("crashseed", 1, "first seed of the crash histories")

// crashRun plays a random history on a store whose file system can crash, and
// tries recovery from what each call may leave.
type crashRun struct {
	t      *testing.T
	seed   uint64
	r      *rand.Rand
	fs     faultFiles
	c      *Chunks
	points map[[32]byte]bool // states that crashes left, all different

	mu    sync.Mutex   // guards acked and sure, which the hook reads
	known map[ID]chunk // ever Put or tried
	put   map[ID]bool  // Put, in this process's life
	acked map[ID]bool  // Put before a successful Sync: the store owes them
	bad   []string     // violations
	every int          // try recovery after every so many calls
	tries int          // times for each
	limit int          // violations to stop at
}

const crashSegment = 6 << 10

func newCrashRun(t *testing.T, seed uint64) *crashRun {
	return &crashRun{
		t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7)), fs: newFaultFiles(), every: 1, tries: 1, limit: 1,
		points: map[[32]byte]bool{},
		known:  map[ID]chunk{}, put: map[ID]bool{}, acked: map[ID]bool{},
	}
}

// openSim opens a chunk store without the sealing goroutine, so that the order
// of calls is the same every time: footer writing is a step of the history.
func openSim(fs files) (*Chunks, error) {
	c := newChunks(fs, "d", Options{SegmentSize: crashSegment})
	c.sealSlots = make(chan struct{}, 1000) // nobody frees them meanwhile
	if err := c.load(); err != nil {
		c.stop()
		return nil, err
	}
	c.done.Go(c.flushLoop)
	return c, nil
}

// halt ends a store's goroutines without any of what close does.
func halt(c *Chunks) {
	c.stop()
	c.done.Wait()
}

// play runs the history: steps random steps.
func (h *crashRun) play(steps int) {
	h.fs.After = h.tryCrash
	h.open()
	for range steps {
		if h.c == nil {
			return
		}
		h.step()
		if len(h.bad) >= h.limit {
			break
		}
	}
	h.fs.After = nil
	halt(h.c)
}

func (h *crashRun) open() {
	c, err := openSim(h.fs)
	if err != nil && h.fs.Fail != nil { // once more, without faults
		fail := h.fs.Fail
		h.fs.Fail = nil
		c, err = openSim(h.fs)
		h.fs.Fail = fail
	}
	if err != nil {
		h.fail("open: %v", err)
	}
	h.c = c
	h.put = map[ID]bool{}
}

func (h *crashRun) fail(format string, args ...any) {
	h.bad = append(h.bad, fmt.Sprintf("seed %d, call %d: ", h.seed, h.fs.Calls)+fmt.Sprintf(format, args...))
}

func (h *crashRun) step() {
	switch n := h.r.IntN(100); {
	case n < 60:
		h.stepPut()
	case n < 75:
		h.stepSync()
	case n < 85:
		h.c.sealAll()
	case n < 90:
		h.c.sealAll()
		h.c.mergeTables(context.Background())
	case n < 96:
		h.stepGet()
	case n < 97:
		h.stepCollect()
	case n < 98:
		h.fs.Evict()
	case n < 99:
		h.stepKill()
	default:
		h.stepCrash()
	}
	if len(h.c.sealSlots) >= maxUnsealedQueue {
		h.c.sealAll()
	}
}

func (h *crashRun) stepPut() {
	ch := newChunk(h.r.Uint64N(1000), 24+h.r.IntN(1500))
	h.mu.Lock()
	h.known[ch.id] = ch
	h.mu.Unlock()
	if _, err := h.c.Put(context.Background(), ch.id, ch.sealed); err == nil {
		h.put[ch.id] = true
	} else if h.fs.Fail == nil {
		h.fail("put: %v", err)
	}
}

func (h *crashRun) stepSync() {
	before := maps.Clone(h.put)
	if err := h.c.Sync(context.Background()); err == nil {
		h.mu.Lock()
		maps.Copy(h.acked, before)
		h.mu.Unlock()
	} else if h.fs.Fail == nil {
		h.fail("sync: %v", err)
	}
}

func (h *crashRun) stepGet() {
	ids := slices.SortedFunc(maps.Keys(h.put), func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	if len(ids) > 0 {
		id := ids[h.r.IntN(len(ids))]
		got, err := h.c.Get(context.Background(), id, nil)
		if err == nil && !bytes.Equal(got, h.known[id].sealed) {
			h.fail("wrong bytes")
		}
		if err != nil && h.acked[id] && h.fs.Fail == nil {
			h.fail("get: %v", err)
		}
	}
}

// stepCollect drops some chunks and collects.
func (h *crashRun) stepCollect() {
	h.mu.Lock()
	kept := map[ID]bool{}
	drop := byte(h.r.IntN(8))
	for id := range h.known {
		if id[0]%8 != drop {
			kept[id] = true
		} else {
			delete(h.acked, id)
			delete(h.put, id)
		}
	}
	h.mu.Unlock()
	mark := func(_ context.Context, keep func(ID)) error {
		for id := range kept {
			keep(id)
		}
		return nil
	}
	full := h.r.IntN(2) == 0 && h.fillDisk()
	_, err := h.c.Collect(context.Background(), mark, CollectOptions{MinDead: 0.01 + h.r.Float64()/2})
	if err != nil && h.fs.Fail == nil {
		h.fail("collect, on a full disk %v: %v", full, err)
	}
	h.fs.Mu.Lock()
	h.fs.Room = 0
	h.fs.Mu.Unlock()
}

// fillDisk makes the disk full if the store has a reserve.
func (h *crashRun) fillDisk() bool {
	err := h.c.refillReserve()
	if err != nil && h.fs.Fail == nil {
		h.fail("reserve: %v", err)
	}
	h.fs.Mu.Lock()
	reserve := h.fs.Files[h.c.reservePath()]
	h.fs.Mu.Unlock()
	if reserve == nil {
		return false
	}
	h.fs.fill()
	return true
}

// stepKill ends the process, not the machine: what was written stays.
func (h *crashRun) stepKill() {
	if h.r.IntN(2) == 0 {
		h.stepSync()
		h.c.close()
	}
	halt(h.c)
	if h.r.IntN(2) == 0 {
		h.fs.Evict()
	}
	h.open()
}

// stepCrash goes on with what a crash left.
func (h *crashRun) stepCrash() {
	halt(h.c)
	h.fs.Mu.Lock()
	fs := faultFiles{h.fs.Crash(h.r)}
	fs.After, fs.Fail, fs.Lie, fs.Calls = h.fs.After, h.fs.Fail, h.fs.Lie, h.fs.Calls
	h.fs.After = nil
	h.fs.Mu.Unlock()
	h.fs = fs
	h.open()
}

// tryCrash is called after each call that changes a file: it crashes copies,
// recovers them and holds them against the contract.
func (h *crashRun) tryCrash(d *faultfs.Disk, call string) {
	if d.Calls%h.every != 0 {
		return
	}
	for i := range h.tries {
		if len(h.bad) >= h.limit {
			return
		}
		r := rand.New(rand.NewPCG(h.seed, uint64(d.Calls*h.tries+i)))
		left := d.Crash(r)
		sum := left.Sum()
		if h.points[sum] {
			continue
		}
		h.points[sum] = true
		if why := h.checkRecovery(faultFiles{left}, r); why != "" {
			h.bad = append(h.bad, fmt.Sprintf("seed %d, crash after call %d (%s): %s", h.seed, d.Calls, call, why))
		}
	}
}

// checkRecovery opens a crashed store and says what is wrong with it.
func (h *crashRun) checkRecovery(fs faultFiles, r *rand.Rand) string {
	if r.IntN(4) == 0 { // crash again, somewhere in recovery
		fs = crashInRecovery(fs, r)
	}
	c, err := openSim(fs)
	if err != nil {
		return fmt.Sprintf("does not open: %v", err)
	}
	defer halt(c)
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, ch := range h.known {
		got, err := c.Get(context.Background(), id, nil)
		switch {
		case err == nil && !bytes.Equal(got, ch.sealed):
			return "serves wrong bytes"
		case err != nil && h.acked[id]:
			return fmt.Sprintf("lost what was synced: %v", err)
		case err != nil && !errors.Is(err, ErrNotFound):
			return fmt.Sprintf("neither there nor absent: %v", err)
		}
	}
	if st := c.Stats(); st.Damaged > 0 {
		return "takes the crash for damage"
	}
	return checkUsable(c, fs, r)
}

// checkUsable stores on the recovered store, and reopens it.
func checkUsable(c *Chunks, fs faultFiles, r *rand.Rand) string {
	ch := newChunk(r.Uint64(), 600)
	if _, err := c.Put(context.Background(), ch.id, ch.sealed); err != nil {
		return fmt.Sprintf("put after recovery: %v", err)
	}
	c.sealAll()
	if err := c.Sync(context.Background()); err != nil {
		return fmt.Sprintf("sync after recovery: %v", err)
	}
	fs.Mu.Lock()
	left := fs.Crash(r)
	fs.Mu.Unlock()
	again, err := openSim(faultFiles{left})
	if err != nil {
		return fmt.Sprintf("does not open a second time: %v", err)
	}
	defer halt(again)
	if _, err := again.Get(context.Background(), ch.id, nil); err != nil {
		return fmt.Sprintf("lost what was synced after recovery: %v", err)
	}
	return ""
}

// crashInRecovery opens the store and crashes it at one of the calls that makes.
func crashInRecovery(fs faultFiles, r *rand.Rand) faultFiles {
	left := 1 + r.IntN(12)
	out := fs
	fs.After = func(d *faultfs.Disk, call string) {
		if left--; left == 0 {
			out = faultFiles{d.Crash(r)}
		}
	}
	c, err := openSim(fs)
	if err == nil {
		c.sealAll()
		halt(c)
	}
	fs.After = nil
	return out
}

// crashHistories plays histories until that many different states have been
// recovered from, and returns the violations.
func crashHistories(t *testing.T, points, steps int, prepare func(h *crashRun)) []string {
	all := map[[32]byte]bool{}
	seed := *crashSeed
	for ; len(all) < points; seed++ {
		h := newCrashRun(t, seed)
		h.points = all
		if prepare != nil {
			prepare(h)
		}
		h.play(steps)
		if len(h.bad) > 0 {
			return h.bad
		}
	}
	t.Logf("%d different states after crashes, in %d histories", len(all), seed-*crashSeed)
	return nil
}

func TestCrashPoints(t *testing.T) {
	for _, why := range crashHistories(t, *crashPoints, 150, func(h *crashRun) { h.tries = 2 }) {
		t.Error(why)
	}
}

// TestCrashFindsLies checks the checker: a disk that does not do one kind of
// flush must be found out.
func TestCrashFindsLies(t *testing.T) {
	for name, lie := range map[string]func(path string) bool{
		"segments":           func(path string) bool { return strings.HasSuffix(path, ".seg") },
		"names of segments":  func(path string) bool { return path == "d/"+chunksDir },
		"merged tables":      func(path string) bool { return strings.HasSuffix(path, newSuffix) },
		"records of a seal":  nil,
		"one flush in three": nil,
	} {
		prepare := func(h *crashRun) { h.fs.Lie = lie }
		switch name {
		case "records of a seal": // the footer gets ahead of the records
			prepare = func(h *crashRun) { h.fs.Lie = func(path string) bool { return h.sealing(path) } }
		case "one flush in three":
			prepare = func(h *crashRun) { h.fs.Lie = func(string) bool { return h.fs.Calls%3 == 0 } }
		}
		points := 6000
		if name == "merged tables" { // rebuilt from footers: harmless, and must be
			points = 1000
		}
		bad := crashHistories(t, points, 150, prepare)
		if name == "merged tables" {
			if len(bad) != 0 {
				t.Errorf("%s: %v", name, bad)
			}
		} else if len(bad) == 0 {
			t.Errorf("%s: nothing found", name)
		}
	}
}

// sealing says whether a segment's records are about to be flushed for its
// footer's sake.
func (h *crashRun) sealing(path string) bool {
	n := h.fs.Files[path]
	return n != nil && len(n.Seen) > crashSegment-1600 && !bytes.Contains(n.Seen, tableMagic[:])
}

// TestFaults lets calls fail at random and checks that nothing promised is
// lost, through crashes, too.
func TestFaults(t *testing.T) {
	for name, errs := range map[string]map[string]error{
		"writes fail":   {"write": syscall.EIO},
		"disk full":     {"write": syscall.ENOSPC, "create": syscall.ENOSPC},
		"flushes fail":  {"sync": syscall.EIO, "syncDir": syscall.EIO},
		"all may fail":  {"write": syscall.EIO, "sync": syscall.EIO, "syncDir": syscall.EIO, "truncate": syscall.EIO, "create": syscall.ENOSPC, "rename": syscall.EIO, "remove": syscall.EIO},
		"no truncation": {"truncate": syscall.EIO, "write": syscall.ENOSPC},
	} {
		bad := crashHistories(t, *crashPoints/8, 100, func(h *crashRun) {
			h.every = 3
			r := rand.New(rand.NewPCG(h.seed, 99))
			h.fs.Fail = func(call, path string) error {
				if err := errs[call]; err != nil && r.IntN(15) == 0 {
					return &os.PathError{Op: call, Path: path, Err: err}
				}
				return nil
			}
		})
		for _, why := range bad {
			t.Errorf("%s: %s", name, why)
		}
	}
}
