package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bazil/noiseconn"
	"bazil/p9srv"
)

// device is a server behind a key that lets everybody in.
type device struct {
	listener *noiseconn.Listener
	key      noiseconn.PublicKey
	end      func()
}

// newDevice serves what tree gives for each key. addr may be empty.
func newDevice(t testing.TB, secret noiseconn.SecretKey, addr string, tree func(noiseconn.PublicKey) p9srv.Tree) *device {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := noiseconn.Listen(noiseconn.Config{Key: secret, Known: func(noiseconn.PublicKey) bool { return true }}, addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.AcceptPeer()
			if err != nil {
				return
			}
			s := &p9srv.Server{Tree: tree(c.RemoteKey())}
			wg.Go(func() { s.ServeConn(ctx, c) })
		}
	})
	d := &device{listener: l, key: secret.Public(), end: sync.OnceFunc(func() { cancel(); l.Close(); wg.Wait() })}
	t.Cleanup(d.end)
	return d
}

// dialer connects to d as the device with the given secret key.
func (d *device) dialer(secret noiseconn.SecretKey) Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		c, err := noiseconn.Dial(ctx, noiseconn.Config{Key: secret}, d.listener.Addr().String(), d.key)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

// oneFile is a tree in which every file answers as a test says.
type oneFile struct {
	answers answers
	slow    time.Duration // what a walk takes
}

func (o *oneFile) Attach(context.Context, p9srv.User, string) (p9srv.Node, error) {
	return &oneNode{o: o}, nil
}

type oneNode struct {
	node
	o    *oneFile
	file bool
}

func (n *oneNode) QID() p9srv.QID {
	if n.file {
		return p9srv.QID{Path: 2}
	}
	return p9srv.QID{Type: p9srv.QTDir, Path: 1}
}
func (n *oneNode) Walk(_ context.Context, name string) (p9srv.Node, error) {
	time.Sleep(n.o.slow)
	return &oneNode{o: n.o, file: slices.Contains([]string{"f", "chunks", "info", "replicas", "pull", "events"}, name)}, nil
}
func (n *oneNode) Open(context.Context, uint32) (p9srv.File, error) {
	return newAsked(n.o.answers, slog.New(slog.DiscardHandler), func() {}), nil
}

// linkTo is a link to a device whose files all answer with a.
func linkTo(t testing.TB, a answers) *link { return linkToTree(t, &oneFile{answers: a}) }

func linkToTree(t testing.TB, tree p9srv.Tree) *link {
	d := newDevice(t, noiseconn.NewSecretKey(), "", func(noiseconn.PublicKey) p9srv.Tree { return tree })
	l := newLink(d.dialer(noiseconn.NewSecretKey()), readSize)
	t.Cleanup(l.close)
	return l
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// join puts the bodies of an answer together.
func join(ctx context.Context, l *link, text string) ([]byte, error) {
	var all []byte
	err := l.ask(ctx, question{path: []string{"d", "f"}, text: []byte(text)}, func(k kind, body []byte) error {
		if k != kindChunk {
			return unexpected(k)
		}
		all = append(all, body...)
		return nil
	})
	return all, err
}

func bodies(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8)
	}
	return b
}

func TestAskAnyLength(t *testing.T) {
	l := linkTo(t, counting)
	exact := readSize - 2*recordHead - 1 // with two heads, its end, and one more: a whole read
	for _, n := range []int{0, 1, 1000, exact - 5, exact - 4, exact - 3, exact, 3*readSize + 7, 4 << 20} {
		got, err := join(soon(t), l, fmt.Sprint(n))
		if err != nil || !bytes.Equal(got, bodies(n)) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
}

// A device that is slow to walk reads on meanwhile, and refuses what was sent
// ahead for a file that is not there yet.
func TestAskSlowDevice(t *testing.T) {
	l := linkToTree(t, &oneFile{answers: counting, slow: 50 * time.Millisecond})
	for range 2 {
		got, err := join(soon(t), l, "100000")
		if err != nil || !bytes.Equal(got, bodies(100000)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

func TestAskManyAtOnce(t *testing.T) {
	l := linkTo(t, counting)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			n := i * i * 150
			got, err := join(soon(t), l, fmt.Sprint(n))
			if err != nil || !bytes.Equal(got, bodies(n)) {
				t.Errorf("%d bytes: got %d, %v", n, len(got), err)
			}
		})
	}
	wg.Wait()
}

// What got says ends the question and not the connection.
func TestAskStopsWithGot(t *testing.T) {
	l := linkTo(t, counting)
	stop := errors.New("enough")
	for range 20 {
		err := l.ask(soon(t), question{path: []string{"f"}, text: []byte("10000000")}, func(kind, []byte) error { return stop })
		if err != stop {
			t.Fatal(err)
		}
		s, fresh, err := l.session(soon(t))
		if err != nil || fresh {
			t.Fatal("the connection did not last", err)
		}
		s.wg.Wait() // a question that is put before opens another file
		if n := len(s.idle["f"]); n != 1 {
			t.Fatalf("%d idle files", n)
		}
	}
	if got, err := join(soon(t), l, "100000"); err != nil || len(got) != 100000 {
		t.Error(len(got), err)
	}
}

func TestAskStopsWithItsContext(t *testing.T) {
	waiting := make(chan struct{}, 10)
	l := linkTo(t, func(context.Context, []byte) (producer, error) {
		return func(ctx context.Context, dst []byte) ([]byte, error) {
			waiting <- struct{}{}
			<-ctx.Done()
			return dst, ctx.Err()
		}, nil
	})
	for range 3 {
		ctx, cancel := context.WithCancel(soon(t))
		go func() { <-waiting; cancel() }()
		if _, err := join(ctx, l, "x"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if s, _ := l.working(); s == nil {
		t.Error("the connection ended with it")
	}
}

// A device that went away and came back is asked again; one that is away is an
// error.
func TestAskAfterRestart(t *testing.T) {
	key := noiseconn.NewSecretKey()
	tree := func(noiseconn.PublicKey) p9srv.Tree { return &oneFile{answers: counting} }
	d := newDevice(t, key, "", tree)
	l := newLink(d.dialer(noiseconn.NewSecretKey()), readSize)
	defer l.close()
	for range 3 {
		if got, err := join(soon(t), l, "1000"); err != nil || len(got) != 1000 {
			t.Fatal(len(got), err)
		}
		d.end()
		if _, err := join(soon(t), l, "1000"); err == nil {
			t.Fatal("an answer from nobody")
		}
		d = newDevice(t, key, d.listener.Addr().String(), tree)
		s, _ := l.working()
		if s != nil {
			t.Fatal("the lost connection counts as working")
		}
	}
}

func TestClosedLink(t *testing.T) {
	l := linkTo(t, counting)
	if _, err := join(soon(t), l, "1"); err != nil {
		t.Fatal(err)
	}
	l.close()
	if _, err := join(soon(t), l, "1"); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

// One dial at a time, and all who wait get its connection.
func TestOneDialForAll(t *testing.T) {
	d := newDevice(t, noiseconn.NewSecretKey(), "", func(noiseconn.PublicKey) p9srv.Tree { return &oneFile{answers: counting} })
	dial := d.dialer(noiseconn.NewSecretKey())
	var dials atomic.Int32
	l := newLink(func(ctx context.Context) (net.Conn, error) { dials.Add(1); return dial(ctx) }, readSize)
	defer l.close()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := join(soon(t), l, "10"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// raw answers with bytes that are no records, then ends without an end.
func raw(b []byte) answers {
	return func(context.Context, []byte) (producer, error) {
		return func(_ context.Context, dst []byte) ([]byte, error) { return append(dst, b...), nil }, nil
	}
}

// cut answers with b and nothing behind it.
func cut(b []byte) answers {
	return func(context.Context, []byte) (producer, error) {
		done := false
		return func(_ context.Context, dst []byte) ([]byte, error) {
			if done {
				return dst, io.EOF
			}
			done = true
			return append(dst, b...), nil
		}, nil
	}
}

func TestLyingAnswers(t *testing.T) {
	record := func(k kind, body string) []byte { return endRecord(append(beginRecord(nil, k), body...), 0) }
	for name, a := range map[string]answers{
		"too long a record":   raw(bytes.Repeat([]byte{'c', 0xff, 0xff, 0xff, 0xff}, 1000)),
		"unknown kind":        cut(record('?', "")),
		"end with a body":     cut(record(kindEnd, "x")),
		"two ends":            cut(record(kindEnd, "")),
		"error of garbage":    cut(record(kindError, "\xff")),
		"error without text":  cut(record(kindError, "\x01")),
		"record that is cut":  cut([]byte{'c', 0, 0, 1, 0, 'x'}),
		"garbage without end": raw(bytes.Repeat([]byte("lie "), 1000)),
	} {
		l := linkTo(t, a)
		if _, err := join(soon(t), l, "1"); !errors.Is(err, ErrLied) {
			t.Errorf("%s: %v", name, err)
		}
		if s, _ := l.working(); s != nil {
			t.Errorf("%s: the connection lives on", name)
		}
	}
}

func TestRemoteTextIsHarmless(t *testing.T) {
	l := linkTo(t, func(context.Context, []byte) (producer, error) {
		return nil, &Absent{"volume", "\x1b[2J\nx\u202e" + strings.Repeat("y", 5000)}
	})
	_, err := join(soon(t), l, "1")
	if !errors.Is(err, ErrAbsent) || strings.ContainsAny(err.Error(), "\x1b\n\u202e") || len(err.Error()) > maxText+10 {
		t.Errorf("%q", err)
	}
}

func BenchmarkAsk(b *testing.B) {
	block := endRecord(append(beginRecord(nil, kindChunk), make([]byte, 256<<10)...), 0)
	l := linkTo(b, func(context.Context, []byte) (producer, error) {
		n := 0
		return func(_ context.Context, dst []byte) ([]byte, error) {
			if n++; n > 64 {
				return dst, io.EOF
			}
			return append(dst, block...), nil
		}, nil
	})
	b.SetBytes(64 * 256 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.ask(b.Context(), question{path: []string{"f"}, text: nil}, func(kind, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmallAsk is one round trip.
func BenchmarkSmallAsk(b *testing.B) {
	l := linkTo(b, counting)
	for b.Loop() {
		if err := l.ask(b.Context(), question{path: []string{"f"}, text: []byte("100")}, func(kind, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
