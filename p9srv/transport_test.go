package p9srv_test

import (
	"bytes"
	"context"
	"math/rand"
	"net"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// TestTransports moves data over connections that write many slices at once
// and over one that does not, with small and large messages.
func TestTransports(t *testing.T) {
	data := make([]byte, 5<<20)
	rand.New(rand.NewSource(7)).Read(data)
	for name, connect := range map[string]func(t *testing.T) (net.Conn, net.Conn){
		"unix": func(t *testing.T) (net.Conn, net.Conn) {
			a, b := socketPair(t)
			return a, b
		},
		"tcp":  tcpPair,
		"pipe": func(*testing.T) (net.Conn, net.Conn) { return net.Pipe() },
	} {
		for _, msize := range []uint32{p9srv.SmallestMsize, 100_000, p9srv.LargestMsize} {
			t.Run(name, func(t *testing.T) {
				ours, theirs := connect(t)
				moveData(t, ours, theirs, msize, data[:min(len(data), int(msize)*300)])
			})
		}
	}
}

func tcpPair(t *testing.T) (net.Conn, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	theirs, err := l.Accept()
	check(t, err)
	return ours, theirs
}

// moveData writes data to a file and reads it again.
func moveData(t *testing.T, ours, theirs net.Conn, msize uint32, data []byte) {
	tree := newMemTree()
	served := make(chan error, 1)
	go func() {
		served <- (&p9srv.Server{Tree: tree, MaxMsize: msize}).ServeConn(context.Background(), theirs)
	}()
	ctx := t.Context()
	c, err := client.New(ctx, ours, client.Options{Msize: p9srv.LargestMsize})
	check(t, err)
	if c.Msize() != msize {
		t.Errorf("msize is %d", c.Msize())
	}
	f, err := c.Attach(ctx, "u", "", 0)
	check(t, err)
	check(t, f.Create(ctx, "file", oRDWR, 0o600, 0))
	if n, err := f.WriteAt(ctx, data, 1); n != len(data) || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, len(data)+1000)
	if n, err := f.ReadAt(ctx, got, 1); n != len(data) || err != nil || !bytes.Equal(got[:n], data) {
		t.Fatal(n, err)
	}
	check(t, c.Close())
	check(t, <-served)
}
