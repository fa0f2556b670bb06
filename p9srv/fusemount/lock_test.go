package fusemount

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bazil/p9srv"
)

// tryFcntl asks for a record lock, and says who is in the way.
func tryFcntl(t *testing.T, f *os.File, typ int16, from, n int64) (pid int32, err error) {
	t.Helper()
	l := unix.Flock_t{Type: typ, Start: from, Len: n}
	if err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &l); err != nil {
		l = unix.Flock_t{Type: typ, Start: from, Len: n}
		check(t, unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l))
		pid = l.Pid
	}
	return pid, err
}

func TestRecordLocks(t *testing.T) {
	s, dir := mounted(t, Options{})
	_, dir2 := s.mount(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	here, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer here.Close()
	there, err := os.OpenFile(filepath.Join(dir2, "f"), os.O_RDWR, 0)
	check(t, err)
	defer there.Close()

	p := start(t, "lock", name, "write", 10, 10)
	p.line(t)
	p.ready(t)
	if pid, err := tryFcntl(t, here, unix.F_WRLCK, 15, 100); err != unix.EAGAIN || int(pid) != p.Process.Pid {
		t.Errorf("same mount: %v, pid %d, want %d", err, pid, p.Process.Pid)
	}
	if pid, err := tryFcntl(t, there, unix.F_RDLCK, 19, 1); err != unix.EAGAIN || pid != 0 {
		t.Errorf("other mount: %v, pid %d", err, pid)
	}
	for _, f := range []*os.File{here, there} {
		if _, err := tryFcntl(t, f, unix.F_RDLCK, 20, 0); err != nil {
			t.Error("beside the lock:", err)
		}
	}
	p.finish(t) // ends the lock
	if _, err := tryFcntl(t, there, unix.F_WRLCK, 0, 20); err != nil {
		t.Error("after the holder's end:", err)
	}
}

func TestWaitForLock(t *testing.T) {
	for _, how := range []string{"write", "flock"} {
		t.Run(how, func(t *testing.T) {
			s, dir := mounted(t, Options{})
			_, dir2 := s.mount(t, Options{})
			name := filepath.Join(dir, "f")
			check(t, os.WriteFile(name, nil, 0o644))
			p := start(t, "lock", name, how, 0, 0)
			p.line(t)
			p.ready(t)
			waits := start(t, "lock", filepath.Join(dir2, "f"), how, 0, 0)
			waits.line(t)
			p.finish(t)
			waits.ready(t)
			waits.finish(t)
		})
	}
}

// TestInterruptLock: a process that waits for a lock can be ended, and does
// not get the lock afterwards.
func TestInterruptLock(t *testing.T) {
	_, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	_, err = tryFcntl(t, f, unix.F_WRLCK, 0, 0)
	check(t, err)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		p := start(t, "lock", name, "write", 0, 0)
		p.line(t)
		p.Process.Signal(sig)
		p.Wait()
	}
	_, err = tryFcntl(t, f, unix.F_UNLCK, 0, 0)
	check(t, err)
	p := start(t, "lock", name, "write", 0, 0)
	p.line(t)
	p.ready(t)
}

// TestFlock: it is another kind of lock than fcntl's, shared by the
// descriptors of one open file, and works on files open for reading.
func TestFlock(t *testing.T) {
	_, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	a, err := os.Open(name)
	check(t, err)
	b, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer b.Close()
	check(t, unix.Flock(int(a.Fd()), unix.LOCK_EX))
	if err := unix.Flock(int(b.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != unix.EAGAIN {
		t.Error("second flock:", err)
	}
	if _, err := tryFcntl(t, b, unix.F_WRLCK, 0, 0); err != nil {
		t.Error("fcntl beside flock:", err)
	}
	check(t, unix.Flock(int(a.Fd()), unix.LOCK_SH))
	check(t, unix.Flock(int(b.Fd()), unix.LOCK_SH|unix.LOCK_NB))
	check(t, unix.Flock(int(b.Fd()), unix.LOCK_UN))
	check(t, unix.Flock(int(a.Fd()), unix.LOCK_EX))
	check(t, a.Close())
	// The kernel tells of the last close after close(2) has returned.
	check(t, unix.Flock(int(b.Fd()), unix.LOCK_EX))
}

// TestCloseEndsLocks: closing any descriptor of a file ends the process's
// record locks of it.
func TestCloseEndsLocks(t *testing.T) {
	s, dir := mounted(t, Options{})
	_, dir2 := s.mount(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	a, err := os.OpenFile(name, os.O_RDWR, 0)
	check(t, err)
	defer a.Close()
	b, err := os.Open(name)
	check(t, err)
	c, err := os.OpenFile(filepath.Join(dir2, "f"), os.O_RDWR, 0)
	check(t, err)
	defer c.Close()
	_, err = tryFcntl(t, a, unix.F_WRLCK, 0, 0)
	check(t, err)
	if _, err = tryFcntl(t, c, unix.F_WRLCK, 5, 1); err != unix.EAGAIN {
		t.Error(err)
	}
	check(t, b.Close())
	if _, err = tryFcntl(t, c, unix.F_WRLCK, 5, 1); err != nil {
		t.Error(err)
	}
}

// TestSpans compares setSpan with one lock per byte.
func TestSpans(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		var bytes [40]p9srv.LockType
		for i := range bytes {
			bytes[i] = p9srv.LockUnlock
		}
		var spans []span
		for range 30 {
			from := r.Uint64N(40)
			s := span{p9srv.LockType(r.IntN(3)), from, from + r.Uint64N(40-from)}
			spans = setSpan(spans, s)
			for i := s.start; i <= s.end; i++ {
				bytes[i] = s.typ
			}
			if got := spread(spans); got != bytes {
				t.Fatalf("seed %d: after %v: %v, want %v", seed, s, got, bytes)
			}
			for i, s := range spans[:max(len(spans)-1, 0)] {
				if n := spans[i+1]; n.start <= s.end || n.start == s.end+1 && n.typ == s.typ {
					t.Fatalf("seed %d: %v", seed, spans)
				}
			}
		}
	}
}

func spread(spans []span) (bytes [40]p9srv.LockType) {
	for i := range bytes {
		bytes[i] = p9srv.LockUnlock
		if j := uint64(i); overlaps(spans, span{start: j, end: j}) {
			for _, s := range spans {
				if s.start <= j && j <= s.end {
					bytes[i] = s.typ
				}
			}
		}
	}
	return bytes
}

// TestLockedBesideAnother: a process has locks by two descriptors of a file, and
// the file changes. A read by either opens it again, and its lock stays.
func TestLockedBesideAnother(t *testing.T) {
	s, dir, f := watched(t)
	check(t, os.WriteFile(s.back("f"), []byte("one"), 0o644))
	var fds [2]*os.File
	for i := range fds {
		fd, err := os.Open(filepath.Join(dir, "f"))
		check(t, err)
		defer fd.Close()
		_, err = tryFcntl(t, fd, unix.F_RDLCK, 10*int64(i), 5)
		check(t, err)
		fds[i] = fd
	}
	check(t, os.WriteFile(s.back("f"), []byte("another"), 0o644))
	f.changed(t, s.back("f"))
	f.settled()
	c := s.attach(t)
	other, err := c.Walk(t.Context(), "f")
	check(t, err)
	check(t, other.Open(t.Context(), syscall.O_RDWR))
	for i, fd := range fds {
		if _, err := fd.ReadAt(make([]byte, 7), 0); err != nil {
			t.Error(err)
		}
		got, err := other.GetLock(t.Context(), p9srv.LockRequest{Type: p9srv.LockWrite, Start: 10 * uint64(i), Length: 5})
		if err != nil || got.Type != p9srv.LockRead {
			t.Errorf("lock %d is lost: %+v, %v", i, got, err)
		}
	}
}
