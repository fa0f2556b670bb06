package export

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// TestListingsTakeMemory: a listing that the server has no memory for is
// refused, others are not, and what one holds is given back.
func TestListingsTakeMemory(t *testing.T) {
	m := newManager(t)
	s := &p9srv.Server{Tree: m.Root.Limit(Spec{Volume: "files"}), MaxMemory: 8 << 20}
	here, there := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- s.ServeConn(context.Background(), there) }()
	c, err := client.New(t.Context(), here, client.Options{})
	must(t, err)
	root, err := c.Attach(t.Context(), "", "", 0)
	must(t, err)
	mkdir(t, root, "d", 0o755)
	d, err := m.volume().Root().Lookup(t.Context(), "d")
	must(t, err)
	fill(t, d, 16000, func(i int) string { return fmt.Sprintf("file%06d", i) })
	list := func(f *client.Fid) error { // the first answer may have "." and ".." only
		some, err := f.ReadDir(t.Context(), 0, 1000)
		if err == nil {
			_, err = f.ReadDir(t.Context(), some[len(some)-1].Offset, 1000)
		}
		return err
	}

	var all []*client.Fid
	for len(all) < 20 {
		f := open(t, root, 0, "d")
		all = append(all, f)
		if err := list(f); err != nil {
			want(t, "a listing too many", err, syscall.ENOMEM)
			break
		}
	}
	if n := len(all); n < 2 || n == 20 {
		t.Errorf("%d listings of a megabyte", n)
	}
	must(t, list(open(t, root, 0)))
	must(t, all[0].Clunk(t.Context()))
	must(t, list(all[len(all)-1]))
	c.Close()
	must(t, <-served)
}
