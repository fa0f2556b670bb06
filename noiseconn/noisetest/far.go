// Package noisetest is what tests of connections between devices share.
package noisetest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Far returns the address of a relay to addr, for the time of the test, that
// lets every byte wait for delay in each direction.
func Far(t testing.TB, addr string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			go carry(in, out, delay)
			go carry(out, in, delay)
		}
	}()
	return l.Addr().String()
}

// underWay is how many pieces one direction of a connection holds at most.
const underWay = 1 << 12

// pieceSize is the most that one of them holds.
const pieceSize = 256 << 10

// pieces are those that no connection holds, so that the way costs little more
// than time.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// carry carries what comes from one side to the other, and closes both when
// that ends.
func carry(from, to net.Conn, delay time.Duration) {
	type piece struct {
		due time.Time
		buf *[pieceSize]byte
		n   int
	}
	way := make(chan piece, underWay)
	go func() {
		defer close(way)
		for {
			b := pieces.Get().(*[pieceSize]byte)
			n, err := from.Read(b[:])
			if err != nil {
				return
			}
			way <- piece{time.Now().Add(delay), b, n}
		}
	}()
	for p := range way {
		<-time.After(time.Until(p.due))
		_, err := to.Write(p.buf[:p.n])
		pieces.Put(p.buf)
		if err != nil {
			break
		}
	}
	from.Close()
	to.Close()
	for range way {
	}
}
