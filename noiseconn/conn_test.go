package noiseconn

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

func TestBothDirectionsAtOnce(t *testing.T) {
	a, b := pair(t)
	if a.RemoteKey() == b.RemoteKey() || a.RemoteKey() == (PublicKey{}) {
		t.Fatalf("keys %v and %v", a.RemoteKey(), b.RemoteKey())
	}
	data := make([]byte, 5<<20+17)
	rand.Read(data)
	var wg sync.WaitGroup
	for i, c := range []*Conn{a, b} {
		wg.Go(func() { writeRandomly(t, c, data, uint64(i)) })
		wg.Go(func() { readRandomly(t, c, data, uint64(i)) })
	}
	wg.Wait()
}

// writeRandomly writes data in pieces of 1 byte to 1 MiB, and closes.
func writeRandomly(t *testing.T, c *Conn, data []byte, seed uint64) {
	rnd := mrand.New(mrand.NewPCG(seed, 1))
	for len(data) > 0 {
		n := min(len(data), 1<<rnd.IntN(21)+rnd.IntN(3))
		if m, err := c.Write(data[:n]); m != n || err != nil {
			t.Errorf("write of %d bytes: %d, %v", n, m, err)
			return
		}
		data = data[n:]
	}
}

// readRandomly reads want with buffers of 1 byte to 1 MiB.
func readRandomly(t *testing.T, c *Conn, want []byte, seed uint64) {
	rnd := mrand.New(mrand.NewPCG(seed, 2))
	for len(want) > 0 {
		p := make([]byte, 1<<rnd.IntN(21))
		n, err := c.Read(p)
		if err != nil || n == 0 || n > len(want) || !bytes.Equal(p[:n], want[:n]) {
			t.Errorf("read %d bytes, %v, with %d left", n, err, len(want))
			return
		}
		want = want[n:]
	}
}

func TestWriteBuffers(t *testing.T) {
	a, b := pair(t)
	rnd := mrand.New(mrand.NewPCG(3, 3))
	sum := sha256.New()
	var want int64
	got := make(chan []byte)
	go func() {
		sum := sha256.New()
		io.Copy(sum, b)
		got <- sum.Sum(nil)
	}()
	for range 200 {
		bufs := make([][]byte, rnd.IntN(30))
		for i := range bufs {
			bufs[i] = make([]byte, rnd.IntN(1<<rnd.IntN(18)))
			rand.Read(bufs[i])
			sum.Write(bufs[i])
			want += int64(len(bufs[i]))
		}
		if n, err := a.WriteBuffers(bufs); err != nil || n > want {
			t.Fatal(n, err)
		}
	}
	a.Close()
	if !bytes.Equal(<-got, sum.Sum(nil)) {
		t.Errorf("%d bytes arrived changed", want)
	}
}

func TestEveryWriteStaysWhole(t *testing.T) {
	a, b := pair(t)
	const writers, lines = 8, 500
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range lines {
				line := fmt.Sprintf("%d %d %s\n", w, i, bytes.Repeat([]byte{'x'}, i*7))
				if i%2 == 0 {
					a.Write([]byte(line))
				} else {
					a.WriteBuffers([][]byte{[]byte(line[:2]), []byte(line[2:])})
				}
			}
		})
	}
	go func() { wg.Wait(); a.Close() }()
	next := make([]int, writers)
	s := bufio.NewReader(b)
	for {
		line, err := s.ReadString('\n')
		if err == io.EOF {
			break
		}
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d", &w, &i); err != nil || i != next[w] {
			t.Fatalf("line %.20q out of order: %v", line, err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			t.Errorf("%d lines of writer %d", n, w)
		}
	}
}

func TestConcurrentReadsShareTheStream(t *testing.T) {
	a, b := pair(t)
	const total = 1 << 20
	go func() { a.Write(make([]byte, total)); a.Close() }()
	var wg sync.WaitGroup
	var mu sync.Mutex
	sum := 0
	for range 4 {
		wg.Go(func() {
			n, err := io.Copy(io.Discard, b)
			mu.Lock()
			defer mu.Unlock()
			if sum += int(n); err != nil {
				t.Error(err)
			}
		})
	}
	if wg.Wait(); sum != total {
		t.Errorf("%d bytes of %d", sum, total)
	}
}

func TestCloseReadsAsEOF(t *testing.T) {
	a, b := pair(t)
	a.Write([]byte("last words"))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a.Close()
	got, err := io.ReadAll(b)
	if string(got) != "last words" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []*Conn{a, b} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("a read after the end: %d, %v", n, err)
		}
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	if err := a.SetWriteDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetWriteDeadline after Close: %v", err)
	}
}

func TestBareCloseIsTruncation(t *testing.T) {
	a, b := pair(t)
	a.Write([]byte("half a sent"))
	a.raw.Close()
	got, err := io.ReadAll(b)
	if string(got) != "half a sent" || err != io.ErrUnexpectedEOF {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF {
		t.Errorf("and then %v", err)
	}
}

func TestCloseEndsBlockedCalls(t *testing.T) {
	a, b := pair(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("blocked Read: %v", err)
		}
	})
	started := make(chan struct{})
	wg.Go(func() {
		p := make([]byte, 64<<10)
		a.Write(p)
		close(started)
		for {
			if _, err := a.Write(p); err != nil {
				return // nobody reads at b
			}
		}
	})
	<-started
	a.Close()
	wg.Wait()
	b.Close()
}

func TestFailedWritePoisons(t *testing.T) {
	a, b := pair(t)
	a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	p := make([]byte, 1<<20)
	var err error
	sent := 0
	for err == nil {
		var n int
		n, err = a.Write(p)
		sent += n
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	a.SetWriteDeadline(time.Time{})
	if n, err := a.Write(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write after a failed one: %d, %v", n, err)
	}
	closed := make(chan error)
	go func() { closed <- a.Close() }()
	got, err := io.Copy(io.Discard, b)
	if err != io.ErrUnexpectedEOF || got < int64(sent) {
		t.Errorf("%d bytes of %d arrived, then %v", got, sent, err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestClientStopsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it never answers
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	k := NewSecretKey()
	if _, err := Dial(ctx, knows(k), l.Addr().String(), k.Public()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial: %v", err)
	}
	cfg := knows(k)
	cfg.HandshakeTimeout = 50 * time.Millisecond
	if _, err := Dial(t.Context(), cfg, l.Addr().String(), k.Public()); err == nil {
		t.Error("Dial came back with a connection")
	}
}
