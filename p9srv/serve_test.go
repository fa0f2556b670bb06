package p9srv_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// listen serves s on a unix socket until the test ends, and returns its path.
func listen(t testing.TB, s *p9srv.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func dial(t testing.TB, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// attach connects to the socket at path and attaches.
func attach(t testing.TB, path string) (*client.Conn, *client.Fid) {
	t.Helper()
	c, err := client.New(t.Context(), dial(t, path), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	root, err := c.Attach(t.Context(), "root", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return c, root
}

// TestMain makes files with the modes that are asked for.
func TestMain(m *testing.M) {
	syscall.Umask(0)
	os.Exit(m.Run())
}
