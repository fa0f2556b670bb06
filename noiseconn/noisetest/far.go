// Package noisetest is what tests of connections between devices share.
package noisetest

import (
	"net"
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

// carry carries what comes from one side to the other, and closes both when
// that ends.
func carry(from, to net.Conn, delay time.Duration) {
	type piece struct {
		due time.Time
		b   []byte
	}
	pieces := make(chan piece, underWay)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 128<<10)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			pieces <- piece{time.Now().Add(delay), b[:n]}
		}
	}()
	for p := range pieces {
		<-time.After(time.Until(p.due))
		if _, err := to.Write(p.b); err != nil {
			break
		}
	}
	from.Close()
	to.Close()
	for range pieces {
	}
}
