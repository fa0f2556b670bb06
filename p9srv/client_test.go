package p9srv_test

import (
	"bytes"
	"math/rand"
	"slices"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/p9test"
)

const (
	oRDWR  = 2
	oTRUNC = 0x200
	oEXCL  = 0x80
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is sent ahead of its fid is answered as if that had been there.
func TestClientAhead(t *testing.T) {
	_, root := attach(t, listen(t, &p9srv.Server{Tree: tempTree(t)}))
	ctx := t.Context()
	_, err := root.Mkdir(ctx, "dir", 0o755, 0)
	check(t, err)
	dir, err := root.Walk(ctx, "dir")
	check(t, err)
	f, err := dir.Walk(ctx)
	check(t, err)
	check(t, f.Create(ctx, "file", oRDWR|oEXCL, 0o640, 0))
	data := []byte("some content")
	_, err = f.WriteAt(ctx, data, 0)
	check(t, err)
	for range 50 {
		o, err := root.WalkOpen(ctx, oRDWR, "dir", "file")
		check(t, err)
		var got []byte
		n, readErr := o.Fid.ReadInto(ctx, 100, 5, func(n int) []byte {
			got = make([]byte, n)
			return got
		})
		if err = o.Wait(ctx); err != nil {
			o.Drop(ctx)
		}
		if err == syscall.EBADF || readErr == syscall.EBADF {
			continue // the server is slow today
		}
		if err != nil || readErr != nil || n != 7 || string(got) != "content" {
			t.Fatalf("%d bytes %q, %v, %v", n, got, readErr, err)
		}
		check(t, o.Fid.Clunk(ctx))
	}
	for _, c := range []struct {
		names []string
		want  error
	}{
		{[]string{"none"}, syscall.ENOENT},
		{[]string{"dir", "none"}, syscall.ENOENT},
		{[]string{"dir", "file", "x"}, syscall.ENOTDIR},
		{[]string{"dir"}, syscall.EISDIR},
	} {
		o, err := root.WalkOpen(ctx, oRDWR, c.names...)
		check(t, err)
		if err := o.Wait(ctx); err != c.want && err != syscall.EBADF {
			t.Errorf("%q: %v", c.names, err)
		}
		o.Drop(ctx)
		if _, err := o.Fid.Walk(ctx); err != syscall.EBADF {
			t.Errorf("%q: the fid is used: %v", c.names, err)
		}
	}
	if _, err := root.WalkOpen(ctx, oRDWR, slices.Repeat([]string{".."}, p9srv.MaxWalk+1)...); err != syscall.EINVAL {
		t.Error(err)
	}
}

func TestClientFiles(t *testing.T) {
	_, root := attach(t, listen(t, &p9srv.Server{Tree: tempTree(t)}))
	ctx := t.Context()
	_, err := root.Mkdir(ctx, "dir", 0o755, 0)
	check(t, err)
	f, err := root.Walk(ctx, "dir")
	check(t, err)
	check(t, f.Create(ctx, "file", oRDWR|oEXCL, 0o640, 0))
	data := make([]byte, 5<<20+17)
	rand.New(rand.NewSource(1)).Read(data)
	if n, err := f.WriteAt(ctx, data, 3); n != len(data) || err != nil {
		t.Fatal(n, err)
	}
	check(t, f.Fsync(ctx, false))
	got := make([]byte, len(data)+10)
	if n, err := f.ReadAt(ctx, got, 3); n != len(data) || err != nil || !bytes.Equal(got[:n], data) {
		t.Fatal(n, err)
	}
	a, err := f.Attr(ctx)
	check(t, err)
	if a.Mode != syscall.S_IFREG|0o640 || a.Size != uint64(len(data)+3) {
		t.Errorf("attr %+v", a)
	}
	check(t, f.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize | p9srv.SetMTime | p9srv.SetMTimeValue, Size: 5, MTime: 1234567890123456789}))
	a, err = f.Attr(ctx)
	check(t, err)
	if a.Size != 5 || a.MTime != 1234567890123456789 {
		t.Errorf("attr %+v", a)
	}
	check(t, f.Clunk(ctx))
	if _, err := root.Walk(ctx, "dir", "none", "x"); err != syscall.ENOENT {
		t.Error(err)
	}
	if _, err := root.Walk(ctx, "dir", "file", "x"); err != syscall.ENOTDIR {
		t.Error(err)
	}
	d, err := root.Walk(ctx, "dir", "..", "..", "..", "dir")
	check(t, err)
	check(t, d.Open(ctx, 0))
	var names []string
	for off := uint64(0); ; {
		list, err := d.ReadDir(ctx, off, 40)
		check(t, err)
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			names, off = append(names, e.Name), e.Offset
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{".", "..", "file"}) {
		t.Error(names)
	}
	check(t, root.RenameAt(ctx, "dir", root, "new"))
	check(t, d.UnlinkAt(ctx, "file", 0))
	check(t, root.UnlinkAt(ctx, "new", 0x200))
}

func TestClientXattrs(t *testing.T) {
	_, root := attach(t, listen(t, &p9srv.Server{Tree: tempTree(t)}))
	ctx := t.Context()
	check(t, root.SetXattr(ctx, "user.a", []byte("value"), 0))
	check(t, root.SetXattr(ctx, "user.empty", nil, 0))
	if v, err := root.GetXattr(ctx, "user.a"); string(v) != "value" || err != nil {
		t.Error(v, err)
	}
	if err := root.SetXattr(ctx, "user.a", []byte("x"), 1); err != syscall.EEXIST {
		t.Error(err)
	}
	if err := root.SetXattr(ctx, "user.b", []byte("x"), 2); err != syscall.ENODATA {
		t.Error(err)
	}
	list, err := root.ListXattr(ctx)
	check(t, err)
	slices.Sort(list)
	if !slices.Equal(list, []string{"user.a", "user.empty"}) {
		t.Error(list)
	}
	check(t, root.RemoveXattr(ctx, "user.a"))
	if _, err := root.GetXattr(ctx, "user.a"); err != syscall.ENODATA {
		t.Error(err)
	}
}

// tempTree is an empty folder to serve.
func tempTree(t testing.TB) *p9test.OSTree { return &p9test.OSTree{Dir: t.TempDir()} }
