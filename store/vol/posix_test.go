package vol

import (
	"bytes"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/merge"
)

func testVolume(tb testing.TB) *Volume {
	tb.Helper()
	return newDisk(tb).open()
}

func fails(tb testing.TB, err error, want syscall.Errno) {
	tb.Helper()
	if err != want {
		tb.Fatalf("got error %v, want %v", err, want)
	}
}

func attr(tb testing.TB, n *Node) Attr {
	tb.Helper()
	return must[Attr](tb)(n.Attr())
}

func TestNames(t *testing.T) {
	root := testVolume(t).Root()
	long := strings.Repeat("n", 255)
	writeFile(t, root, long, "x")
	writeFile(t, root, "\xff\n\x01 any bytes", "y")
	if readFile(t, root, long) != "x" || readFile(t, root, "\xff\n\x01 any bytes") != "y" {
		t.Fatal("not found")
	}
	for name, want := range map[string]syscall.Errno{
		long + "n": syscall.ENAMETOOLONG, "": syscall.EINVAL, ".": syscall.EINVAL, "..": syscall.EINVAL,
		"a/b": syscall.EINVAL, "a\x00b": syscall.EINVAL,
	} {
		_, err := root.Create(ctx, name, New{Kind: merge.KindFile})
		fails(t, err, want)
		fails(t, root.Rename(ctx, long, root, name), want)
	}
	_, err := root.Lookup(ctx, "")
	fails(t, err, syscall.ENOENT)
	_, err = root.Lookup(ctx, long+"n")
	fails(t, err, syscall.ENAMETOOLONG)
}

func TestErrors(t *testing.T) {
	root := testVolume(t).Root()
	f := writeFile(t, root, "f", "x")
	d := mkdir(t, root, "d")
	_, err := f.Lookup(ctx, "x")
	fails(t, err, syscall.ENOTDIR)
	_, err = f.Create(ctx, "x", New{Kind: merge.KindFile})
	fails(t, err, syscall.ENOTDIR)
	_, err = f.List(ctx)
	fails(t, err, syscall.ENOTDIR)
	_, err = d.Open(ctx, false)
	fails(t, err, syscall.EISDIR)
	_, err = f.Readlink()
	fails(t, err, syscall.EINVAL)
	fails(t, root.Rmdir(ctx, "f"), syscall.ENOTDIR)
	fails(t, root.Unlink(ctx, "d"), syscall.EISDIR)
	fails(t, root.Unlink(ctx, "none"), syscall.ENOENT)
	fails(t, root.Rename(ctx, "none", root, "x"), syscall.ENOENT)
	fails(t, root.Rename(ctx, "d", d, "x"), syscall.EINVAL)
	fails(t, root.Rename(ctx, "d", mkdir(t, d, "e"), "x"), syscall.EINVAL)
	fails(t, root.Rmdir(ctx, "d"), syscall.ENOTEMPTY)
	fails(t, root.Rename(ctx, "f", root, "d"), syscall.EISDIR)
	fails(t, root.Rename(ctx, "d", root, "f"), syscall.ENOTDIR)
	fails(t, root.Rename(ctx, "f", testVolume(t).Root(), "f"), syscall.EXDEV)
	mkdir(t, root, "d2")
	fails(t, root.Rename(ctx, "d2", root, "d"), syscall.ENOTEMPTY)
	size := int64(1)
	fails(t, d.SetAttr(ctx, SetAttr{Size: &size}), syscall.EISDIR)
	_, err = root.Create(ctx, "l", New{Kind: merge.KindSymlink})
	fails(t, err, syscall.ENOENT)
	_, err = root.Create(ctx, "l", New{Kind: merge.KindSymlink, Target: strings.Repeat("t", 4096)})
	fails(t, err, syscall.ENAMETOOLONG)
	h := must[*Handle](t)(f.Open(ctx, false))
	_, err = h.WriteAt(ctx, []byte("x"), 0)
	fails(t, err, syscall.EBADF)
	ok(t, h.Close())
}

func TestKinds(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	root := v.Root()
	target := strings.Repeat("t", 4095)
	must[*Node](t)(root.Create(ctx, "link", New{Kind: merge.KindSymlink, Mode: 0o777, Target: target}))
	must[*Node](t)(root.Create(ctx, "fifo", New{Kind: merge.KindFifo, Mode: 0o600}))
	must[*Node](t)(root.Create(ctx, "sock", New{Kind: merge.KindSocket, Mode: 0o600}))
	must[*Node](t)(root.Create(ctx, "dev", New{Kind: merge.KindDevice, Mode: 0o660, UID: 3, Rdev: 0x801, Block: true}))
	ok(t, v.Close())
	root = d.open().Root()
	link := must[*Node](t)(root.Lookup(ctx, "link"))
	if must[string](t)(link.Readlink()) != target || attr(t, link).Size != 4095 {
		t.Fatal("link")
	}
	list := must[[]DirEntry](t)(root.List(ctx))
	if len(list) != 4 || list[0].Kind != merge.KindDevice || !list[0].Block || list[1].Kind != merge.KindFifo || list[3].Kind != merge.KindSocket {
		t.Fatalf("%+v", list)
	}
	dev := attr(t, must[*Node](t)(root.Lookup(ctx, "dev")))
	if dev.Rdev != 0x801 || !dev.Block || dev.UID != 3 || dev.Mode != 0o660 {
		t.Fatalf("%+v", dev)
	}
	ok(t, root.Rename(ctx, "dev", root, "dev2"))
	if dev := attr(t, must[*Node](t)(root.Lookup(ctx, "dev2"))); dev.Rdev != 0x801 || dev.UID != 3 {
		t.Fatalf("%+v", dev)
	}
	ok(t, root.Unlink(ctx, "dev2"))
}

// TestTimes checks which times an operation sets.
func TestTimes(t *testing.T) {
	root := testVolume(t).Root()
	dir := mkdir(t, root, "d")
	f := writeFile(t, dir, "f", "x")
	type changes struct{ dirM, dirC, fileM, fileC bool }
	step := func(what string, want changes, op func() error) {
		t.Helper()
		d0, f0 := attr(t, dir), attr(t, f)
		dv, fv := dir.Version(), f.Version()
		ok(t, op())
		d1, f1 := attr(t, dir), attr(t, f)
		got := changes{d1.MTime > d0.MTime, d1.CTime > d0.CTime, f1.MTime > f0.MTime, f1.CTime > f0.CTime}
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		if (dir.Version() != dv) != (want.dirC || want.dirM) || (f.Version() != fv) != (want.fileC || want.fileM) {
			t.Errorf("%s: versions %v %v", what, dir.Version() != dv, f.Version() != fv)
		}
		if f1.ATime != f0.ATime || f1.BTime != f0.BTime {
			t.Errorf("%s: other times", what)
		}
	}
	h := must[*Handle](t)(f.Open(ctx, true))
	mode, size := uint32(0o600), int64(0)
	step("write", changes{fileM: true, fileC: true}, func() error { _, err := h.WriteAt(ctx, []byte("y"), 0); return err })
	step("read", changes{}, func() error { _, err := h.ReadAt(ctx, make([]byte, 1), 0); return err })
	step("chmod", changes{fileC: true}, func() error { return f.SetAttr(ctx, SetAttr{Mode: &mode}) })
	step("xattr", changes{fileC: true}, func() error { return f.SetXattr(ctx, "user.x", nil, 0) })
	step("truncate", changes{fileM: true, fileC: true}, func() error { return f.SetAttr(ctx, SetAttr{Size: &size}) })
	step("create", changes{dirM: true, dirC: true}, func() error { writeFile(t, dir, "g", ""); return nil })
	step("mkdir", changes{dirM: true, dirC: true}, func() error { mkdir(t, dir, "sub"); return nil })
	step("rename", changes{dirM: true, dirC: true, fileC: true}, func() error { return dir.Rename(ctx, "f", dir, "f2") })
	step("unlink another", changes{dirM: true, dirC: true}, func() error { return dir.Unlink(ctx, "g") })
	step("unlink", changes{dirM: true, dirC: true, fileC: true}, func() error { f.Ref(); return dir.Unlink(ctx, "f2") })
	ok(t, h.Close())
	f.Unref()
	when := int64(1234567890123456789)
	ok(t, dir.SetAttr(ctx, SetAttr{MTime: &when, ATime: &when}))
	if a := attr(t, dir); a.MTime != when || a.ATime != when {
		t.Fatalf("%+v", a)
	}
}

// TestTimesDurable checks that times and settings outlive the memory of them.
func TestTimesDurable(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	dir := mkdir(t, v.Root(), "d")
	f := writeFile(t, dir, "f", "x")
	mode, uid, when := uint32(0o6751), uint32(77), int64(1234567890123456789)
	ok(t, f.SetAttr(ctx, SetAttr{UID: &uid}))
	ok(t, f.SetAttr(ctx, SetAttr{Mode: &mode, MTime: &when}))
	ok(t, f.SetXattr(ctx, "user.a", []byte("b"), 0))
	ok(t, dir.SetAttr(ctx, SetAttr{ATime: &when, MTime: &when}))
	ok(t, v.Root().SetAttr(ctx, SetAttr{Mode: &mode, UID: &uid}))
	want := []Attr{attr(t, v.Root()), attr(t, dir), attr(t, f)}
	ok(t, v.Close())
	v = d.open()
	dir = must[*Node](t)(v.Root().Lookup(ctx, "d"))
	f = must[*Node](t)(dir.Lookup(ctx, "f"))
	for i, n := range []*Node{v.Root(), dir, f} {
		if got := attr(t, n); got != want[i] {
			t.Errorf("%+v, want %+v", got, want[i])
		}
	}
	if got := must[[]byte](t)(f.GetXattr("user.a")); string(got) != "b" {
		t.Fatal(got)
	}
}

func TestSetID(t *testing.T) {
	root := testVolume(t).Root()
	f := writeFile(t, root, "f", "x")
	chmod := func(mode uint32) { ok(t, f.SetAttr(ctx, SetAttr{Mode: &mode})) }
	expect := func(what string, mode uint32) {
		t.Helper()
		if got := attr(t, f).Mode; got != mode {
			t.Errorf("%s: mode %o, want %o", what, got, mode)
		}
	}
	chmod(0o6755)
	expect("chmod", 0o6755)
	writeFile(t, root, "f", "y")
	expect("write", 0o755)
	chmod(0o2644)
	writeFile(t, root, "f", "y")
	expect("write without group execution", 0o2644)
	chmod(0o7777)
	uid := uint32(5)
	ok(t, f.SetAttr(ctx, SetAttr{UID: &uid}))
	expect("chown", 0o1777)
}

func TestXattrs(t *testing.T) {
	root := testVolume(t).Root()
	f := writeFile(t, root, "f", "x")
	_, err := f.GetXattr("user.a")
	fails(t, err, syscall.ENODATA)
	fails(t, f.RemoveXattr(ctx, "user.a"), syscall.ENODATA)
	fails(t, f.SetXattr(ctx, "user.a", nil, XattrReplace), syscall.ENODATA)
	ok(t, f.SetXattr(ctx, "user.a", []byte("1"), XattrCreate))
	fails(t, f.SetXattr(ctx, "user.a", nil, XattrCreate), syscall.EEXIST)
	ok(t, f.SetXattr(ctx, "user.a", []byte("2"), XattrReplace))
	ok(t, f.SetXattr(ctx, "user.b", nil, 0))
	fails(t, f.SetXattr(ctx, "security.x", nil, 0), syscall.EOPNOTSUPP)
	fails(t, f.SetXattr(ctx, "user."+strings.Repeat("n", 251), nil, 0), syscall.ERANGE)
	ok(t, f.SetXattr(ctx, "user."+strings.Repeat("n", 250), nil, 0))
	fails(t, f.SetXattr(ctx, "user.c", make([]byte, 64<<10+1), 0), syscall.E2BIG)
	if got := must[[]string](t)(f.ListXattr()); len(got) != 3 || got[0] != "user.a" {
		t.Fatal(got)
	}
	var last error
	for i := range 20 {
		last = f.SetXattr(ctx, "user.big"+string(rune('a'+i)), make([]byte, 64<<10), 0)
	}
	fails(t, last, syscall.ENOSPC)
	ok(t, f.RemoveXattr(ctx, "user.a"))
	_, err = f.GetXattr("user.a")
	fails(t, err, syscall.ENODATA)
	ok(t, root.SetXattr(ctx, "user.root", []byte("r"), 0))
}

func TestUnlinkedOpen(t *testing.T) {
	v := testVolume(t)
	root := v.Root()
	f := writeFile(t, root, "f", "before")
	h := must[*Handle](t)(f.Open(ctx, true))
	ok(t, root.Unlink(ctx, "f"))
	must[int](t)(h.WriteAt(ctx, []byte("after"), 0))
	ok(t, v.Sync(ctx))
	if got := readHandle(t, h); got != "aftere" {
		t.Fatal(got)
	}
	size := int64(2)
	ok(t, f.SetAttr(ctx, SetAttr{Size: &size}))
	mode := uint32(0o600)
	ok(t, f.SetAttr(ctx, SetAttr{Mode: &mode}))
	ok(t, f.SetXattr(ctx, "user.x", nil, 0))
	if a := attr(t, f); a.NLink != 0 || a.Size != 2 || a.Mode != 0o600 {
		t.Fatalf("%+v", a)
	}
	writeFile(t, root, "f", "another")
	if got := readHandle(t, h); got != "af" {
		t.Fatal(got)
	}
	h2 := must[*Handle](t)(f.Open(ctx, false))
	ok(t, h.Close())
	if got := readHandle(t, h2); got != "af" {
		t.Fatal(got)
	}
	ok(t, h2.Close())
	_, err := f.Attr()
	fails(t, err, syscall.ESTALE)
	_, err = v.Node(f.Ino())
	fails(t, err, syscall.ESTALE)
}

func TestUnlinkedRef(t *testing.T) {
	v := testVolume(t)
	root := v.Root()
	for _, synced := range []bool{false, true} {
		f := writeFile(t, root, "f", "bytes")
		f.Ref()
		if synced {
			ok(t, v.Sync(ctx))
		}
		writeFile(t, root, "g", "others")
		ok(t, root.Rename(ctx, "g", root, "f"))
		ok(t, v.Sync(ctx))
		if got := readNode(t, f); got != "bytes" {
			t.Fatal(got)
		}
		writeFile(t, root, "f", "others again")
		if got := readNode(t, must[*Node](t)(v.Node(f.Ino()))); got != "bytes" {
			t.Fatal(got)
		}
		f.Unref()
		_, err := f.Open(ctx, false)
		fails(t, err, syscall.ESTALE)
	}
}

func TestRemovedDir(t *testing.T) {
	v := testVolume(t)
	root := v.Root()
	d := mkdir(t, root, "d")
	d.Ref()
	writeFile(t, d, "f", "")
	ok(t, d.Unlink(ctx, "f"))
	ok(t, root.Rmdir(ctx, "d"))
	mkdir(t, mkdir(t, root, "d"), "new")
	if got := names(t, d); got != "" {
		t.Fatal(got)
	}
	_, err := d.Lookup(ctx, "new")
	fails(t, err, syscall.ENOENT)
	_, err = d.Create(ctx, "x", New{Kind: merge.KindFile})
	fails(t, err, syscall.ENOENT)
	if a := attr(t, d); a.NLink != 0 {
		t.Fatalf("%+v", a)
	}
	if d.Parent().Ino() != root.Ino() {
		t.Fatal("parent")
	}
	d.Unref()
}

// TestRenameDirOpen moves a tree in which files and directories are in use.
func TestRenameDirOpen(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	root := v.Root()
	a := mkdir(t, root, "a")
	b := mkdir(t, a, "b")
	f := writeFile(t, b, "f", "one")
	h := must[*Handle](t)(f.Open(ctx, true))
	for _, synced := range []bool{false, true} {
		must[int](t)(h.WriteAt(ctx, []byte("two"), 0))
		if synced {
			ok(t, v.Sync(ctx))
		}
		ok(t, root.Rename(ctx, "a", root, "c"))
		must2(t)(h.Append(ctx, []byte("+")))
		writeFile(t, b, "g", "new")
		if f.Path() != "c/b/f" || b.Path() != "c/b" || names(t, b) != "f g " || b.Parent().Ino() != a.Ino() {
			t.Fatal(f.Path(), b.Path(), names(t, b))
		}
		mkdir(t, root, "a")
		ok(t, root.Rename(ctx, "c", root, "a"))
		ok(t, v.Sync(ctx))
	}
	ok(t, h.Close())
	ok(t, v.Close())
	v = d.open()
	n := must[*Node](t)(v.Node(f.Ino()))
	if n.Path() != "a/b/f" || readNode(t, n) != "two++" || names(t, v.Root()) != "a " {
		t.Fatal(n.Path(), readNode(t, n), names(t, v.Root()))
	}
}

func TestSparse(t *testing.T) {
	v := testVolume(t)
	f := must[*Node](t)(v.Root().Create(ctx, "f", New{Kind: merge.KindFile}))
	h := must[*Handle](t)(f.Open(ctx, true))
	const end = 16 << 40
	must[int](t)(h.WriteAt(ctx, []byte("end"), end-3))
	ok(t, h.Sync(ctx))
	if a := attr(t, f); a.Size != end || a.Blocks > 1000 {
		t.Fatalf("%+v", a)
	}
	p := make([]byte, 5)
	if n := must[int](t)(h.ReadAt(ctx, p, end-4)); n != 4 || !bytes.Equal(p[:4], []byte("\x00end")) {
		t.Fatal(n, p)
	}
	ok(t, h.Close())
}

func TestAppendTogether(t *testing.T) {
	f := writeFile(t, testVolume(t).Root(), "f", "")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			h := must[*Handle](t)(f.Open(ctx, true))
			defer h.Close()
			for range 50 {
				must2(t)(h.Append(ctx, []byte(strings.Repeat(string(rune('a'+i)), 10))))
			}
		})
	}
	wg.Wait()
	got := readNode(t, f)
	for i := 0; i < len(got); i += 10 {
		if got[i:i+10] != strings.Repeat(got[i:i+1], 10) {
			t.Fatal("appends are mixed")
		}
	}
	if len(got) != 4000 {
		t.Fatal(len(got))
	}
}

func must2(tb testing.TB) func(int64, int, error) {
	return func(_ int64, _ int, err error) {
		tb.Helper()
		if err != nil {
			tb.Error(err)
		}
	}
}

func TestLinks(t *testing.T) {
	root := testVolume(t).Root()
	mkdir(t, mkdir(t, root, "a"), "b")
	writeFile(t, root, "f", "")
	if a := attr(t, root); a.NLink != 3 {
		t.Fatal(a.NLink)
	}
	ok(t, must[*Node](t)(root.Lookup(ctx, "a")).Rename(ctx, "b", root, "b"))
	if a := attr(t, root); a.NLink != 4 {
		t.Fatal(a.NLink)
	}
}
