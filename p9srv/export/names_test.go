package export

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv"
)

// TestNamesOfAnyBytes makes names of 255 bytes out of all but slash and NUL.
func TestNamesOfAnyBytes(t *testing.T) {
	_, _, root := volumeRoot(t)
	all := []string{".", ".."}
	for first := range 256 {
		b := make([]byte, 255)
		for i := range b {
			b[i] = byte(first + i)
			if b[i] == 0 || b[i] == '/' {
				b[i] = 'x'
			}
		}
		if name := string(b); !slices.Contains(all, name) {
			create(t, root, name, name, 0o644).Clunk(t.Context())
			all = append(all, name)
		}
	}
	for _, name := range all[2:] {
		if got := readOpen(t, open(t, root, syscall.O_RDONLY, name)); got != name {
			t.Errorf("%q has %q", name, got)
		}
	}
	got := listed(t, root, 8192, nil)
	slices.Sort(got)
	slices.Sort(all)
	if !slices.Equal(got, all) {
		t.Errorf("%d names are listed, %d are there", len(got), len(all))
	}
	long := strings.Repeat("n", 256)
	_, err := root.Mkdir(t.Context(), long, 0o755, 0)
	want(t, "mkdir of 256 bytes", err, syscall.ENAMETOOLONG)
	_, err = root.Walk(t.Context(), long)
	want(t, "walk to 256 bytes", err, syscall.ENAMETOOLONG)
	for _, bad := range []string{"", ".", "..", "a/b", "a\x00b"} {
		if _, err := root.Mkdir(t.Context(), bad, 0o755, 0); err == nil {
			t.Errorf("made a directory %q", bad)
		}
	}
}

// TestLargeDirectory reads 100,000 names in small pieces while some of them go
// and others come: those that stay are seen exactly once.
func TestLargeDirectory(t *testing.T) {
	const n, changes = 100_000, 5_000
	m, _, root := volumeRoot(t)
	dir := m.volume().Root()
	old := func(i int) string { return fmt.Sprintf("old-%06d", i*7919%n) }
	fill(t, dir, n, old)
	gone := 0
	seen := make(map[string]int)
	for _, name := range listed(t, root, 16<<10, func(int) {
		for range 50 {
			if gone < changes {
				must(t, dir.Unlink(t.Context(), old(2*gone)))
				fill(t, dir, 1, func(int) string { return fmt.Sprintf("new-%06d", gone) })
				gone++
			}
		}
	}) {
		seen[name]++
	}
	if gone != changes {
		t.Fatalf("only %d names went while reading", gone)
	}
	for i := range n {
		if name := old(i); seen[name] != 1 && !(i%2 == 0 && i < 2*changes) {
			t.Fatalf("%s was seen %d times", name, seen[name])
		}
	}
	for name, times := range seen {
		if times != 1 {
			t.Fatalf("%s was seen %d times", name, times)
		}
	}
	if got := listed(t, root, 1<<20, nil); len(got) != n+2 {
		t.Errorf("%d names afterwards", len(got))
	}
}

// TestCookies goes back to where a read was, by its cookie.
func TestCookies(t *testing.T) {
	m, _, root := volumeRoot(t)
	fill(t, m.volume().Root(), 1000, func(i int) string { return fmt.Sprint("f", i) })
	d := open(t, root, syscall.O_RDONLY)
	first, err := d.ReadDir(t.Context(), 0, 4096)
	must(t, err)
	cookie := first[len(first)-1].Offset
	second, err := d.ReadDir(t.Context(), cookie, 4096)
	must(t, err)
	must(t, root.UnlinkAt(t.Context(), second[0].Name, 0))
	again, err := d.ReadDir(t.Context(), cookie, 4096)
	must(t, err)
	if !slices.EqualFunc(second, again, func(a, b p9srv.Dirent) bool { return a.Name == b.Name && a.Offset == b.Offset }) {
		t.Error("the cookie leads elsewhere")
	}
	anew, err := d.ReadDir(t.Context(), 0, 1<<20)
	must(t, err)
	if len(anew) != 1001 {
		t.Errorf("rewound, %d names are left", len(anew))
	}
	if end, err := d.ReadDir(t.Context(), 1<<62, 4096); err != nil || len(end) != 0 {
		t.Errorf("behind the end: %d, %v", len(end), err)
	}
}

func TestRename(t *testing.T) {
	ctx := t.Context()
	_, _, root := volumeRoot(t)
	a, b := mkdir(t, root, "a", 0o755), mkdir(t, root, "b", 0o755)
	moved := create(t, a, "f", "one", 0o644)
	qid := moved.QID().Path
	over := create(t, b, "g", "old", 0o644)
	must(t, a.RenameAt(ctx, "f", b, "g"))
	_, err := moved.WriteAt(ctx, []byte("ONE"), 0)
	must(t, err)
	if got := readOpen(t, open(t, root, syscall.O_RDONLY, "b", "g")); got != "ONE" {
		t.Errorf("renamed while open, then written: %q", got)
	}
	if got := readOpen(t, over); got != "old" || attr(t, over).NLink != 0 {
		t.Errorf("the file that was replaced has %q", got)
	}
	if walk(t, b, "g").QID().Path != qid {
		t.Error("a rename changes the file's number")
	}
	must(t, b.RenameAt(ctx, "g", b, "g"))
	inner := create(t, mkdir(t, a, "sub", 0o755), "h", "in", 0o644)
	must(t, root.RenameAt(ctx, "a", b, "moved"))
	must(t, inner.Fsync(ctx, false))
	if got := readOpen(t, open(t, root, syscall.O_RDONLY, "b", "moved", "sub", "h")); got != "in" {
		t.Errorf("in a renamed directory: %q", got)
	}
	create(t, a, "late", "", 0o644) // a fid of the directory that was renamed
	walk(t, root, "b", "moved", "late")
	mkdir(t, root, "empty", 0o755)
	create(t, root, "file", "", 0o644)
	for _, c := range []struct {
		old, new string
		err      syscall.Errno
	}{
		{old: "b", new: "b", err: 0},
		{old: "none", new: "x", err: syscall.ENOENT},
		{old: "empty", new: "b", err: syscall.ENOTEMPTY},
		{old: "file", new: "empty", err: syscall.EISDIR},
		{old: "empty", new: "file", err: syscall.ENOTDIR},
		{old: "file", new: "..", err: syscall.EINVAL},
		{old: "file", new: strings.Repeat("x", 256), err: syscall.ENAMETOOLONG},
	} {
		if err := root.RenameAt(ctx, c.old, root, c.new); err != nil && err != c.err || err == nil && c.err != 0 {
			t.Errorf("rename %s to %.10s: %v, want %v", c.old, c.new, err, c.err)
		}
	}
	want(t, "a directory into itself", root.RenameAt(ctx, "b", walk(t, b, "moved"), "x"), syscall.EINVAL)
	mkdir(t, root, "other", 0o755)
	must(t, root.RenameAt(ctx, "other", root, "empty"))
}

// TestUnlinkedFile goes on with a file whose name is gone.
func TestUnlinkedFile(t *testing.T) {
	ctx := t.Context()
	m, sock, first := volumeRoot(t)
	c := connect(t, sock)
	root, err := c.Attach(ctx, "", "", 0)
	must(t, err)
	must(t, first.Clunk(ctx))
	f := create(t, root, "f", "text", 0o644)
	must(t, root.UnlinkAt(ctx, "f", 0))
	create(t, root, "f", "another", 0o644)
	_, err = f.WriteAt(ctx, []byte(" and more"), 4)
	must(t, err)
	must(t, f.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize | p9srv.SetMode, Size: 8, Mode: 0o600}))
	must(t, f.SetXattr(ctx, "user.x", []byte("v"), 0))
	must(t, f.Fsync(ctx, false))
	g := walk(t, f)
	must(t, g.Open(ctx, syscall.O_RDONLY))
	if got := readOpen(t, g); got != "text and" {
		t.Errorf("it has %q", got)
	}
	if a := attr(t, f); a.NLink != 0 || a.Mode&0o777 != 0o600 || a.Size != 8 {
		t.Errorf("it is %+v", a)
	}
	if v, err := walk(t, f).GetXattr(ctx, "user.x"); err != nil || string(v) != "v" {
		t.Errorf("its attribute: %q, %v", v, err)
	}
	if err := walk(t, f).Remove(ctx); err == nil {
		t.Error("it was removed once more")
	}
	if got := readOpen(t, open(t, root, syscall.O_RDONLY, "f")); got != "another" {
		t.Errorf("the new file of its name has %q", got)
	}
	d := mkdir(t, root, "d", 0o755)
	must(t, root.UnlinkAt(ctx, "d", 0x200))
	_, err = d.Mkdir(ctx, "x", 0o755, 0)
	want(t, "mkdir in a directory that is gone", err, syscall.ENOENT)
	if got := listed(t, d, 4096, nil); len(got) != 2 {
		t.Errorf("it lists %q", got)
	}
	must(t, c.Close())
	eventually(t, "nothing is held", func() bool {
		s, err := m.volume().Stats(ctx)
		return err == nil && s.Handles == 0 && s.Refs == 0
	})
}

// TestSubdirectory shows a directory and nothing else, whatever happens to it.
func TestSubdirectory(t *testing.T) {
	ctx := t.Context()
	m, _, root := volumeRoot(t)
	sub := mkdir(t, root, "sub", 0o755)
	mkdir(t, mkdir(t, sub, "a", 0o755), "b", 0o755)
	create(t, root, "secret", "x", 0o644)
	create(t, sub, "own", "y", 0o644)
	_, err := sub.Symlink(ctx, "out", "../secret", 0)
	must(t, err)
	c := connect(t, serve(t, m, "sub", "volume=files/sub"))
	top, err := c.Attach(ctx, "", "", 0)
	must(t, err)
	up, err := top.Walk(ctx, "..", "..", "own")
	must(t, err)
	up.Clunk(ctx)
	_, err = top.Walk(ctx, "..", "secret")
	want(t, "walk out by ..", err, syscall.ENOENT)
	_, err = top.Walk(ctx, "out", "secret")
	want(t, "walk through a symlink", err, syscall.ENOTDIR)
	for _, aname := range []string{"..", "a/../..", "../secret"} {
		_, err = c.Attach(ctx, "", aname, 0)
		want(t, "attach to "+aname, err, syscall.EINVAL)
	}
	_, err = c.Attach(ctx, "", "out", 0)
	must(t, err) // the symlink itself
	// others move a directory, with a fid in it, out of what is shown
	b, own := walk(t, top, "a", "b"), walk(t, top, "own")
	must(t, walk(t, sub, "a").RenameAt(ctx, "b", root, "b"))
	must(t, sub.RenameAt(ctx, "own", root, "own"))
	_, err = b.Walk(ctx, "..")
	want(t, "walk out of a moved directory", err, syscall.ENOENT)
	_, err = b.Walk(ctx, "..", "secret")
	want(t, "walk to a file beside it", err, syscall.ENOENT)
	want(t, "remove a file that was moved out", own.Remove(ctx), syscall.ENOENT)
	walk(t, root, "own")
	want(t, "remove what is shown", walk(t, top).Remove(ctx), syscall.EBUSY)
	// and the shown directory itself
	must(t, root.RenameAt(ctx, "sub", root, "elsewhere"))
	if same := walk(t, top, ".."); same.QID().Path != top.QID().Path {
		t.Error(".. leads out of a renamed export")
	}
	create(t, walk(t, top, "a"), "new", "z", 0o644)
	walk(t, root, "elsewhere", "a", "new")
}
