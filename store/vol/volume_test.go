package vol

import (
	"bytes"
	"context"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"bazil/merge"
	"bazil/store"
)

var ctx = context.Background()

// disk is where a test's volume is kept while it is opened and closed.
type disk struct {
	tb     testing.TB
	path   string
	chunks *store.Chunks
	sealer *store.Sealer
}

func newDisk(tb testing.TB) *disk {
	tb.Helper()
	chunks, sealer := testStore(tb)
	return newDiskOn(tb, chunks, sealer, NewID())
}

func newDiskOn(tb testing.TB, chunks *store.Chunks, sealer *store.Sealer, id ID) *disk {
	tb.Helper()
	d := &disk{tb, filepath.Join(tb.TempDir(), "volume"), chunks, sealer}
	if err := Create(d.path, id, d.options()); err != nil {
		tb.Fatal(err)
	}
	return d
}

func (d *disk) options() Options {
	return Options{Chunks: d.chunks, Sealer: d.sealer, CommitInterval: time.Hour}
}

func (d *disk) open() *Volume {
	d.tb.Helper()
	return d.openWith(d.options())
}

func (d *disk) openWith(o Options) *Volume {
	d.tb.Helper()
	v, err := Open(d.path, o)
	if err != nil {
		d.tb.Fatal(err)
	}
	d.tb.Cleanup(func() { v.Close() })
	return v
}

func must[T any](tb testing.TB) func(T, error) T {
	return func(x T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return x
	}
}

func ok(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func mkdir(tb testing.TB, n *Node, name string) *Node {
	tb.Helper()
	return must[*Node](tb)(n.Create(ctx, name, New{Kind: merge.KindDir, Mode: 0o755}))
}

// writeFile makes or overwrites a file.
func writeFile(tb testing.TB, n *Node, name, data string) *Node {
	tb.Helper()
	f, err := n.Create(ctx, name, New{Kind: merge.KindFile, Mode: 0o644})
	if err == syscall.EEXIST {
		f, err = n.Lookup(ctx, name)
	}
	ok(tb, err)
	h := must[*Handle](tb)(f.Open(ctx, true))
	ok(tb, h.Truncate(ctx, 0))
	must[int](tb)(h.WriteAt(ctx, []byte(data), 0))
	ok(tb, h.Close())
	return f
}

func readNode(tb testing.TB, n *Node) string {
	tb.Helper()
	h := must[*Handle](tb)(n.Open(ctx, false))
	defer h.Close()
	return readHandle(tb, h)
}

func readHandle(tb testing.TB, h *Handle) string {
	tb.Helper()
	var b bytes.Buffer
	p := make([]byte, 64<<10)
	for {
		n, err := h.ReadAt(ctx, p, int64(b.Len()))
		ok(tb, err)
		b.Write(p[:n])
		if n < len(p) {
			return b.String()
		}
	}
}

func readFile(tb testing.TB, n *Node, name string) string {
	tb.Helper()
	return readNode(tb, must[*Node](tb)(n.Lookup(ctx, name)))
}

func names(tb testing.TB, n *Node) string {
	tb.Helper()
	out := ""
	for _, e := range must[[]DirEntry](tb)(n.List(ctx)) {
		out += e.Name + " "
	}
	return out
}

func TestReopen(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	root := v.Root()
	dir := mkdir(t, root, "dir")
	sub := mkdir(t, dir, "sub")
	big := string(randomBytes(1, 300000))
	f := writeFile(t, sub, "f", "hello")
	writeFile(t, root, "big", big)
	ok(t, root.Rename(ctx, "dir", root, "moved"))
	ok(t, v.Close())

	v = d.open()
	root = v.Root()
	if got := names(t, root); got != "big moved " {
		t.Fatal(got)
	}
	sub2 := must[*Node](t)(must[*Node](t)(root.Lookup(ctx, "moved")).Lookup(ctx, "sub"))
	if sub2.Ino() != sub.Ino() {
		t.Fatal("number of a directory changed")
	}
	f2 := must[*Node](t)(sub2.Lookup(ctx, "f"))
	if f2.Ino() != f.Ino() || readNode(t, f2) != "hello" {
		t.Fatal("file is another")
	}
	if readFile(t, root, "big") != big {
		t.Fatal("big file is another")
	}
	n := must[*Node](t)(v.Node(f.Ino()))
	if n.Path() != "moved/sub/f" || n.Parent().Ino() != sub.Ino() {
		t.Fatal(n.Path())
	}
	writeFile(t, sub2, "f", "again")
	ok(t, v.Sync(ctx))
	if readNode(t, f2) != "again" {
		t.Fatal("not overwritten")
	}
	s := must[Stats](t)(v.Stats(ctx))
	if s.Files != 2 || s.Dirs != 2 || s.LogicalBytes != 300005 {
		t.Fatalf("%+v", s)
	}
}
