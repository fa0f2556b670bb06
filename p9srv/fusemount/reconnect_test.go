package fusemount

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killable is a server in another process.
type killable struct {
	dir, sock string
	p         *process
}

func serveApart(t *testing.T) *killable {
	t.Helper()
	k := &killable{dir: t.TempDir(), sock: filepath.Join(t.TempDir(), "sock")}
	k.begin(t)
	return k
}

func (k *killable) begin(t *testing.T) {
	t.Helper()
	k.p = start(t, "serve", k.dir, k.sock)
	k.p.ready(t)
}

// kill ends the server as a crash does.
func (k *killable) kill(t *testing.T) {
	t.Helper()
	check(t, k.p.Process.Kill())
	k.p.Wait()
}

func (k *killable) mount(t *testing.T, o Options) string {
	t.Helper()
	if o.Dial == nil {
		o.Dial = dialer(k.sock)
	}
	_, dir := (&served{}).mount(t, o)
	return dir
}

// TestServerRestart: open files go on after the server was killed.
func TestServerRestart(t *testing.T) {
	k := serveApart(t)
	missed := make(chan struct{}, 1)
	dir := k.mount(t, Options{Dial: func(ctx context.Context) (net.Conn, error) {
		c, err := dialer(k.sock)(ctx)
		if err != nil {
			select {
			case missed <- struct{}{}:
			default:
			}
		}
		return c, err
	}})
	check(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	stays, err := os.OpenFile(filepath.Join(dir, "a/b/stays"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	check(t, err)
	defer stays.Close()
	_, err = stays.WriteString("before, ")
	check(t, err)
	check(t, stays.Sync())
	gone, err := os.Create(filepath.Join(dir, "gone"))
	check(t, err)
	defer gone.Close()
	check(t, os.Remove(filepath.Join(dir, "gone")))
	replaced, err := os.Create(filepath.Join(dir, "replaced"))
	check(t, err)
	defer replaced.Close()
	list, err := os.Open(filepath.Join(dir, "a"))
	check(t, err)
	defer list.Close()

	k.kill(t)
	check(t, os.WriteFile(filepath.Join(k.dir, "other"), nil, 0o644))
	check(t, os.Rename(filepath.Join(k.dir, "other"), filepath.Join(k.dir, "replaced")))
	<-missed // a request that is under way when the server is lost may be refused
	// Requests that come now wait.
	wrote := make(chan error, 1)
	go func() {
		_, err := stays.WriteString("after")
		wrote <- err
	}()
	k.begin(t)
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a/b/stays")); err != nil || string(got) != "before, after" {
		t.Errorf("%q %v", got, err)
	}
	if names, err := list.Readdirnames(-1); err != nil || len(names) != 1 {
		t.Error(names, err)
	}
	for _, f := range []*os.File{gone, replaced} {
		if _, err := f.WriteString("x"); !errors.Is(err, syscall.ESTALE) {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "replaced")); err != nil {
		t.Error(err)
	}
}

// TestRestartsUnderLoad kills the server again and again while files are
// written, renamed and read back.
func TestRestartsUnderLoad(t *testing.T) {
	k := serveApart(t)
	dir := k.mount(t, Options{})
	ctx, stop := context.WithCancel(t.Context())
	did := make(chan struct{}, 1) // work; nobody waits for it to be counted
	var under sync.WaitGroup
	for w := range 4 {
		under.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := workOnce(filepath.Join(dir, fmt.Sprintf("w%d-%d", w, i))); err != nil {
					t.Error(err)
					stop()
				}
				select {
				case did <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 8 {
		for range 8 { // between two crashes
			select {
			case <-did:
			case <-ctx.Done():
			}
		}
		k.kill(t)
		k.begin(t)
	}
	stop()
	under.Wait()
}

func workOnce(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, "f")
	want := strings.Repeat(name, 1000)
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
		return err
	}
	if err := os.Rename(name, name+"2"); err != nil {
		return err
	}
	got, err := os.ReadFile(name + "2")
	if err == nil && string(got) != want {
		err = fmt.Errorf("%s: %d bytes, want %d", name, len(got), len(want))
	}
	return errors.Join(err, os.Symlink("f2", name), os.Remove(name), os.Remove(name+"2"), os.Remove(dir))
}

// TestLocksSurviveRestart: they are taken again before anybody else can have
// them.
func TestLocksSurviveRestart(t *testing.T) {
	k := serveApart(t)
	dir := k.mount(t, Options{})
	dir2 := k.mount(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	r, err := os.Open(name)
	check(t, err)
	defer r.Close()
	_, err = tryFcntl(t, f, unix.F_WRLCK, 100, 10)
	check(t, err)
	check(t, unix.Flock(int(r.Fd()), unix.LOCK_EX))
	k.kill(t)
	k.begin(t)
	_, err = f.Stat() // waits for the new connection
	check(t, err)
	other, err := os.OpenFile(filepath.Join(dir2, "f"), os.O_RDWR, 0)
	check(t, err)
	defer other.Close()
	if _, err := tryFcntl(t, other, unix.F_WRLCK, 105, 1); err != unix.EAGAIN {
		t.Error("record lock:", err)
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EAGAIN {
		t.Error("flock:", err)
	}
	_, err = tryFcntl(t, f, unix.F_UNLCK, 0, 0)
	check(t, err)
	if _, err := tryFcntl(t, other, unix.F_WRLCK, 105, 1); err != nil {
		t.Error("after the unlock:", err)
	}
}

// TestLostLock: a file whose lock another client got gives errors from then
// on.
func TestLostLock(t *testing.T) {
	k := serveApart(t)
	sock := k.sock
	dir := k.mount(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	_, err = tryFcntl(t, f, unix.F_WRLCK, 0, 0)
	check(t, err)
	k.kill(t)
	// The first mount does not find the server until the second has the lock.
	check(t, os.Remove(k.sock))
	k.sock = filepath.Join(filepath.Dir(sock), "elsewhere")
	k.begin(t)
	elsewhere := k.sock
	dir2 := (&killable{sock: elsewhere}).mount(t, Options{})
	other, err := os.OpenFile(filepath.Join(dir2, "f"), os.O_RDWR, 0)
	check(t, err)
	defer other.Close()
	_, err = tryFcntl(t, other, unix.F_WRLCK, 0, 0)
	check(t, err)
	check(t, os.Symlink(elsewhere, sock))
	if _, err := f.WriteString("x"); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
}

// TestListingGoesOn: a directory that is being listed when the server restarts
// is listed to its end: each name that stays comes once.
func TestListingGoesOn(t *testing.T) {
	for _, c := range []struct {
		name   string
		events bool
		first  int // how many names are read before
	}{{"readdir", false, 100}, {"readdirplus", true, 400}} {
		t.Run(c.name, func(t *testing.T) {
			s, f := serve(t), newFeed()
			s.disk.lists = true
			var o Options
			if c.events {
				o.Events = f.open
			}
			_, dir := s.mount(t, o)
			check(t, os.Mkdir(s.back(countedName), 0o755))
			const files = 800
			for i := range files {
				check(t, os.WriteFile(s.back(fmt.Sprintf("counted/%0200d", i)), nil, 0o644))
			}
			d, err := os.Open(filepath.Join(dir, countedName))
			check(t, err)
			defer d.Close()
			had, err := d.Readdirnames(c.first)
			check(t, err)
			s.end()
			for i, name := range had {
				if i%3 == 0 || i == len(had)-1 {
					check(t, os.Remove(s.back("counted/"+name)))
				}
			}
			check(t, os.WriteFile(s.back("counted/0"), nil, 0o644))
			s.begin(t)
			rest, err := d.Readdirnames(-1)
			check(t, err)
			if all := append(had, rest...); len(all) != files || !slices.IsSorted(all) {
				t.Errorf("%d names of %d, sorted: %v", len(all), files, slices.IsSorted(all))
			}
		})
	}
}

// TestPatience: without a server requests fail after a while, and at once
// from then on; it is used again when it comes back.
func TestPatience(t *testing.T) {
	s := serve(t)
	_, dir := s.mount(t, Options{Patience: 100 * time.Millisecond})
	check(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644))
	s.end()
	if _, err := os.Stat(filepath.Join(dir, "f")); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	s.begin(t)
	for {
		_, err := os.Stat(filepath.Join(dir, "f"))
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
	}
}

// TestInterruptWait: a request that waits for the server can be ended.
func TestInterruptWait(t *testing.T) {
	s := serve(t)
	_, dir := s.mount(t, Options{Patience: time.Hour})
	check(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644))
	s.end()
	p := start(t, "stat", filepath.Join(dir, "f"))
	p.line(t)
	check(t, p.Process.Kill())
	p.Wait()
	s.begin(t)
	_, err := os.Stat(filepath.Join(dir, "f"))
	check(t, err)
}
