package fusemount

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// holder makes connections that hold one answer back, while others pass.
type holder struct {
	dial func(ctx context.Context) (net.Conn, error)
	typ  atomic.Uint32     // of the answer to be held back; 0: none
	came chan struct{}     // gets a value when it is there
	free chan struct{}     // a value lets it go
	seen [256]atomic.Int64 // how many answers of each type there were
	done sync.WaitGroup    // the connections
}

func newHolder(s *served) *holder {
	return &holder{dial: s.dial, came: make(chan struct{}), free: make(chan struct{})}
}

// hold arms h for the answer to the next request of type t.
func (h *holder) hold(t p9srv.MsgType) { h.typ.Store(uint32(t) + 1) }

func (h *holder) answers(t p9srv.MsgType) int64 { return h.seen[t+1].Load() }

func (h *holder) connect(ctx context.Context) (net.Conn, error) {
	c, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	held := &holding{Conn: c, answers: make(chan []byte), over: make(chan struct{})}
	h.done.Go(func() { held.pass(h) })
	return held, nil
}

type holding struct {
	net.Conn
	answers chan []byte
	over    chan struct{} // closed when no more come
	rest    []byte        // of an answer; only Read uses it
}

// pass hands answers on until the connection ends.
func (c *holding) pass(h *holder) {
	defer close(c.over)
	for {
		var size [4]byte
		if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
			return
		}
		b := append(size[:], make([]byte, binary.LittleEndian.Uint32(size[:])-4)...)
		if _, err := io.ReadFull(c.Conn, b[4:]); err != nil {
			return
		}
		h.seen[b[4]].Add(1)
		if h.typ.CompareAndSwap(uint32(b[4]), 0) {
			h.done.Go(func() {
				h.came <- struct{}{}
				<-h.free
				c.hand(b)
			})
			continue
		}
		c.hand(b)
	}
}

func (c *holding) hand(b []byte) {
	select {
	case c.answers <- b:
	case <-c.over:
	}
}

func (c *holding) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case c.rest = <-c.answers:
		case <-c.over:
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// heldMount is a mount with events whose answers can be held back.
func heldMount(t *testing.T) (s *served, m *Mounted, dir string, h *holder, f *feed) {
	t.Helper()
	s, f = serve(t), newFeed()
	h = newHolder(s)
	t.Cleanup(h.done.Wait)
	m, dir = s.mount(t, Options{Dial: h.connect, Events: f.open})
	<-f.opened
	f.settled()
	statOf(t, dir)
	return s, m, dir, h, f
}

// TestEventBeforeAnswer: the event about a file overtakes the answer of the
// request that makes the file known. What the answer says is not kept.
func TestEventBeforeAnswer(t *testing.T) {
	s, _, dir, h, f := heldMount(t)
	check(t, os.WriteFile(s.back("f"), []byte("one"), 0o644))
	h.hold(p9srv.Tgetattr)
	got := make(chan int64)
	go func() { got <- statOf(t, filepath.Join(dir, "f")).Size }()
	<-h.came
	check(t, os.WriteFile(s.back("f"), []byte("longer"), 0o644))
	f.changed(t, s.back("f"))
	f.settled()
	h.free <- struct{}{}
	<-got
	if size := statOf(t, filepath.Join(dir, "f")).Size; size != 6 {
		t.Errorf("the size stays %d", size)
	}
}

// TestEventsBegin: what was asked for before events came is not kept for as long
// as if they had told of changes already.
func TestEventsBegin(t *testing.T) {
	s, f := serve(t), newFeed()
	h := newHolder(s)
	t.Cleanup(h.done.Wait)
	begin := make(chan struct{})
	_, dir := s.mount(t, Options{Dial: h.connect, Events: func(ctx context.Context, c *client.Conn) (Next, error) {
		<-begin
		return f.open(ctx, c)
	}})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(s.back("f"), []byte("one"), 0o644))
	fd, err := os.Open(name)
	check(t, err)
	defer fd.Close()
	h.hold(p9srv.Tgetattr)
	got := make(chan struct{})
	go func() {
		defer close(got)
		_, err := fd.Stat()
		if err != nil {
			t.Error(err)
		}
	}()
	<-h.came
	check(t, os.WriteFile(s.back("f"), []byte("longer"), 0o644))
	close(begin)
	<-f.opened
	f.settled()
	h.free <- struct{}{}
	<-got
	if info, err := fd.Stat(); err != nil || info.Size() != 6 {
		t.Errorf("the size stays %v, %v", info.Size(), err)
	}
}

// TestEventsAfterRoot: the kernel has the root's attributes before the first
// event makes it doubt them. Without any it lets nobody but root in.
func TestEventsAfterRoot(t *testing.T) {
	s, f := serve(t), newFeed()
	h := newHolder(s)
	t.Cleanup(h.done.Wait)
	h.hold(p9srv.Tgetattr)
	var told atomic.Bool
	go func() {
		<-h.came
		told.Store(true)
		h.free <- struct{}{}
	}()
	s.mount(t, Options{Dial: h.connect, Events: func(ctx context.Context, c *client.Conn) (Next, error) {
		if !told.Load() {
			t.Error("events are asked for before the root's attributes are there")
		}
		return f.open(ctx, c)
	}})
	<-f.opened
}

// TestEventWhileOpening: a file changes after it was opened at the server, and
// the event comes before the answer. A read opens it again.
func TestEventWhileOpening(t *testing.T) {
	s, _, dir, h, f := heldMount(t)
	check(t, os.WriteFile(s.back("f"), []byte("one"), 0o644))
	statOf(t, filepath.Join(dir, "f"))
	h.hold(p9srv.Tlopen)
	opened := make(chan *os.File)
	go func() {
		fd, err := os.Open(filepath.Join(dir, "f"))
		if err != nil {
			t.Error(err)
		}
		opened <- fd
	}()
	<-h.came
	f.changed(t, s.back("f"))
	f.settled()
	h.free <- struct{}{}
	fd := <-opened
	defer fd.Close()
	before := h.answers(p9srv.Tlopen)
	_, err := fd.Read(make([]byte, 10))
	check(t, err)
	if h.answers(p9srv.Tlopen) == before {
		t.Error("the version that was opened is read on")
	}
}

// TestLockWhileTurning: a file changes while a process locks it. Another thread's
// read opens it again, and the lock is there still.
func TestLockWhileTurning(t *testing.T) {
	s, m, dir, h, f := heldMount(t)
	check(t, os.WriteFile(s.back("f"), []byte("one"), 0o644))
	fd, err := os.Open(filepath.Join(dir, "f"))
	check(t, err)
	defer fd.Close()
	h.hold(p9srv.Tlock)
	locked := make(chan error)
	go func() {
		locked <- unix.FcntlFlock(fd.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
	}()
	<-h.came
	f.changed(t, s.back("f"))
	f.settled()
	read := make(chan error, 1)
	go func() {
		_, err := fd.ReadAt(make([]byte, 10), 0)
		read <- err
	}()
	turn := m.bridge.handles.all()[0].turn
	for len(turn) == 0 && len(read) == 0 {
		runtime.Gosched() // until the read is over, or waits for the lock
	}
	h.free <- struct{}{}
	check(t, <-locked)
	<-read
	c := s.attach(t)
	other, err := c.Walk(t.Context(), "f")
	check(t, err)
	check(t, other.Open(t.Context(), syscall.O_RDWR))
	got, err := other.GetLock(t.Context(), p9srv.LockRequest{Type: p9srv.LockWrite})
	if err != nil || got.Type != p9srv.LockRead {
		t.Errorf("the lock is lost: %+v, %v", got, err)
	}
}

// attach is the root over a connection of its own.
func (s *served) attach(t *testing.T) *client.Fid {
	t.Helper()
	nc, err := s.dial(t.Context())
	check(t, err)
	c, err := client.New(t.Context(), nc, client.Options{})
	check(t, err)
	t.Cleanup(func() { c.Close() })
	root, err := c.Attach(t.Context(), "", "", uint32(os.Getuid()))
	check(t, err)
	return root
}

// TestShorterWhileRead: a file becomes shorter while it is read, and events about
// that overtake the answers. A reader gets the new bytes or the old ones, never
// zeros behind them.
func TestShorterWhileRead(t *testing.T) {
	for _, c := range []struct {
		name string
		held []p9srv.MsgType // answers that an event overtakes
	}{
		{"read", []p9srv.MsgType{p9srv.Tread}},
		{"attributes and read", []p9srv.MsgType{p9srv.Tgetattr, p9srv.Tread}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, dir, h, f := heldMount(t)
			name := filepath.Join(dir, "f")
			check(t, os.WriteFile(name, []byte("what is longer"), 0o644))
			fd, err := os.Open(name)
			check(t, err)
			defer fd.Close()
			if _, err := fd.Stat(); err != nil {
				t.Fatal(err)
			}
			if len(c.held) > 1 { // makes the kernel ask for them
				check(t, os.WriteFile(s.back("f"), []byte("what is longer"), 0o644))
				f.changed(t, s.back("f"))
				f.settled()
			}
			check(t, os.WriteFile(s.back("f"), []byte("short"), 0o644))
			h.hold(c.held[0])
			got := make(chan string)
			go func() {
				b := make([]byte, 100)
				n, err := fd.ReadAt(b, 0)
				if err != nil && err != io.EOF {
					t.Error(err)
				}
				got <- string(b[:n])
			}()
			for i := range c.held {
				<-h.came
				f.changed(t, s.back("f"))
				f.settled()
				if i+1 < len(c.held) {
					h.hold(c.held[i+1])
				}
				h.free <- struct{}{}
			}
			if read := <-got; read != "short" {
				t.Errorf("%q", read)
			}
		})
	}
}
