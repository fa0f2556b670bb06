package vol

import (
	"syscall"
	"testing"

	"bazil/merge"
)

// pair are two replicas of a volume that has one file, f.
func pair(t *testing.T) (a, b *Volume) {
	vs := replicas(t, 2)
	a, b = vs[0], vs[1]
	writeFile(t, a.Root(), "f", "base")
	pull(t, b, a, -1)
	return a, b
}

func openFile(tb testing.TB, v *Volume, name string, write bool) *Handle {
	tb.Helper()
	return must[*Handle](tb)(must[*Node](tb)(v.Root().Lookup(ctx, name)).Open(ctx, write))
}

func conflicts(tb testing.TB, v *Volume) int {
	tb.Helper()
	return len(must[[]Conflict](tb)(v.Conflicts(ctx)))
}

func TestReaderKeepsVersion(t *testing.T) {
	a, b := pair(t)
	h := openFile(t, b, "f", false)
	opened := must[*Node](t)(b.Root().Lookup(ctx, "f")).Version()
	writeFile(t, a.Root(), "f", "newer")
	pull(t, b, a, -1)
	if got := readHandle(t, h); got != "base" {
		t.Fatal(got)
	}
	if now := must[*Node](t)(b.Root().Lookup(ctx, "f")).Version(); h.Version() != opened || now == opened {
		t.Fatalf("version %d of a handle that opened %d, now %d", h.Version(), opened, now)
	}
	if got := readFile(t, b.Root(), "f"); got != "newer" {
		t.Fatal(got)
	}
	if got := must[*Node](t)(b.Root().Lookup(ctx, "f")); attr(t, got).Size != 5 {
		t.Fatal("size")
	}
	ok(t, h.Close())
}

// TestWriterOfNothing: what came in shows when a writer closes who wrote
// nothing.
func TestWriterOfNothing(t *testing.T) {
	a, b := pair(t)
	h := openFile(t, b, "f", true)
	writeFile(t, a.Root(), "f", "newer")
	pull(t, b, a, -1)
	if got := readFile(t, b.Root(), "f"); got != "base" {
		t.Fatal(got)
	}
	f := must[*Node](t)(b.Root().Lookup(ctx, "f"))
	ok(t, h.Close())
	if got := readFile(t, b.Root(), "f"); got != "newer" {
		t.Fatal(got)
	}
	if again := must[*Node](t)(b.Root().Lookup(ctx, "f")); again.Ino() != f.Ino() || conflicts(t, b) != 0 {
		t.Fatal("another file, or a conflict")
	}
}

// TestWriterSupersedesWhatItSaw: a writer who did not see what came in makes
// a conflict with it.
func TestWriterSupersedesWhatItSaw(t *testing.T) {
	for _, when := range []string{"before", "after", "both"} {
		t.Run(when, func(t *testing.T) {
			a, b := pair(t)
			h := openFile(t, b, "f", true)
			if when != "after" {
				must[int](t)(h.WriteAt(ctx, []byte("mine"), 0))
				ok(t, h.Sync(ctx))
			}
			writeFile(t, a.Root(), "f", "theirs")
			pull(t, b, a, -1)
			if when != "before" {
				must[int](t)(h.WriteAt(ctx, []byte("mine"), 0))
			}
			if got := readFile(t, b.Root(), "f"); got != "mine" {
				t.Fatal(got)
			}
			ok(t, h.Close())
			if got := readFile(t, b.Root(), "f"); got != "mine" || conflicts(t, b) != 1 {
				t.Fatal(got)
			}
			pull(t, a, b, -1)
			if got := readFile(t, a.Root(), "f"); got != "theirs" || conflicts(t, a) != 1 {
				t.Fatal(got)
			}
		})
	}
}

// TestRemovedUnderWriter: a file that a peer removed stays for its writer, and
// for all if that writes.
func TestRemovedUnderWriter(t *testing.T) {
	a, b := pair(t)
	h := openFile(t, b, "f", true)
	mode := uint32(0o640)
	ok(t, must[*Node](t)(b.Root().Lookup(ctx, "f")).SetAttr(ctx, SetAttr{Mode: &mode}))
	ok(t, a.Root().Unlink(ctx, "f"))
	pull(t, b, a, -1)
	if names(t, b.Root()) != "f " {
		t.Fatal("gone under its writer")
	}
	ok(t, h.Close())
	if names(t, b.Root()) != "" {
		t.Fatal("still there")
	}
	writeFile(t, a.Root(), "g", "base")
	pull(t, b, a, -1)
	h = openFile(t, b, "g", true)
	ok(t, must[*Node](t)(b.Root().Lookup(ctx, "g")).SetAttr(ctx, SetAttr{Mode: &mode}))
	ok(t, a.Root().Unlink(ctx, "g"))
	pull(t, b, a, -1)
	must[int](t)(h.WriteAt(ctx, []byte("kept"), 0))
	ok(t, h.Close())
	pull(t, a, b, -1)
	if readFile(t, a.Root(), "g") != "kept" {
		t.Fatal("lost")
	}
	if got := attr(t, must[*Node](t)(a.Root().Lookup(ctx, "g"))); got.Mode != mode {
		t.Fatalf("%o", got.Mode)
	}
}

// TestUnlinkedWhilePinned: what came in beside a file that is then unlinked
// takes its place.
func TestUnlinkedWhilePinned(t *testing.T) {
	a, b := pair(t)
	h := openFile(t, b, "f", true)
	writeFile(t, a.Root(), "f", "newer")
	pull(t, b, a, -1)
	ok(t, b.Root().Unlink(ctx, "f"))
	if got := readFile(t, b.Root(), "f"); got != "newer" {
		t.Fatal(got)
	}
	must[int](t)(h.WriteAt(ctx, []byte("gone"), 0))
	ok(t, h.Close())
	pull(t, a, b, -1)
	if got := readFile(t, a.Root(), "f"); got != "newer" || conflicts(t, a) != 0 {
		t.Fatal(got)
	}
}

// TestDirectoryOverFile: a directory keeps the name, the file is a sibling.
func TestDirectoryOverFile(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	f := writeFile(t, a.Root(), "x", "file")
	writeFile(t, mkdir(t, b.Root(), "x"), "in", "inside")
	pull(t, a, b, -1)
	x := must[*Node](t)(a.Root().Lookup(ctx, "x"))
	if x.Kind() != merge.KindDir || x.Ino() == f.Ino() || readFile(t, x, "in") != "inside" || conflicts(t, a) != 1 {
		t.Fatal(x.Kind())
	}
	ok(t, x.Unlink(ctx, "in"))
	ok(t, a.Root().Rmdir(ctx, "x"))
	if readFile(t, a.Root(), "x") != "file" || conflicts(t, a) != 0 {
		t.Fatal("the file was lost")
	}
	pull(t, b, a, -1)
	if readFile(t, b.Root(), "x") != "file" {
		t.Fatal("the file was lost there")
	}
}

// TestImpliedDirectory: a directory that one side removed exists as long as
// what the other side put in it.
func TestImpliedDirectory(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	mkdir(t, a.Root(), "d")
	pull(t, b, a, -1)
	ok(t, a.Root().Rmdir(ctx, "d"))
	d := must[*Node](t)(b.Root().Lookup(ctx, "d"))
	writeFile(t, d, "f", "x")
	pull(t, b, a, -1)
	pull(t, a, b, -1)
	for _, v := range vs {
		n := must[*Node](t)(v.Root().Lookup(ctx, "d"))
		if attr(t, n).Mode != 0o755 || readFile(t, n, "f") != "x" {
			t.Fatal("not implied")
		}
	}
	ok(t, d.Unlink(ctx, "f"))
	if names(t, b.Root()) != "" {
		t.Fatal("an implied directory stays without what it is for")
	}
	pull(t, a, b, -1)
	if names(t, a.Root()) != "" {
		t.Fatal("an implied directory stays without what it is for")
	}
	_, err := d.Create(ctx, "g", New{Kind: merge.KindFile})
	fails(t, err, syscall.ESTALE)
}

// TestDevicesStay: device nodes are nobody else's, and come to no harm.
func TestDevicesStay(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	must[*Node](t)(a.Root().Create(ctx, "dev", New{Kind: merge.KindDevice, Rdev: 5}))
	writeFile(t, a.Root(), "f", "x")
	pull(t, b, a, -1)
	if names(t, b.Root()) != "f " {
		t.Fatal(names(t, b.Root()))
	}
	writeFile(t, b.Root(), "dev", "file")
	pull(t, a, b, -1)
	if n := must[*Node](t)(a.Root().Lookup(ctx, "dev")); n.Kind() != merge.KindDevice || conflicts(t, a) != 1 {
		t.Fatal(n.Kind())
	}
	ok(t, a.Root().Unlink(ctx, "dev"))
	if readFile(t, a.Root(), "dev") != "file" {
		t.Fatal("the file was lost")
	}
}

// TestRootSettings: the root's mode and owner travel, the first ones do not.
func TestRootSettings(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	mode := uint32(0o700)
	ok(t, a.Root().SetAttr(ctx, SetAttr{Mode: &mode}))
	pull(t, b, a, -1)
	pull(t, a, b, -1)
	if attr(t, a.Root()).Mode != 0o700 || attr(t, b.Root()).Mode != 0o700 {
		t.Fatal("mode of the root")
	}
}

// TestRestoredCopy: a copy of a volume's file is another replica.
func TestRestoredCopy(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	writeFile(t, a.Root(), "f", "x")
	pull(t, b, a, -1)
	was := a.Replica()
	a.mu.Lock()
	a.state.n -= min(a.state.n, 1) // as if an older copy had been put back in place
	a.mu.Unlock()
	writeFile(t, b.Root(), "g", "y")
	pull(t, a, b, -1)
	if a.Replica() == was {
		t.Fatal("goes on under a spent ID")
	}
	writeFile(t, a.Root(), "f", "z")
	pull(t, b, a, -1)
	if readFile(t, b.Root(), "f") != "z" || conflicts(t, b) != 0 {
		t.Fatal("change of the new replica")
	}
}

// TestVersionAfterCrash: what a name shows when it is opened again, because a
// writer whom it had waited for went with the server, has another version
// than what that writer had.
func TestVersionAfterCrash(t *testing.T) {
	chunks, sealer := testStore(t)
	id := NewID()
	a, d := newDiskOn(t, chunks, sealer, id).open(), newDiskOn(t, chunks, sealer, id)
	writeFile(t, a.Root(), "f", "base")
	b := d.open()
	pull(t, b, a, -1)
	openFile(t, b, "f", true)
	before := must[*Node](t)(b.Root().Lookup(ctx, "f")).Version()
	writeFile(t, a.Root(), "f", "theirs")
	pull(t, b, a, -1)
	if got := readFile(t, b.Root(), "f"); got != "base" {
		t.Fatal(got)
	}
	ok(t, b.Close())
	b = d.open()
	if got := readFile(t, b.Root(), "f"); got != "theirs" {
		t.Fatal(got)
	}
	if must[*Node](t)(b.Root().Lookup(ctx, "f")).Version() == before {
		t.Fatal("the same version, though the bytes are others")
	}
}

// TestMoveOverHeldDirectory: a peer made a directory of f while a writer had it
// open, and a file is put over f here. The name shows the directory as soon as
// nobody writes to that file, which is a version beside it.
func TestMoveOverHeldDirectory(t *testing.T) {
	for _, writing := range []bool{false, true} {
		a, b := pair(t)
		ok(t, a.Root().Unlink(ctx, "f"))
		writeFile(t, mkdir(t, a.Root(), "f"), "x", "x")
		h := openFile(t, b, "f", true)
		pull(t, b, a, -1)
		writeFile(t, b.Root(), "g", "moved")
		ok(t, b.Sync(ctx))
		var g *Handle
		if writing {
			g = openFile(t, b, "g", true)
		}
		ok(t, b.Root().Rename(ctx, "g", b.Root(), "f"))
		ok(t, h.Close())
		if writing {
			if got := readFile(t, b.Root(), "f"); got != "moved" {
				t.Fatal(got)
			}
			_, err := g.WriteAt(ctx, []byte("MOVED"), 0)
			ok(t, err)
			ok(t, g.Close())
			ok(t, b.Sync(ctx))
		}
		f := must[*Node](t)(b.Root().Lookup(ctx, "f"))
		if f.Kind() != merge.KindDir {
			t.Fatalf("writing %v: f is a %v", writing, f.Kind())
		}
		if got := readFile(t, f, "x"); got != "x" {
			t.Fatal(got)
		}
		if n := conflicts(t, b); n != 1 {
			t.Fatalf("%d conflicts", n)
		}
		pull(t, a, b, -1)
		if n := conflicts(t, a); n != 1 {
			t.Fatalf("%d conflicts at the other", n)
		}
	}
}

// TestRestoreOverHeldDirectory is the same of a file that is restored.
func TestRestoreOverHeldDirectory(t *testing.T) {
	a, b := pair(t)
	must[SnapshotInfo](t)(b.Snapshot(ctx, "s"))
	ok(t, a.Root().Unlink(ctx, "f"))
	writeFile(t, mkdir(t, a.Root(), "f"), "x", "x")
	h := openFile(t, b, "f", true)
	pull(t, b, a, -1)
	s := must[*SnapNode](t)(must[*SnapNode](t)(b.OpenSnapshot(ctx, "s")).Find(ctx, "f"))
	must[RestoreResult](t)(b.Restore(ctx, b.Root(), "f", s, RestoreOptions{}))
	ok(t, h.Close())
	if got := readFile(t, must[*Node](t)(b.Root().Lookup(ctx, "f")), "x"); got != "x" {
		t.Fatal(got)
	}
	if n := conflicts(t, b); n != 1 {
		t.Fatalf("%d conflicts", n)
	}
}

// TestRmdirUnderWriter: a directory is not empty as long as a listing shows a name,
// though a peer has removed the file and only its writer keeps it.
func TestRmdirUnderWriter(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	d := must[*Node](t)(a.Root().Create(ctx, "d", New{Kind: merge.KindDir, Mode: 0o755}))
	writeFile(t, d, "f", "base")
	must[*Node](t)(a.Root().Create(ctx, "other", New{Kind: merge.KindDir, Mode: 0o755}))
	pull(t, b, a, -1)
	here := must[*Node](t)(b.Root().Lookup(ctx, "d"))
	h := must[*Handle](t)(must[*Node](t)(here.Lookup(ctx, "f")).Open(ctx, true))
	ok(t, d.Unlink(ctx, "f"))
	pull(t, b, a, -1)
	if names(t, here) != "f " {
		t.Fatal("gone under its writer")
	}
	fails(t, b.Root().Rmdir(ctx, "d"), syscall.ENOTEMPTY)
	fails(t, b.Root().RemoveNode(ctx, here), syscall.ENOTEMPTY)
	fails(t, b.Root().Rename(ctx, "other", b.Root(), "d"), syscall.ENOTEMPTY)
	must[int](t)(h.WriteAt(ctx, []byte("kept"), 0))
	ok(t, h.Close())
	if got := readFile(t, here, "f"); got != "kept" {
		t.Fatal(got)
	}
	// And the other way: unlinked, or given up by its writer, it is in nobody's way.
	for _, unlink := range []bool{true, false} {
		pull(t, a, b, -1)
		h = must[*Handle](t)(must[*Node](t)(here.Lookup(ctx, "f")).Open(ctx, true))
		ok(t, must[*Node](t)(a.Root().Lookup(ctx, "d")).Unlink(ctx, "f"))
		pull(t, b, a, -1)
		if unlink {
			ok(t, here.Unlink(ctx, "f"))
		} else {
			ok(t, h.Close())
		}
		ok(t, b.Root().Rmdir(ctx, "d"))
		ok(t, h.Close())
		here = must[*Node](t)(b.Root().Create(ctx, "d", New{Kind: merge.KindDir, Mode: 0o755}))
		writeFile(t, here, "f", "again")
	}
}
