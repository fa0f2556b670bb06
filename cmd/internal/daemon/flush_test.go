package daemon

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv/client"
	"bazil/store"
)

// cancelTime is what a flushed request may take to be given up, and busyTime
// where server and client share the processors with what is being sealed. None
// takes longer than atMost, however busy the machine is.
const (
	cancelTime = 10 * time.Millisecond
	busyTime   = time.Second
	atMost     = 10 * time.Second
)

// TestFlushWhateverItWaitsFor cancels requests that wait for all that there is
// to wait for in a server. Some tries say how long it takes, the fastest
// whether that is right: the others tell how busy the machine is.
func TestFlushWhateverItWaitsFor(t *testing.T) {
	white, black := couple(t)
	must(t, white, "volume create idle", "peer volume allow black v")
	write(t, white, "v/remote", strings.Repeat("somewhere else ", 9999))
	relay := newRelay(t, white.Addr().String())
	must(t, black, "peer location set white "+relay.addr(), "volume create own", "volume connect white v sharing=whites")
	wantError(t, black, "sync v white", syscall.EACCES, "peer storage allow")
	must(t, white, "peer storage allow black local")
	must(t, black, "volume storage add v peerkey:"+white.PublicKey())
	relay.silent.Store(true)

	root := attach(t, black, "")
	cancelled(t, "a read of the log", 5, drained(t, root, "ctl/log"))
	cancelled(t, "a read of a volume's log", 5, drained(t, root, "ctl/volumes/own/log"))
	cancelled(t, "a read of changes", 5, drained(t, root, "ctl/changes"))
	remote := opened(t, root, "v/remote", syscall.O_RDONLY)
	cancelled(t, "a read of content that a silent peer has", 5, func(ctx context.Context) error {
		_, err := remote.ReadAt(ctx, make([]byte, 100), 0)
		return err
	})
	ctl := opened(t, root, "ctl/ctl", syscall.O_RDWR)
	cancelled(t, "a sync with a silent peer", 5, func(ctx context.Context) error {
		_, err := ctl.WriteAt(ctx, []byte("sync v white"), 0)
		return err
	})
	waitsOfAWriter(t)
}

// waitsOfAWriter has more written at once than may be in memory, until writes
// wait for that and an fsync for the disk.
func waitsOfAWriter(t *testing.T) {
	const limit, piece, writers = 256 << 10, 128 << 10, 16
	dir := filepath.Join(t.TempDir(), "data")
	if err := store.Create(dir); err != nil {
		t.Fatal(err)
	}
	d := New(Options{Dir: dir, Addr: "127.0.0.1:0", DirtyBytes: limit})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	must(t, d, "volume create own")
	v, root := d.volumes.get("own").vol, attach(t, d, "")
	full := func() bool {
		s, err := v.Stats(t.Context())
		return err == nil && s.DirtyBytes > limit-piece
	}
	data := make([]byte, piece)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	f := created(t, root, "own", "flood")
	var off atomic.Int64
	flood := func(ctx context.Context) {
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				data := slices.Clone(data)
				for copy(data, time.Now().String()); ctx.Err() == nil; copy(data, time.Now().String()) {
					f.WriteAt(ctx, data, off.Add(int64(len(data))))
				}
			})
		}
		wg.Wait()
	}
	cancelledWhen(t, full, busyTime, "a write while too much is not durable", 2, func(ctx context.Context) error {
		flood(ctx)
		return ctx.Err()
	})
	var syncing atomic.Bool
	cancelledWhen(t, syncing.Load, busyTime, "an fsync of that", 2, func(ctx context.Context) error {
		defer syncing.Store(false)
		filling, stop := context.WithCancel(ctx)
		defer stop()
		go func() {
			for !full() && filling.Err() == nil {
				runtime.Gosched()
			}
			stop()
		}()
		flood(filling)
		for syncing.Store(true); ; {
			if err := f.Fsync(ctx, false); err != nil {
				return err
			}
		}
	})
}

// cancelled cancels what wait does while it waits, several times.
func cancelled(t *testing.T, what string, times int, wait func(ctx context.Context) error) {
	t.Helper()
	cancelledWhen(t, func() bool { return true }, cancelTime, what, times, wait)
}

// cancelledWhen is cancelled once ready says that it waits.
func cancelledWhen(t *testing.T, ready func() bool, limit time.Duration, what string, times int, wait func(ctx context.Context) error) {
	t.Helper()
	var took []time.Duration
	for range times {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- wait(ctx) }()
		select {
		case err := <-done:
			t.Fatalf("%s does not wait: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
		for end := time.Now().Add(20 * time.Second); !ready(); runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%s: never comes to wait", what)
			}
		}
		start := time.Now()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, syscall.EINTR) {
			t.Errorf("%s: %v", what, err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("%s ends after %v, at most %v", what, took[len(took)/2].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
	if took[0] > limit || took[len(took)-1] > atMost {
		t.Errorf("%s ends only after %v to %v", what, took[0], took[len(took)-1])
	}
}

// drained opens a file of events and returns what waits for one that does not
// come.
func drained(t *testing.T, root *client.Fid, path string) func(context.Context) error {
	f := opened(t, root, path, syscall.O_RDONLY)
	return func(ctx context.Context) error {
		for {
			if _, err := f.ReadAt(ctx, make([]byte, 4096), 0); err != nil {
				return err
			}
		}
	}
}

func opened(t *testing.T, root *client.Fid, path string, flags uint32) *client.Fid {
	t.Helper()
	f, err := root.Walk(t.Context(), strings.Split(path, "/")...)
	if err == nil {
		err = f.Open(t.Context(), flags)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return f
}

func created(t *testing.T, root *client.Fid, dir, name string) *client.Fid {
	t.Helper()
	f, err := root.Walk(t.Context(), dir)
	if err == nil {
		err = f.Create(t.Context(), name, syscall.O_RDWR, 0o644, 0)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// relay passes connections on to a server, until it is to be silent: then
// nothing gets through any more, and nobody hears that.
type relay struct {
	l      net.Listener
	to     string
	silent atomic.Bool
	most   atomic.Int64  // bytes that it passes before it falls silent; 0: all
	again  chan struct{} // closed when it is to go on
	passed atomic.Int64
	conns  sync.WaitGroup
	ctx    context.Context
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &relay{l: l, to: to, ctx: ctx, again: make(chan struct{})}
	r.conns.Go(r.run)
	t.Cleanup(func() {
		cancel()
		l.Close()
		r.conns.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) run() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", r.to)
		if err != nil {
			c.Close()
			continue
		}
		r.conns.Go(func() { r.pass(c, s) })
		r.conns.Go(func() { r.pass(s, c) })
	}
}

// pass copies until an end closes, or for ever keeps what comes.
func (r *relay) pass(from, to net.Conn) {
	defer context.AfterFunc(r.ctx, func() { from.Close() })()
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if most := r.most.Load(); r.passed.Add(int64(n)) > most && most > 0 {
			r.silent.Store(true)
		}
		if r.silent.Load() {
			select {
			case <-r.again:
			case <-r.ctx.Done():
				return
			}
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}
