package vol

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"bazil/merge"
	"bazil/store"
)

// history is a volume on which one goroutine works, and what its tree was
// after each step.
type history struct {
	t      *testing.T
	v      *Volume
	rand   *rand.Rand
	state  map[string]string // path: content, "/" for a directory
	open   map[string]*Handle
	mu     sync.Mutex // guards states and ended
	noted  sync.Cond  // of either
	states []map[string]string
	ended  bool
}

func (h *history) step(i int) {
	root := h.v.Root()
	name := string(rune('a' + h.rand.IntN(4)))
	dir := must[*Node](h.t)(root.Lookup(ctx, "in"))
	switch h.rand.IntN(6) {
	case 0, 1: // write a little, in place
		f := h.file(root, name)
		c := fmt.Sprint(i)
		must[int](h.t)(f.WriteAt(ctx, []byte(c), 0))
		old := h.state[name]
		h.state[name] = c + old[min(len(c), len(old)):]
	case 2: // write much
		f := h.file(root, name)
		c := string(randomBytes(uint64(i), 5000+h.rand.IntN(200000)))
		must[int](h.t)(f.WriteAt(ctx, []byte(c), 0))
		old := h.state[name]
		h.state[name] = c + old[min(len(c), len(old)):]
	case 3: // put one in the place of another
		to := string(rune('a' + h.rand.IntN(4)))
		if _, there := h.state[name]; there && name != to {
			ok(h.t, root.Rename(ctx, name, root, to))
			h.moved(name, to)
		}
	case 4: // into the directory, or out of it
		if _, there := h.state[name]; there {
			ok(h.t, root.Rename(ctx, name, dir, name))
			h.moved(name, "in/"+name)
		} else if _, there := h.state["in/"+name]; there {
			ok(h.t, dir.Rename(ctx, name, root, name))
			h.moved("in/"+name, name)
		}
	case 5: // move the directory there and back
		ok(h.t, root.Rename(ctx, "in", root, "to"))
		h.note(func() { h.renamed("in/", "to/") })
		ok(h.t, root.Rename(ctx, "to", root, "in"))
		h.renamed("to/", "in/")
	}
	h.note(func() {})
}

// note remembers the state after an operation.
func (h *history) note(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	h.states = append(h.states, maps.Clone(h.state))
	h.noted.Broadcast()
}

func (h *history) renamed(from, to string) {
	for name, c := range maps.Clone(h.state) {
		if strings.HasPrefix(name, from) {
			delete(h.state, name)
			h.state[to+name[3:]] = c
		}
	}
}

func (h *history) moved(from, to string) {
	h.state[to] = h.state[from]
	delete(h.state, from)
	if f := h.open[to]; f != nil {
		ok(h.t, f.Close())
	}
	h.open[to] = h.open[from]
	delete(h.open, from)
}

// after are the states from the number least on, those included of an
// operation that is under way.
func (h *history) after(least int) []map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := len(h.states); len(h.states) == n && !h.ended; {
		h.noted.Wait()
	}
	return h.states[least:]
}

// file opens a file of the root, which is made if there is none.
func (h *history) file(root *Node, name string) *Handle {
	if f := h.open[name]; f != nil {
		return f
	}
	n, err := root.Create(ctx, name, New{Kind: merge.KindFile})
	ok(h.t, err)
	h.open[name] = must[*Handle](h.t)(n.Open(ctx, true))
	h.state[name] = ""
	h.note(func() {})
	return h.open[name]
}

// plainTree is the content of each file by its path.
func plainTree(tb testing.TB, v *Volume) map[string]string {
	out := make(map[string]string)
	var walk func(n *Node, path string)
	walk = func(n *Node, path string) {
		for _, e := range must[[]DirEntry](tb)(n.List(ctx)) {
			c := must[*Node](tb)(n.Lookup(ctx, e.Name))
			if e.Kind == merge.KindDir {
				walk(c, path+e.Name+"/")
			} else {
				out[path+e.Name] = readNode(tb, c)
			}
		}
	}
	walk(v.Root(), "")
	return out
}

// TestCommitGroupsAreCuts works on a volume while it is made durable again and
// again, and looks at what is in its file: always a state that the tree had at
// some moment, and none from before a Sync that had returned.
func TestCommitGroupsAreCuts(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testCuts(t, seed) })
	}
}

func testCuts(t *testing.T, seed uint64) {
	d := newDisk(t)
	o := d.options()
	o.CommitInterval = 2 * time.Millisecond
	h := &history{t: t, v: d.openWith(o), rand: rand.New(rand.NewPCG(seed, 3)), state: map[string]string{}, open: map[string]*Handle{}}
	h.noted.L = &h.mu
	mkdir(t, h.v.Root(), "in")
	h.note(func() {})
	ok(t, h.v.Sync(ctx))
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load() && i < 2000; i++ {
			h.step(i)
		}
		h.mu.Lock()
		h.ended = true
		h.noted.Broadcast()
		h.mu.Unlock()
	})
	for i := range 15 {
		least := 0
		if i%5 == 0 {
			h.mu.Lock()
			least = len(h.states) - 1
			h.mu.Unlock()
			ok(t, h.v.Sync(ctx))
		}
		path := filepath.Join(t.TempDir(), "copy")
		ok(t, h.v.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(path, 0o600) }))
		checkCopy(t, d, path, h.after(least))
	}
	stop.Store(true)
	wg.Wait()
}

func checkCopy(t *testing.T, d *disk, path string, states []map[string]string) {
	t.Helper()
	v := must[*Volume](t)(Open(path, d.options()))
	defer v.Close()
	got := plainTree(t, v)
	for i := len(states) - 1; i >= 0; i-- {
		if maps.Equal(got, states[i]) {
			return
		}
	}
	for name, c := range got {
		t.Logf("%s: %d bytes, %.20q", name, len(c), c)
	}
	t.Fatal("the file has a state that the tree never had")
}

// faultyChunks fails to store chunks on demand.
type faultyChunks struct {
	*store.Chunks
	err atomic.Pointer[error]
}

func (f *faultyChunks) Put(ctx context.Context, id store.ID, sealed []byte) (bool, error) {
	if err := f.err.Load(); err != nil {
		return false, *err
	}
	return f.Chunks.Put(ctx, id, sealed)
}

func (f *faultyChunks) fail(err error) { f.err.Store(&err) }
func (f *faultyChunks) heal()          { f.err.Store(nil) }

func faultyVolume(t *testing.T, d *disk) (*Volume, *faultyChunks) {
	v := d.open()
	f := &faultyChunks{Chunks: d.chunks}
	v.env.chunks = f
	return v, f
}

// TestNoSpace: a full disk is told to who waits; reads go on; nothing is lost;
// when there is space again everything becomes durable.
func TestNoSpace(t *testing.T) {
	d := newDisk(t)
	v, chunks := faultyVolume(t, d)
	root := v.Root()
	writeFile(t, root, "old", "old bytes")
	ok(t, v.Sync(ctx))
	chunks.fail(syscall.ENOSPC)
	big := string(randomBytes(9, 50000))
	f := writeFile(t, root, "big", big)
	ok(t, root.Rename(ctx, "big", root, "old"))
	for range 3 {
		if err := v.Sync(ctx); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if readNode(t, f) != big || readFile(t, root, "old") != big {
			t.Fatal("lost")
		}
		writeFile(t, root, "small", "s")
	}
	path := filepath.Join(t.TempDir(), "copy")
	ok(t, v.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(path, 0o600) }))
	checkCopy(t, d, path, []map[string]string{{"old": "old bytes"}})
	chunks.heal()
	ok(t, v.Sync(ctx))
	ok(t, v.Close())
	if got := plainTree(t, d.open()); got["old"] != big || got["small"] != "s" || len(got) != 2 {
		t.Fatal("lost at last")
	}
}

// TestStuckFile: a file that cannot be made durable for a reason of its own
// does not stop the others, and goes on to be tried.
func TestStuckFile(t *testing.T) {
	d := newDisk(t)
	v, chunks := faultyVolume(t, d)
	root := v.Root()
	f := writeFile(t, root, "f", "before")
	ok(t, v.Sync(ctx))
	chunks.fail(fmt.Errorf("a chunk that it needs: %w", store.ErrNotFound))
	h := must[*Handle](t)(f.Open(ctx, true))
	big := string(randomBytes(9, logBytesMax+50000))
	must[int](t)(h.WriteAt(ctx, []byte(big), 0))
	g := openFile(t, v, writeFile(t, root, "g", "").Name(), true)
	must[int](t)(g.WriteAt(ctx, []byte("small"), 0))
	if err := h.Sync(ctx); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if err := g.Sync(ctx); err != nil {
		t.Fatal("stopped by another file:", err)
	}
	if err := v.Sync(ctx); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy")
	ok(t, v.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(path, 0o600) }))
	checkCopy(t, d, path, []map[string]string{{"f": "before", "g": "small"}})
	if readNode(t, f) != big {
		t.Fatal("lost in memory")
	}
	chunks.heal()
	ok(t, v.Sync(ctx))
	ok(t, h.Close())
	ok(t, g.Close())
	v.crash()
	if got := plainTree(t, d.open()); got["f"] != big || got["g"] != "small" {
		t.Fatal("lost at last")
	}
}

// TestCommitFails: when the Bolt file cannot be written, waiters hear of it
// and memory goes on to have everything.
func TestCommitFails(t *testing.T) {
	v := testVolume(t)
	writeFile(t, v.Root(), "f", "x")
	ok(t, v.Sync(ctx))
	writeFile(t, v.Root(), "f", "y")
	ok(t, v.db.Close())
	if err := v.Sync(ctx); !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		t.Fatal(err)
	}
	if err := v.Close(); err == nil {
		t.Fatal("closed without an error")
	}
}

// TestClosed: everything fails after Close, and nothing hangs.
func TestClosed(t *testing.T) {
	v := testVolume(t)
	root := v.Root()
	f := writeFile(t, root, "f", "x")
	done := make(chan error)
	now, _, _, err := v.Watch(ctx, 0)
	ok(t, err)
	go func() { _, _, _, err := v.Watch(ctx, now); done <- err }()
	ok(t, v.Close())
	if err := <-done; !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	for _, err := range []error{
		v.Sync(ctx), func() error { _, err := root.Lookup(ctx, "f"); return err }(),
		func() error { _, err := f.Open(ctx, true); return err }(),
		func() error { _, err := f.Attr(); return err }(), root.Unlink(ctx, "f"),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
	}
	ok(t, v.Close())
}

// TestBackPressure: writers wait when more is changed than memory may hold.
func TestBackPressure(t *testing.T) {
	d := newDisk(t)
	o := d.options()
	o.DirtyLimit = 256 << 10
	v := d.openWith(o)
	for i := range 2000 {
		must[*Node](t)(v.Root().Create(ctx, fmt.Sprint(i), New{Kind: merge.KindFile}))
		if s := must[Stats](t)(v.Stats(ctx)); s.DirtyNames > 2*256+2 {
			t.Fatal(s.DirtyNames)
		}
	}
}

// TestWriteLargerThanMemory: a write in place of more than memory may hold
// makes room for itself.
func TestWriteLargerThanMemory(t *testing.T) {
	d := newDisk(t)
	o := d.options()
	o.DirtyLimit = 256 << 10
	v := d.openWith(o)
	old, fresh := randomBytes(1, 2<<20), randomBytes(2, 1<<20)
	writeFile(t, v.Root(), "f", string(old))
	ok(t, v.Sync(ctx))
	h := openFile(t, v, "f", true)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	must[int](t)(h.WriteAt(ctx, fresh, 70_000))
	copy(old[70_000:], fresh)
	if readFile(t, v.Root(), "f") != string(old) {
		t.Error("other bytes")
	}
}

func TestWatch(t *testing.T) {
	v := testVolume(t)
	root := v.Root()
	f := writeFile(t, root, "f", "x")
	now, changed, all, err := v.Watch(ctx, 0)
	ok(t, err)
	if len(changed) > 0 || all || now == 0 {
		t.Fatal(now, changed, all)
	}
	type event struct {
		changed []uint64
		all     bool
	}
	next := func() event {
		var e event
		now, e.changed, e.all, err = v.Watch(ctx, now)
		ok(t, err)
		return e
	}
	got := make(chan event)
	go func() { got <- next() }()
	h := openFile(t, v, "f", true)
	must[int](t)(h.WriteAt(ctx, []byte("y"), 0))
	if e := <-got; e.all || len(e.changed) != 1 || e.changed[0] != f.Ino() {
		t.Fatal(e)
	}
	ok(t, h.Close())
	g := writeFile(t, root, "g", "")
	if e := next(); e.all || len(e.changed) != 2 {
		t.Fatal(e, root.Ino(), g.Ino())
	}
	for i := range watchLen + 1 {
		mode := uint32(i % 512)
		ok(t, g.SetAttr(ctx, SetAttr{Mode: &mode}))
	}
	if e := next(); !e.all {
		t.Fatal(e)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, _, err := v.Watch(cancelled, now); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, _, all, err := v.Watch(ctx, 5); err != nil || !all {
		t.Fatal("a number from another time must ask for everything")
	}
}

// TestCloseDuringWrites: a write that succeeded before or during Close is
// there afterwards.
func TestCloseDuringWrites(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	const writers = 4
	var wg sync.WaitGroup
	written := make([]int, writers)
	begun := make(chan struct{}, writers)
	for w := range writers {
		h := openFile(t, v, writeFile(t, v.Root(), fmt.Sprint(w), "").Name(), true)
		wg.Go(func() {
			for i := 0; ; i++ {
				if _, err := h.WriteAt(ctx, []byte{1}, int64(i)); err != nil {
					if !errors.Is(err, syscall.EIO) {
						t.Error(err)
					}
					return
				}
				written[w] = i + 1
				if i == 100 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range writers {
		<-begun
	}
	ok(t, v.Close())
	wg.Wait()
	v = d.open()
	for w, n := range written {
		if got := len(readFile(t, v.Root(), fmt.Sprint(w))); got < n {
			t.Errorf("%d bytes of %d", got, n)
		}
	}
}
