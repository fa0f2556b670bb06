package p9srv_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/p9srv/p9test"
)

// slowTree is a memTree some of whose names are slow: walking to "wait" and
// reading an open "wait" end with their context; "stuck" goes on until
// release is closed, whatever the context says.
type slowTree struct {
	*memTree
	release chan struct{}
	lends   bool         // files lend what they read
	reads   atomic.Int64 // of files that lend
	reading atomic.Int64
	most    atomic.Int64 // of reading
}

func newSlowTree() *slowTree {
	t := &slowTree{memTree: newMemTree(), release: make(chan struct{})}
	for _, name := range []string{"wait", "stuck", "quick"} {
		t.root.add(name, syscall.S_IFREG|0o644)
		t.nodes.Add(-1)
	}
	return t
}

func (t *slowTree) Attach(ctx context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	n, err := t.memTree.Attach(ctx, who, aname)
	if err != nil {
		return nil, err
	}
	return slowNode{n.(*memNode), t, ""}, nil
}

type slowNode struct {
	*memNode
	tree *slowTree
	name string
}

func (n slowNode) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	if name == "slowly" {
		<-n.tree.release
		name = "quick"
	}
	k, err := n.memNode.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	return slowNode{k.(*memNode), n.tree, name}, nil
}

func (n slowNode) Open(context.Context, uint32) (p9srv.File, error) {
	n.tree.files.Add(1)
	f := slowFile{memFile{n.memNode}, n}
	if n.tree.lends {
		return lendFile{f}, nil
	}
	return f, nil
}

type slowFile struct {
	memFile
	of slowNode
}

func (f slowFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	t := f.of.tree
	now := t.reading.Add(1)
	defer t.reading.Add(-1)
	for most := t.most.Load(); now > most && !t.most.CompareAndSwap(most, now); most = t.most.Load() {
	}
	switch f.of.name {
	case "wait":
		<-ctx.Done()
		return 0, ctx.Err()
	case "stuck":
		<-t.release
		return len(p), nil
	}
	return f.memFile.ReadAt(ctx, p, off)
}

// ReadBuffers hides that of memFile.
func (f slowFile) ReadBuffers(context.Context, [][]byte, int64, int) {}

// eventually waits until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("not: ", what)
		}
	}
}

func openFid(t testing.TB, root *client.Fid, name string) *client.Fid {
	t.Helper()
	f, err := root.Walk(t.Context(), name)
	check(t, err)
	check(t, f.Open(t.Context(), oRDWR))
	return f
}

// fastest runs f some times and gives the shortest time: the others say how
// busy the machine is.
func fastest(t *testing.T, f func()) time.Duration {
	t.Helper()
	return shortest(t, func() time.Duration {
		start := time.Now()
		f()
		return time.Since(start)
	})
}

// shortest is fastest where only a part of it counts.
func shortest(t *testing.T, f func() time.Duration) time.Duration {
	t.Helper()
	best := time.Hour
	for range 10 {
		best = min(best, f())
	}
	return best
}

func TestFlushCancels(t *testing.T) {
	tree := newSlowTree()
	_, root := attach(t, listen(t, &p9srv.Server{Tree: tree}))
	f := openFid(t, root, "wait")
	best := shortest(t, func() time.Duration {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := f.ReadAt(ctx, make([]byte, 10), 0)
			done <- err
		}()
		eventually(t, "read begun", func() bool { return tree.reading.Load() == 1 })
		start := time.Now()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		took := time.Since(start)
		t.Logf("flushed after %v", took)
		if tree.reading.Load() != 0 {
			t.Error("still reading")
		}
		return took
	})
	if best > 10*time.Millisecond {
		t.Errorf("flush took %v", best)
	}
}

// TestFlushOfADeafMethod flushes what does not look at its context.
func TestFlushOfADeafMethod(t *testing.T) {
	tree := newSlowTree()
	_, root := attach(t, listen(t, &p9srv.Server{Tree: tree}))
	f := openFid(t, root, "stuck")
	before := tree.nodes.Load()
	best := shortest(t, func() time.Duration {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := root.Walk(ctx, "slowly")
			done <- err
		}()
		go func() {
			_, err := f.ReadAt(ctx, make([]byte, 100), 0)
			done <- err
		}()
		was := tree.reading.Load()
		eventually(t, "read begun", func() bool { return tree.reading.Load() > was })
		start := time.Now()
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		took := time.Since(start)
		t.Logf("flushed after %v", took)
		return took
	})
	if best > 20*time.Millisecond {
		t.Errorf("flush took %v", best)
	}
	close(tree.release)
	eventually(t, "late nodes released", func() bool { return tree.reading.Load() == 0 && tree.nodes.Load() == before })
	if _, err := root.Walk(t.Context(), "quick"); err != nil {
		t.Error(err)
	}
}

// TestSlowRequestsDelayNobody has slow reads on a connection, and asks others
// on it and on another one.
func TestSlowRequestsDelayNobody(t *testing.T) {
	tree := newSlowTree()
	path := listen(t, &p9srv.Server{Tree: tree})
	_, root := attach(t, path)
	_, other := attach(t, path)
	stuck := openFid(t, root, "stuck")
	for i := range 20 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			stuck.ReadAt(t.Context(), make([]byte, 10), 0)
		}()
		defer func() { <-done }()
		eventually(t, "read begun", func() bool { return tree.reading.Load() == int64(i+1) })
	}
	for name, fid := range map[string]*client.Fid{"same": root, "other": other} {
		best := fastest(t, func() {
			_, err := fid.Attr(t.Context())
			check(t, err)
		})
		if best > 5*time.Millisecond {
			t.Errorf("a request on the %s connection took %v", name, best)
		}
	}
	close(tree.release)
}

// TestLostConnection checks that nothing stays of a connection.
func TestLostConnection(t *testing.T) {
	tree := newSlowTree()
	s := &p9srv.Server{Tree: tree}
	before := runtime.NumGoroutine()
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- s.ServeConn(context.Background(), theirs) }()
	c, err := client.New(t.Context(), ours, client.Options{})
	check(t, err)
	root, err := c.Attach(t.Context(), "u", "", 0)
	check(t, err)
	failed := make(chan error)
	for range 5 {
		f := openFid(t, root, "wait")
		go func() {
			_, err := f.ReadAt(t.Context(), make([]byte, 10), 0)
			failed <- err
		}()
	}
	q := openFid(t, root, "quick")
	if st, err := q.Lock(t.Context(), p9srv.LockRequest{Type: p9srv.LockWrite}); st != p9srv.LockOK || err != nil {
		t.Fatal(st, err)
	}
	eventually(t, "reads begun", func() bool { return tree.reading.Load() == 5 })
	check(t, c.Close())
	for range 5 {
		if err := <-failed; !errors.Is(err, client.ErrClosed) {
			t.Error(err)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n, f := tree.nodes.Load(), tree.files.Load(); n != 0 || f != 0 {
		t.Errorf("%d nodes and %d files are held", n, f)
	}
	eventually(t, "goroutines ended", func() bool { return runtime.NumGoroutine() <= before })
	// the lock is gone too
	_, root = attach(t, listen(t, s))
	if st, err := openFid(t, root, "quick").Lock(t.Context(), p9srv.LockRequest{Type: p9srv.LockWrite}); st != p9srv.LockOK || err != nil {
		t.Error(st, err)
	}
}

// TestServeEnds ends a server with requests at work.
func TestServeEnds(t *testing.T) {
	tree := newSlowTree()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- (&p9srv.Server{Tree: tree}).Serve(ctx, l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	c, err := client.New(t.Context(), nc, client.Options{})
	check(t, err)
	root, err := c.Attach(t.Context(), "u", "", 0)
	check(t, err)
	f := openFid(t, root, "wait")
	failed := make(chan error)
	go func() {
		_, err := f.ReadAt(t.Context(), make([]byte, 10), 0)
		failed <- err
	}()
	eventually(t, "read begun", func() bool { return tree.reading.Load() == 1 })
	cancel()
	check(t, <-served)
	if err := <-failed; err == nil {
		t.Error("read succeeded")
	}
	<-c.Done()
	if c.Err() == nil {
		t.Error("no error")
	}
	check(t, c.Close())
	if n, f := tree.nodes.Load(), tree.files.Load(); n != 0 || f != 0 {
		t.Errorf("%d nodes and %d files are held", n, f)
	}
}

// raw sends messages as they are, on a connection that is attached as fid 0.
func raw(t testing.TB, path string, msize int) net.Conn {
	t.Helper()
	c := dial(t, path)
	p9test.Say(t, c, "Tversion tag=notag version=9P2000.L msize="+strconv.Itoa(msize), "Rversion")
	p9test.Say(t, c, `Tattach fid=0 uname=u aname="" n_uname=0`, "Rattach")
	return c
}

// TestManyRequests has more requests under way than a connection may: they
// wait their turn, and can be flushed.
func TestManyRequests(t *testing.T) {
	tree := newSlowTree()
	c := raw(t, listen(t, &p9srv.Server{Tree: tree, MaxRequests: 4}), 8192)
	p9test.Say(t, c, "Twalk fid=0 newfid=1 names=wait", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=1 flags=0", "Rlopen")
	for i := range 100 {
		p9test.Tell(t, c, "Tread fid=1 offset=0 count=10 tag="+strconv.Itoa(i))
	}
	eventually(t, "reads begun", func() bool { return tree.reading.Load() == 4 })
	// requests that wait, and then those at work
	for i := 99; i >= 0; i-- {
		p9test.Say(t, c, "Tflush tag=1000 oldtag="+strconv.Itoa(i), "Rflush")
	}
	p9test.Say(t, c, "Tgetattr fid=0 mask=0x7ff", "Rgetattr")
	if most := tree.most.Load(); most != 4 {
		t.Errorf("%d reads at once", most)
	}
	// those that wait get their turn
	p9test.Say(t, c, "Twalk fid=0 newfid=2 names=stuck", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=2 flags=0", "Rlopen")
	for i := range 100 {
		p9test.Tell(t, c, "Tread fid=2 offset=0 count=10 tag="+strconv.Itoa(i))
	}
	eventually(t, "reads begun", func() bool { return tree.reading.Load() == 4 })
	close(tree.release)
	for range 100 {
		if name, _, _ := p9test.Decode(p9test.Read(t, c), "9P2000.L"); name != "Rread" {
			t.Error(name)
		}
	}
	if most := tree.most.Load(); most != 4 {
		t.Errorf("%d reads at once", most)
	}
}

// TestAnswersOfAFullConnection has an answer ready when a request behind it has to
// wait its turn.
func TestAnswersOfAFullConnection(t *testing.T) {
	tree := newSlowTree()
	c := raw(t, listen(t, &p9srv.Server{Tree: tree, MaxRequests: 1}), 8192)
	p9test.Say(t, c, "Twalk fid=0 newfid=1 names=wait", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=1 flags=0", "Rlopen")
	p9test.Tell(t, c, "Tread fid=1 offset=0 count=10 tag=5")
	eventually(t, "read begun", func() bool { return tree.reading.Load() == 1 })
	p9test.Say(t, c, "Tflush tag=6 oldtag=77", "Rflush")
	flush, err := p9test.Encode("Tflush tag=6 oldtag=77", "9P2000.L")
	check(t, err)
	walk, err := p9test.Encode("Tgetattr tag=7 fid=0", "9P2000.L")
	check(t, err)
	c.Write(append(flush, walk...))
	if name, _, _ := p9test.Decode(p9test.Read(t, c), "9P2000.L"); name != "Rflush" {
		t.Error(name)
	}
	p9test.Say(t, c, "Tflush tag=8 oldtag=5", "Rflush")
	if name, _, _ := p9test.Decode(p9test.Read(t, c), "9P2000.L"); name != "Rgetattr" {
		t.Error(name)
	}
}

// TestDeafClient does not read its replies: it is no longer listened to, and
// nobody else notices.
func TestDeafClient(t *testing.T) {
	tree := newMemTree()
	path := listen(t, &p9srv.Server{Tree: tree})
	_, root := attach(t, path)
	f, err := root.Walk(t.Context())
	check(t, err)
	check(t, f.Create(t.Context(), "big", oRDWR, 0o600, 0))
	_, err = f.WriteAt(t.Context(), make([]byte, 1<<20), 0)
	check(t, err)
	c := raw(t, path, 1<<20)
	p9test.Say(t, c, "Twalk fid=0 newfid=1 names=big", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=1 flags=0", "Rlopen")
	c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	sent := 0
	for ; sent < 1<<20; sent++ {
		msg, err := p9test.Encode("Tread fid=1 offset=0 count=1000000 tag="+strconv.Itoa(sent%60000), "9P2000.L")
		check(t, err)
		if _, err := c.Write(msg); err != nil {
			break
		}
	}
	if sent == 1<<20 {
		t.Error("the server reads on and on")
	}
	_, err = root.Attr(t.Context())
	check(t, err)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > 300<<20 {
		t.Errorf("%d MiB in use", m.HeapInuse>>20)
	}
	c.Close()
	eventually(t, "fids of the client gone", func() bool { return tree.files.Load() == 1 })
}

// TestVersionEndsRequests begins a session anew while requests are at work.
func TestVersionEndsRequests(t *testing.T) {
	tree := newSlowTree()
	c := raw(t, listen(t, &p9srv.Server{Tree: tree}), 8192)
	p9test.Say(t, c, "Twalk fid=0 newfid=1 names=stuck", "Rwalk")
	p9test.Say(t, c, "Twalk fid=0 newfid=2 names=wait", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=1 flags=0", "Rlopen")
	p9test.Say(t, c, "Tlopen fid=2 flags=0", "Rlopen")
	p9test.Tell(t, c, "Tread tag=5 fid=1 offset=0 count=10")
	p9test.Tell(t, c, "Tread tag=6 fid=2 offset=0 count=10")
	p9test.Tell(t, c, "Twalk tag=7 fid=0 newfid=3 names=slowly")
	eventually(t, "reads begun", func() bool { return tree.reading.Load() == 2 })
	p9test.Say(t, c, "Tversion tag=notag version=9P2000.L msize=8192", "Rversion")
	p9test.Say(t, c, `Tattach fid=0 uname=u aname="" n_uname=0`, "Rattach")
	close(tree.release)
	eventually(t, "old session gone", func() bool { return tree.nodes.Load() == 1 && tree.files.Load() == 0 })
	p9test.Say(t, c, "Tclunk fid=3", "Rlerror")
	p9test.Say(t, c, "Tgetattr tag=5 fid=0 mask=0x7ff", "Rgetattr")
}

// TestCutMessage ends a connection in the middle of a message.
func TestCutMessage(t *testing.T) {
	ours, theirs := net.Pipe()
	served := make(chan error)
	go func() { served <- (&p9srv.Server{Tree: newMemTree()}).ServeConn(t.Context(), theirs) }()
	ours.Write([]byte{20, 0, 0, 0, 100})
	ours.Close()
	if err := <-served; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// TestSlowRequestsDoNotAddUp has many requests that go on before one that is
// quick: it does not wait until each of them was found to be slow.
func TestSlowRequestsDoNotAddUp(t *testing.T) {
	const many = 100
	tree := newSlowTree()
	c := raw(t, listen(t, &p9srv.Server{Tree: tree}), 8192)
	p9test.Say(t, c, "Twalk fid=0 newfid=1 names=wait", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=1 flags=0", "Rlopen")
	best := time.Hour
	for range 5 {
		var stream []byte
		for i := range many {
			msg, err := p9test.Encode("Tread fid=1 offset=0 count=10 tag="+strconv.Itoa(i), "9P2000.L")
			check(t, err)
			stream = append(stream, msg...)
		}
		msg, err := p9test.Encode("Tgetattr tag=1000 fid=0", "9P2000.L")
		check(t, err)
		start := time.Now()
		c.Write(append(stream, msg...))
		if name, _, _ := p9test.Decode(p9test.Read(t, c), "9P2000.L"); name != "Rgetattr" {
			t.Error(name)
		}
		took := time.Since(start)
		for i := range many {
			p9test.Say(t, c, "Tflush tag=1000 oldtag="+strconv.Itoa(i), "Rflush")
		}
		best = min(best, took)
	}
	if best > many*time.Millisecond/2 {
		t.Errorf("answered after %v at best", best)
	}
}
