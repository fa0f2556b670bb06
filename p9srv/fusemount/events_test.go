package fusemount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// feed gives events that a test makes.
type feed struct {
	mu    sync.Mutex // guards the rest
	queue []uint64
	all   bool
	more  chan struct{}

	opened chan struct{} // gets a value when the events are asked for
	settle chan struct{} // who sends to it wants an empty batch told after the rest ...
	dealt  chan struct{} // ... and who receives then, waits until it was dealt with
	owed   bool          // that batch is to be told; only next uses it, and told
	told   bool          // it was
}

func newFeed() *feed {
	return &feed{more: make(chan struct{}, 1), opened: make(chan struct{}, 8), settle: make(chan struct{}), dealt: make(chan struct{})}
}

// settled returns when all that was told before is dealt with.
func (f *feed) settled() {
	f.settle <- struct{}{}
	<-f.dealt
}

func (f *feed) open(context.Context, *client.Conn) (Next, error) {
	f.opened <- struct{}{}
	return f.next, nil
}

func (f *feed) next(ctx context.Context) ([]uint64, bool, error) {
	if f.told {
		f.told = false
		f.dealt <- struct{}{}
	}
	for {
		f.mu.Lock()
		inos, all := f.queue, f.all
		f.queue, f.all = nil, false
		f.mu.Unlock()
		slices.Sort(inos)
		inos = slices.Compact(inos)
		if all || len(inos) > 0 {
			return inos, all, nil
		}
		if f.owed {
			f.owed, f.told = false, true
			return nil, false, nil
		}
		select {
		case <-f.more:
		case <-f.settle:
			f.owed = true
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// changed tells of the files with those paths at the server.
func (f *feed) changed(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		f.add(statOf(t, p).Ino)
	}
}

func (f *feed) add(ino uint64) {
	f.mu.Lock()
	f.queue = append(f.queue, ino)
	f.mu.Unlock()
	f.wake()
}

func (f *feed) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// watched is a mount with events, which are already coming.
func watched(t *testing.T) (s *served, dir string, f *feed) {
	t.Helper()
	s, f = serve(t), newFeed()
	_, dir = s.mount(t, Options{Events: f.open})
	<-f.opened
	f.settled()
	return s, dir, f
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	check(t, err)
	return string(b)
}

// TestOpenBeforeEvent: who opens a file after it has changed reads all of it,
// though the event that would tell the kernel has not come.
func TestOpenBeforeEvent(t *testing.T) {
	s, dir, f := watched(t)
	name := filepath.Join(dir, "f")
	for i, content := range []string{"", "a content", "another, which is longer", "short"} {
		check(t, os.WriteFile(s.back("f"), []byte(content), 0o644))
		if got := read(t, name); got != content {
			t.Errorf("%d: %q, want %q", i, got, content)
		}
		if info, err := os.Stat(name); err != nil || info.Size() != int64(len(content)) {
			t.Errorf("%d: %v, %v", i, info, err)
		}
		if i == 0 {
			f.changed(t, s.back("f")) // so that the kernel keeps what it asks for from here on
			f.settled()
		}
	}
}

// TestEventBehindOpen: the event about the version that was opened overtakes the
// answer that tells the kernel its size. Who has it open reads all of it.
func TestEventBehindOpen(t *testing.T) {
	for _, flags := range []int{os.O_RDONLY, os.O_RDWR} {
		t.Run(fmt.Sprint(flags), func(t *testing.T) {
			s, _, dir, h, f := heldMount(t)
			name, content := filepath.Join(dir, "f"), "a content"
			check(t, os.WriteFile(s.back("f"), nil, 0o644))
			statOf(t, name)
			check(t, os.WriteFile(s.back("f"), []byte(content), 0o644))
			fd, err := os.OpenFile(name, flags, 0)
			check(t, err)
			defer fd.Close()
			h.hold(p9srv.Tgetattr)
			got := make(chan string)
			go func() {
				b := make([]byte, 100)
				n, _ := fd.ReadAt(b, 0)
				got <- string(b[:n])
			}()
			<-h.came
			f.changed(t, s.back("f"))
			f.settled()
			h.free <- struct{}{}
			if read := <-got; read != content {
				t.Errorf("%q, want %q", read, content)
			}
			check(t, os.WriteFile(s.back("f"), []byte("and another"), 0o644))
			f.changed(t, s.back("f"))
			f.settled()
			if read := read(t, name); read != "and another" {
				t.Errorf("after the next event: %q", read)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	s, dir, f := watched(t)
	d := filepath.Join(dir, "d")
	check(t, os.Mkdir(s.back("d"), 0o755))
	check(t, os.WriteFile(s.back("d/data"), []byte("one"), 0o644))
	check(t, os.WriteFile(s.back("d/removed"), nil, 0o644))
	check(t, os.WriteFile(s.back("d/replaced"), []byte("r1"), 0o644))
	check(t, os.WriteFile(s.back("d/stays"), nil, 0o644))
	open, err := os.Open(filepath.Join(d, "data"))
	check(t, err)
	defer open.Close()
	readOpen := func() string {
		b := make([]byte, 10)
		n, _ := open.ReadAt(b, 0)
		return string(b[:n])
	}
	exists := func(name string) bool {
		_, err := os.Lstat(filepath.Join(d, name))
		return err == nil
	}
	for _, name := range []string{"removed", "replaced", "stays"} {
		if !exists(name) {
			t.Fatal(name)
		}
	}
	if exists("appears") || readOpen() != "one" || read(t, filepath.Join(d, "replaced")) != "r1" {
		t.Fatal("wrong from the start")
	}

	// Nobody tells of these changes: the kernel keeps what it has.
	check(t, os.WriteFile(s.back("d/data"), []byte("two and more"), 0o644))
	check(t, os.Remove(s.back("d/removed")))
	check(t, os.WriteFile(s.back("d/new"), []byte("r2"), 0o644))
	check(t, os.Rename(s.back("d/new"), s.back("d/replaced")))
	check(t, os.WriteFile(s.back("d/appears"), nil, 0o644))
	if readOpen() != "one" || !exists("removed") || exists("appears") || read(t, filepath.Join(d, "replaced")) != "r1" {
		t.Error("the kernel did not keep what it was allowed to")
	}

	f.changed(t, s.back("d/data"))
	f.settled()
	if got := readOpen(); got != "two and mo" {
		t.Errorf("the data stays %q", got)
	}
	if got := statOf(t, filepath.Join(d, "data")).Size; got != 12 {
		t.Errorf("size %d", got)
	}
	f.changed(t, s.back("d"))
	f.settled()
	if exists("removed") || !exists("appears") || read(t, filepath.Join(d, "replaced")) != "r2" {
		t.Error("the removed file stays, the new one does not appear, or the replaced one is the old one")
	}
}

// TestEventsKeepWorkingDirectory: what did not change stays in place for the
// processes in it, however many events come.
func TestEventsKeepWorkingDirectory(t *testing.T) {
	s, dir, f := watched(t)
	check(t, os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755))
	t.Chdir(filepath.Join(dir, "a/b/c"))
	for i := range 20 {
		check(t, os.WriteFile(s.back(fmt.Sprintf("a/b/%d", i)), nil, 0o644))
		f.changed(t, s.back("a"), s.back("a/b"), s.back("a/b/c"), s.disk.Dir)
		f.mu.Lock()
		f.all = i%5 == 0
		f.mu.Unlock()
		f.wake()
		f.settled()
		if _, err := os.Lstat(fmt.Sprintf("../%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if wd, err := os.Getwd(); err != nil || filepath.Base(wd) != "c" {
		t.Error(wd, err)
	}
	if err := os.WriteFile("file", nil, 0o644); err != nil {
		t.Error(err)
	}
	t.Chdir("/")
}

// TestEventsAfterRestart: everything may have changed while nobody watched.
func TestEventsAfterRestart(t *testing.T) {
	s, dir, f := watched(t)
	check(t, os.WriteFile(filepath.Join(dir, "f"), []byte("old"), 0o644))
	check(t, os.WriteFile(filepath.Join(dir, "g"), []byte("old"), 0o644))
	if got := read(t, filepath.Join(dir, "f")); got != "old" {
		t.Fatal(got)
	}
	s.end()
	check(t, os.WriteFile(s.back("f"), []byte("newer"), 0o644))
	check(t, os.Remove(s.back("g")))
	s.begin(t)
	<-f.opened
	f.settled()
	if got := read(t, filepath.Join(dir, "f")); got != "newer" {
		t.Errorf("the data stays %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "g")); err == nil {
		t.Error("the removed file stays")
	}
}

// TestEventsFail: without events nothing is kept.
func TestEventsFail(t *testing.T) {
	s := serve(t)
	_, dir := s.mount(t, Options{Events: func(context.Context, *client.Conn) (Next, error) {
		return nil, errors.New("no such file")
	}})
	for i := range 10 {
		want := fmt.Sprint(i)
		check(t, os.WriteFile(s.back("f"), []byte(want), 0o644))
		if got := read(t, filepath.Join(dir, "f")); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		if _, err := os.Lstat(filepath.Join(dir, "f"+want)); err == nil {
			t.Fatal("it is there already")
		}
		check(t, os.WriteFile(s.back("f"+want), nil, 0o644))
		if _, err := os.Lstat(filepath.Join(dir, "f"+want)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSettle: after an empty batch everything that was told is right, also in
// a directory that is so large that it would be left alone for a while.
func TestSettle(t *testing.T) {
	s, dir, f := watched(t)
	d := filepath.Join(dir, inMemory(t, s))
	disk := *s.disk.aside.Load()
	for i := range 2000 {
		check(t, os.WriteFile(filepath.Join(disk, fmt.Sprint("f", i)), nil, 0o644))
	}
	for i := range 50 {
		name := fmt.Sprint("new", i)
		if _, err := os.Stat(filepath.Join(d, name)); !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		check(t, os.WriteFile(filepath.Join(disk, name), nil, 0o644))
		f.changed(t, disk)
		f.settled()
		if _, err := os.Stat(filepath.Join(d, name)); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
}

// TestEventsKeepNewDirectory: a directory that is just being made, and that
// the kernel knew as absent, stays in place for who has it open, while its
// parent is compared all the time.
func TestEventsKeepNewDirectory(t *testing.T) {
	s, dir, f := watched(t)
	ctx, stop := context.WithCancel(t.Context())
	var under sync.WaitGroup
	under.Go(func() {
		for ctx.Err() == nil {
			f.changed(t, s.disk.Dir)
			f.settled()
		}
	})
	defer under.Wait()
	defer stop()
	for i := range 500 {
		name := filepath.Join(dir, fmt.Sprint("d", i))
		if _, err := os.Lstat(name); err == nil {
			t.Fatal(name)
		}
		check(t, os.Mkdir(name, 0o755))
		d, err := os.Open(name)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(name, "f"), nil, 0o644))
		at, err := os.Readlink(fmt.Sprint("/proc/self/fd/", d.Fd()))
		check(t, errors.Join(err, d.Close()))
		if at != name {
			t.Fatalf("the new directory is at %s now", at)
		}
	}
}

// TestManyWriters changes files on both sides, with an event for each change,
// and compares at the end.
func TestManyWriters(t *testing.T) {
	s, dir, f := watched(t)
	const files, rounds = 12, 20
	name := func(i int) string { return fmt.Sprintf("f%d", i) }
	for i := range files {
		check(t, os.WriteFile(s.back(name(i)), []byte("start"), 0o644))
	}
	var under sync.WaitGroup
	var last [files]atomic.Value
	for w := range 4 {
		under.Go(func() {
			for r := range rounds {
				for i := w; i < files; i += 4 {
					text := fmt.Sprintf("%d by %d, long enough to be seen %d", r, w, r%7)
					to := s.back(name(i))
					if r%2 == 0 {
						to = filepath.Join(dir, name(i))
					}
					if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
						t.Error(err)
						return
					}
					last[i].Store(text)
					f.changed(t, s.back(name(i)))
					os.ReadFile(filepath.Join(dir, name(i)))
				}
			}
		})
	}
	under.Wait()
	f.settled()
	for i := range files {
		if got := read(t, filepath.Join(dir, name(i))); got != last[i].Load() {
			t.Errorf("%s stays %q", name(i), got)
		}
	}
}

// TestReadDirPlus stats a large directory while it is listed.
func TestReadDirPlus(t *testing.T) {
	s, dir, _ := watched(t)
	d := filepath.Join(dir, inMemory(t, s))
	for i := range 1000 {
		check(t, os.WriteFile(filepath.Join(*s.disk.aside.Load(), fmt.Sprint("f", i)), make([]byte, i), 0o644))
	}
	ents, err := os.ReadDir(d)
	check(t, err)
	for _, e := range ents {
		info, err := e.Info()
		check(t, err)
		if want := "f" + fmt.Sprint(info.Size()); want != e.Name() {
			t.Fatalf("%s has size %d", e.Name(), info.Size())
		}
	}
	if len(ents) != 1000 {
		t.Errorf("%d entries", len(ents))
	}
}
