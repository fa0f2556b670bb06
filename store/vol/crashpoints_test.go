package vol

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/merge"
	"bazil/store"
	"bazil/store/faultfs"
)

var crashPoints = flag.Int("crashpoints", 300, "different states that a crash leaves to try, at least")
var crashSeed = flag.Uint64("crashseed", 1, "first seed of the crash histories")

// crashHistory is a data directory on a disk that crashes, on which processes
// live one after the other.
type crashHistory struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	d       *faultfs.Disk
	tmp     string
	tries   int                                 // crashes tried at each call
	arm     func(d *faultfs.Disk, r *rand.Rand) // makes a disk fail or lie while a process lives
	points  map[[32]byte]bool                   // states tried, shared by all histories
	bad     []string                            // violations
	life    *life                               // the model of the process that lives
	states  []files                             // after each of its operations
	ids     []map[string]int                    // which file each name has then
	syncs   []fsynced                           // since the first of them
	durable int                                 // that many operations are
	before  int                                 // states before the first operation of the present process
	snaps   map[string]files                    // made and durable
	made    map[string]bool                     // which the process said were made
	making  string                              // the snapshot that its present operation makes
	told    *bufio.Reader                       // what the process tells
	dying   int                                 // calls until the process is killed
	process *os.Process                         // that lives
	limit   int                                 // violations to stop at
}

func newCrashHistory(t *testing.T, seed uint64, points map[[32]byte]bool) *crashHistory {
	h := &crashHistory{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 5)), tmp: memoryDir(t), tries: 2, points: points, limit: 1, snaps: map[string]files{}, made: map[string]bool{}}
	h.d = diskOf(t, h.newData())
	return h
}

// memoryDir is a folder of its own for which no disk is waited for, if there
// is such.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "bazil-vol")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newData makes a data directory with a volume.
func (h *crashHistory) newData() string {
	dir := filepath.Join(h.tmp, "new")
	ok(h.t, store.Create(dir))
	s := must[*store.Store](h.t)(store.Open(dir, store.Options{}))
	ok(h.t, os.Mkdir(filepath.Join(dir, "volumes"), 0o700))
	path := filepath.Join(dir, lifeVolume)
	ok(h.t, Create(path, NewID(), lifeOptions(s)))
	v := must[*Volume](h.t)(Open(path, lifeOptions(s)))
	must[*Node](h.t)(v.Root().Create(ctx, "in", New{Kind: merge.KindDir, Mode: 0o755}))
	ok(h.t, v.Close())
	ok(h.t, s.Close())
	return dir
}

// diskOf is a disk that holds the folder dir.
func diskOf(t *testing.T, dir string) *faultfs.Disk {
	d := faultfs.New()
	ok(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if e.IsDir() {
			d.Dirs[name] = true
			return nil
		}
		b, err := os.ReadFile(p)
		d.Put(name, b)
		return err
	}))
	return d
}

// fsynced is an fsync that a process began: it may make its file go on from an
// earlier state to that after operation at.
type fsynced struct {
	at   int
	name string
	told bool // it returned
}

// play lets a few processes live.
func (h *crashHistory) play() {
	for n := range uint64(3) {
		if len(h.bad) < h.limit {
			h.liveOnce(h.seed*10 + n)
		}
	}
}

// TestFlushesPerFsync counts the flushes that writers of 4 KiB cost: little more
// than one for one of them, with those for making the log, and a share of that
// where there are many.
func TestFlushesPerFsync(t *testing.T) {
	for _, c := range []struct {
		writers, size int
		most          float64
	}{{1, 0, 1.5}, {8, 0, 1}, {64, 0, 0.25}, {1, 1 << 20, 1.5}, {8, 1 << 20, 1}, {64, 1 << 20, 0.25}} {
		h := newCrashHistory(t, 1, nil)
		dir := filepath.Join(h.tmp, "mnt")
		ok(t, os.Mkdir(dir, 0o755))
		unmount := must[func() error](t)(h.d.Mount(dir))
		r, w, err := os.Pipe()
		ok(t, err)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s 0 %d %d", lifeEnv, dir, c.writers, c.size))
		cmd.ExtraFiles, cmd.Stderr = []*os.File{w}, os.Stderr
		begin := must[io.WriteCloser](t)(cmd.StdinPipe())
		ok(t, cmd.Start())
		w.Close()
		flushes := 0
		told := bufio.NewReader(r)
		must[string](t)(told.ReadString('\n'))
		h.d.Mu.Lock()
		h.d.After = func(_ *faultfs.Disk, call string) {
			if strings.HasPrefix(call, "sync") {
				flushes++
			}
		}
		h.d.Mu.Unlock()
		must[int](t)(begin.Write([]byte{1}))
		must[string](t)(told.ReadString('\n'))
		h.d.Mu.Lock()
		each := float64(flushes) / float64(c.writers*fsyncsEach)
		h.d.Mu.Unlock()
		ok(t, cmd.Wait())
		ok(t, unmount())
		t.Logf("%d writers in %d bytes: %.2f flushes for an fsync", c.writers, c.size, each)
		if each > c.most {
			t.Errorf("%d writers in %d bytes: %.2f flushes for an fsync, want at most %.2f", c.writers, c.size, each, c.most)
		}
	}
}

// liveOnce lets one process live, until it is done, it or the machine dies.
func (h *crashHistory) liveOnce(seed uint64) {
	const steps = 25
	dir := filepath.Join(h.tmp, fmt.Sprint("mnt", seed))
	ok(h.t, os.Mkdir(dir, 0o755))
	unmount, err := h.d.Mount(dir)
	ok(h.t, err)
	start := h.survey()
	h.life = newLife(seed, start)
	h.forget(h.durable)
	h.states, h.ids = append(h.states, start), append(h.ids, maps.Clone(h.life.ids)) // what was not flushed may still be lost
	h.durable, h.before = 0, len(h.states)-1
	var pipe [2]int
	ok(h.t, syscall.Pipe2(pipe[:], syscall.O_CLOEXEC))
	ok(h.t, syscall.SetNonblock(pipe[0], true))
	h.told = bufio.NewReader(nonblocking(pipe[0]))
	w := os.NewFile(uintptr(pipe[1]), "told")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d 0", lifeEnv, dir, seed, steps))
	cmd.ExtraFiles = []*os.File{w}
	var out bytes.Buffer
	cmd.Stderr = &out
	h.dying = 1 << 30
	if h.r.IntN(2) == 0 {
		h.dying = 20 + h.r.IntN(300)
	}
	h.d.Mu.Lock()
	if h.arm != nil {
		h.arm(h.d, h.r)
	}
	h.d.After = h.crash
	ok(h.t, cmd.Start())
	h.process = cmd.Process
	h.d.Mu.Unlock()
	w.Close()
	err = cmd.Wait()
	h.d.Mu.Lock()
	h.d.After, h.d.Fail, h.d.Lie = nil, nil, nil
	h.listen()
	h.d.Mu.Unlock()
	if err != nil && h.dying > 0 && h.arm == nil {
		h.fail("process: %v\n%s", err, out.String())
	}
	ok(h.t, syscall.Close(pipe[0]))
	ok(h.t, unmount())
	h.afterLife()
}

// forget forgets the first n states.
func (h *crashHistory) forget(n int) {
	h.states, h.ids = h.states[n:], h.ids[n:]
	for i := range h.syncs {
		h.syncs[i].at -= n
	}
	h.syncs = slices.DeleteFunc(h.syncs, func(s fsynced) bool { return s.at <= 0 })
}

// afterLife decides what the next process finds.
func (h *crashHistory) afterLife() {
	switch h.r.IntN(3) {
	case 0: // the machine went down, too
		h.d = h.d.Crash(h.r)
		h.forget(len(h.states))
		h.durable = 0
	case 1:
		h.d.Evict() // the process only, and its pages
	}
}

// survey reads the tree as it is found before a process lives.
func (h *crashHistory) survey() files {
	dir := filepath.Join(h.tmp, "survey")
	defer os.RemoveAll(dir)
	ok(h.t, h.d.Write(dir))
	p, err := openLife(dir)
	ok(h.t, err)
	defer p.close()
	return must[files](h.t)(readTree(p.v.Root()))
}

func (h *crashHistory) fail(format string, args ...any) {
	h.bad = append(h.bad, fmt.Sprintf("seed %d, call %d: ", h.seed, h.d.Calls)+fmt.Sprintf(format, args...))
}

// nonblocking reads what there is from a file descriptor.
type nonblocking int

func (f nonblocking) Read(p []byte) (int, error) {
	n, err := syscall.Read(int(f), p)
	if err != nil || n <= 0 {
		return 0, io.EOF
	}
	return n, nil
}

// listen follows what the process has told.
func (h *crashHistory) listen() {
	for {
		line, err := h.told.ReadString('\n')
		if err != nil {
			return
		}
		var word string
		var n int
		if _, err := fmt.Sscan(line, &word, &n); err != nil {
			h.fail("process told %q", line)
			return
		}
		for len(h.states) <= h.before+n {
			op := h.life.next()
			h.making = op.snapshotAs
			h.states, h.ids = append(h.states, maps.Clone(h.life.tree)), append(h.ids, maps.Clone(h.life.ids))
			if op.kind == "fsync" {
				h.syncs = append(h.syncs, fsynced{at: len(h.states) - 1, name: op.name})
			}
			h.snaps[h.making] = maps.Clone(h.life.tree)
		}
		switch word {
		case "synced":
			h.syncs[len(h.syncs)-1].told = true
		case "done", "closed":
			h.durable = h.before + n
		}
		if word == "done" && h.making != "" {
			h.made[h.making] = true
		}
	}
}

// crash is called after each call of the process that changes something: it
// crashes copies and checks what they recover to.
func (h *crashHistory) crash(d *faultfs.Disk, call string) {
	h.listen()
	if h.dying--; h.dying == 0 {
		h.process.Kill()
	}
	for i := range h.tries {
		if len(h.bad) >= h.limit || h.dying <= 0 {
			return
		}
		left := d.Crash(rand.New(rand.NewPCG(h.seed, uint64(d.Calls*h.tries+i))))
		sum := left.Sum()
		if h.points[sum] {
			continue
		}
		h.points[sum] = true
		if why := h.recover(left); why != "" {
			h.fail("crash after %s: %s", call, why)
		}
	}
}

// recover opens what a crash left, and says what is wrong with it.
func (h *crashHistory) recover(left *faultfs.Disk) string {
	dir := filepath.Join(h.tmp, "crashed")
	defer os.RemoveAll(dir)
	if err := left.Write(dir); err != nil {
		return err.Error()
	}
	p, err := openLife(dir)
	if err != nil {
		return fmt.Sprintf("does not open: %v", err)
	}
	defer p.close()
	got, err := readTree(p.v.Root())
	if err != nil {
		return fmt.Sprintf("does not read: %v", err)
	}
	if why := h.matches(got); why != "" {
		return why
	}
	if why := h.snapshotsHold(p.v); why != "" {
		return why
	}
	return usable(p)
}

// from returns state i with what files were fsynced to later, as near to got as
// that can be. It is not ok if an fsync that returned needs a later state.
func (h *crashHistory) from(i int, got files) (t files, ok bool) {
	t = maps.Clone(h.states[i])
	for _, s := range h.syncs {
		was, there := h.ids[i][s.name]
		switch synced := h.states[s.at][s.name]; {
		case s.at <= i:
		case !there || was != h.ids[s.at][s.name]:
			if s.told {
				return nil, false
			}
		case s.told || got[s.name] == synced:
			t[s.name] = synced
		}
	}
	return t, true
}

// matches says whether a tree is one that there was, not before what is
// durable, with what was fsynced since.
func (h *crashHistory) matches(got files) string {
	best := got.differs(h.states[len(h.states)-1])
	for i := len(h.states) - 1; i >= h.durable; i-- {
		t, ok := h.from(i, got)
		if !ok {
			continue
		}
		d := got.differs(t)
		if len(d) == 0 {
			return ""
		}
		if len(d) < len(best) {
			best = d
		}
	}
	for i := range h.durable {
		if len(got.differs(h.states[i])) == 0 {
			return fmt.Sprintf("has the tree after operation %d, though %d were durable of %d", i, h.durable, len(h.states)-1)
		}
	}
	return fmt.Sprintf("has a tree that never was: of those after operations %d to %d, the nearest differs in %q", h.durable, len(h.states)-1, best)
}

// snapshotsHold says what is wrong with the snapshots.
func (h *crashHistory) snapshotsHold(v *Volume) string {
	have, err := v.Snapshots(context.Background())
	if err != nil {
		return fmt.Sprintf("snapshots: %v", err)
	}
	for name := range h.made {
		if !slices.ContainsFunc(have, func(s SnapshotInfo) bool { return s.Name == name }) {
			return fmt.Sprintf("lost snapshot %s", name)
		}
	}
	for _, s := range have {
		got, err := readSnapshot(v, s.Name)
		if err != nil {
			return fmt.Sprintf("snapshot %s: %v", s.Name, err)
		}
		if d := got.differs(h.snaps[s.Name]); len(d) > 0 {
			return fmt.Sprintf("snapshot %s differs in %q", s.Name, d)
		}
	}
	return ""
}

// usable says whether the volume can be worked with.
func usable(p *lifeParts) string {
	op := lifeOp{kind: "write", name: "after", data: "it goes on"}
	if _, err := p.do(op); err != nil {
		return fmt.Sprintf("write after recovery: %v", err)
	}
	if err := p.v.Sync(context.Background()); err != nil {
		return fmt.Sprintf("sync after recovery: %v", err)
	}
	if n := p.s.Chunks().Stats().Damaged; n > 0 {
		return "takes the crash for damage"
	}
	return ""
}

// crashVolumes plays histories until that many different states have been
// recovered from, two at a time.
func crashVolumes(t *testing.T, points int, arm func(d *faultfs.Disk, r *rand.Rand)) (bad []string) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards bad and total
	total := 0
	for w := range uint64(2) {
		wg.Go(func() {
			mine := map[[32]byte]bool{}
			for seed := *crashSeed*1000 + w; len(mine) < points/2; seed += 2 {
				h := newCrashHistory(t, seed, mine)
				h.arm = arm
				h.play()
				if len(h.bad) > 0 {
					mu.Lock()
					bad = append(bad, h.bad...)
					mu.Unlock()
					return
				}
			}
			mu.Lock()
			total += len(mine)
			mu.Unlock()
		})
	}
	wg.Wait()
	t.Logf("%d different states after crashes", total)
	return bad
}

// TestCrashPoints crashes a volume and the chunk store below it at every write
// and flush that a process makes.
func TestCrashPoints(t *testing.T) {
	for _, why := range crashVolumes(t, *crashPoints, nil) {
		t.Error(why)
	}
}

// TestCrashFindsLies checks the checker: a disk that does not do one kind of
// flush must be found out.
func TestCrashFindsLies(t *testing.T) {
	for name, lie := range map[string]func(path string) bool{
		"the volume's file": func(path string) bool { return path == lifeVolume },
		"segments":          func(path string) bool { return strings.HasSuffix(path, ".seg") },
		"the log":           func(path string) bool { return strings.HasSuffix(path, ".log") },
	} {
		bad := crashVolumes(t, 3000, func(d *faultfs.Disk, _ *rand.Rand) { d.Lie = lie })
		if len(bad) == 0 {
			t.Errorf("%s: nothing found", name)
		} else {
			t.Logf("%s: %s", name, bad[0])
		}
	}
}

// TestCrashFaults lets calls fail as well.
func TestCrashFaults(t *testing.T) {
	for name, errs := range map[string]map[string]error{
		"flushes fail": {"sync": syscall.EIO},
		"disk full":    {"write": syscall.ENOSPC, "create": syscall.ENOSPC},
		"writes fail":  {"write": syscall.EIO, "sync": syscall.EIO},
	} {
		bad := crashVolumes(t, *crashPoints/2, func(d *faultfs.Disk, r *rand.Rand) {
			seed := r.Uint64()
			d.Fail = func(call, path string) error {
				if err := errs[call]; err != nil && rand.New(rand.NewPCG(seed, uint64(d.Calls))).IntN(12) == 0 {
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
