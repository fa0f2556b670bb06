package export

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// names lists a directory.
func names(t *testing.T, dir *client.Fid) string {
	t.Helper()
	d, err := dir.Walk(t.Context())
	must(t, err)
	must(t, d.Open(t.Context(), syscall.O_RDONLY))
	defer d.Clunk(t.Context())
	entries, err := d.ReadDir(t.Context(), 0, 8192)
	must(t, err)
	var all []string
	for _, e := range entries {
		if e.Name != "." && e.Name != ".." {
			all = append(all, e.Name)
		}
	}
	return strings.Join(all, " ")
}

func read(t *testing.T, f *client.Fid) string {
	t.Helper()
	must(t, f.Open(t.Context(), syscall.O_RDONLY))
	p := make([]byte, 1<<20)
	n, err := f.ReadAt(t.Context(), p, 0)
	must(t, err)
	return string(p[:n])
}

func TestSnapshotsThroughTheTree(t *testing.T) {
	ctx := t.Context()
	m := newManager(t)
	sock := serve(t, m, "rw", "volume=files")
	root, err := attach(t, sock, "", uint32(os.Getuid()))
	must(t, err)
	must(t, func() error { _, err := root.Mkdir(ctx, "d", 0o750, 0); return err }())
	d := walk(t, root, "d")
	big := string(bytes.Repeat([]byte("0123456789abcdef"), 20000))
	f := create(t, d, "f", big, 0o640)
	must(t, f.SetXattr(ctx, "user.x", []byte("y"), 0))
	was, err := f.Attr(ctx)
	must(t, err)

	snap := walk(t, root, ".snap")
	if got := names(t, root); got != "d" {
		t.Errorf("the root lists %q", got)
	}
	if got := names(t, snap); got != "" {
		t.Errorf(".snap lists %q", got)
	}
	_, err = snap.Mkdir(ctx, "one", 0o755, 0)
	must(t, err)
	_, err = f.WriteAt(ctx, []byte("CHANGED"), 0)
	must(t, err)
	must(t, d.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetMode, Mode: 0o700}))
	_, err = snap.Mkdir(ctx, "two", 0o755, 0)
	must(t, err)
	if got := names(t, snap); got != "one two" {
		t.Errorf(".snap lists %q", got)
	}
	old := walk(t, snap, "one", "d", "f")
	a, err := old.Attr(ctx)
	must(t, err)
	if a.Mode != was.Mode || a.UID != was.UID || a.MTime != was.MTime || a.CTime != was.CTime || a.Size != was.Size {
		t.Errorf("attributes are %+v, were %+v", a, was)
	}
	if x, err := old.GetXattr(ctx, "user.x"); err != nil || string(x) != "y" {
		t.Errorf("xattr: %q, %v", x, err)
	}
	if da, err := walk(t, snap, "one", "d").Attr(ctx); err != nil || da.Mode&0o777 != 0o750 {
		t.Errorf("mode of the directory: %o, %v", da.Mode, err)
	}
	if read(t, walk(t, snap, "one", "d", "f")) != big {
		t.Error("the first snapshot has other bytes")
	}
	if got := read(t, walk(t, snap, "two", "d", "f")); !strings.HasPrefix(got, "CHANGED") || got[7:] != big[7:] {
		t.Error("the second snapshot has other bytes")
	}
	if got := names(t, walk(t, snap, "one", "d")); got != "f" {
		t.Errorf("the directory lists %q", got)
	}
	checkSnapQIDs(t, root)
	checkSnapRefusals(t, root)

	must(t, snap.RenameAt(ctx, "one", snap, "uno"))
	if q := walk(t, snap, "uno", "d", "f").QID(); q != old.QID() {
		t.Errorf("after the renaming the QID is %v, was %v", q, old.QID())
	}
	want(t, "rename onto another", snap.RenameAt(ctx, "uno", snap, "two"), syscall.EEXIST)
	must(t, snap.UnlinkAt(ctx, "uno", atRemoveDir))
	want(t, "remove it again", snap.UnlinkAt(ctx, "uno", atRemoveDir), syscall.ENOENT)
	must(t, walk(t, snap, "two").Remove(ctx))
	if got := names(t, snap); got != "" {
		t.Errorf(".snap lists %q at the end", got)
	}
}

// checkSnapQIDs: no two files of the tree have one QID path, and a listing
// gives the same as a walk.
func checkSnapQIDs(t *testing.T, root *client.Fid) {
	seen := map[uint64]string{}
	for _, path := range []string{"", "d", "d/f", ".snap", ".snap/one", ".snap/one/d", ".snap/one/d/f", ".snap/two", ".snap/two/d", ".snap/two/d/f"} {
		var elems []string
		if path != "" {
			elems = strings.Split(path, "/")
		}
		q := walk(t, root, elems...).QID()
		if other, taken := seen[q.Path]; taken {
			t.Errorf("%q and %q have the path %x", other, path, q.Path)
		}
		seen[q.Path] = path
	}
	for _, path := range [][]string{{".snap"}, {".snap", "one"}, {".snap", "one", "d"}} {
		dir := walk(t, root, path...)
		must(t, dir.Open(t.Context(), syscall.O_RDONLY))
		entries, err := dir.ReadDir(t.Context(), 0, 8192)
		must(t, err)
		for _, e := range entries {
			if e.Name == "." || e.Name == ".." {
				continue
			}
			if q := walk(t, root, append(path[:len(path):len(path)], e.Name)...).QID(); q != e.QID {
				t.Errorf("%v/%s is listed with %v, and has %v", path, e.Name, e.QID, q)
			}
		}
	}
	up := walk(t, root, ".snap", "one", "d", "..", "..", "..")
	if up.QID().Path != root.QID().Path {
		t.Error("three up from .snap/one/d is not the root")
	}
}

func checkSnapRefusals(t *testing.T, root *client.Fid) {
	ctx := t.Context()
	snap, one, d := walk(t, root, ".snap"), walk(t, root, ".snap", "one"), walk(t, root, ".snap", "one", "d")
	file := walk(t, d, "f")
	mkdir := func(dir *client.Fid, name string) error { _, err := dir.Mkdir(ctx, name, 0o755, 0); return err }
	for what, c := range map[string]struct {
		err  error
		want syscall.Errno
	}{
		"a name that is taken":      {mkdir(snap, "one"), syscall.EEXIST},
		"a schedule's name":         {mkdir(snap, "auto-1"), syscall.EINVAL},
		"a control character":       {mkdir(snap, "a\nb"), syscall.EINVAL},
		"a long name":               {mkdir(snap, strings.Repeat("x", 256)), syscall.ENAMETOOLONG},
		"a file in .snap":           {walk(t, snap).Create(ctx, "file", syscall.O_RDWR, 0o644, 0), syscall.EPERM},
		"mkdir in a snapshot":       {mkdir(d, "x"), syscall.EROFS},
		"create in a snapshot":      {walk(t, d).Create(ctx, "x", syscall.O_RDWR, 0o644, 0), syscall.EROFS},
		"open for writing":          {walk(t, file).Open(ctx, syscall.O_RDWR), syscall.EROFS},
		"chmod":                     {file.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetMode, Mode: 0o600}), syscall.EROFS},
		"setxattr":                  {file.SetXattr(ctx, "user.z", nil, 0), syscall.EROFS},
		"unlink":                    {d.UnlinkAt(ctx, "f", 0), syscall.EROFS},
		"unlink of a snapshot":      {snap.UnlinkAt(ctx, "one", 0), syscall.EISDIR},
		"rename in a snapshot":      {d.RenameAt(ctx, "f", d, "g"), syscall.EROFS},
		"rename out of a snapshot":  {d.RenameAt(ctx, "f", root, "g"), syscall.EROFS},
		"rename out of .snap":       {snap.RenameAt(ctx, "one", root, "one"), syscall.EPERM},
		"rename into .snap":         {root.RenameAt(ctx, "d", snap, "d"), syscall.EPERM},
		"rename into a snapshot":    {root.RenameAt(ctx, "d", one, "d"), syscall.EXDEV},
		"rename onto .snap":         {root.RenameAt(ctx, "d", root, ".snap"), syscall.EPERM},
		"mkdir .snap":               {mkdir(root, ".snap"), syscall.EEXIST},
		"rmdir .snap":               {root.UnlinkAt(ctx, ".snap", atRemoveDir), syscall.EPERM},
		".snap below the root":      {func() error { _, err := root.Walk(ctx, "d", ".snap"); return err }(), syscall.ENOENT},
		"a snapshot that is absent": {func() error { _, err := snap.Walk(ctx, "none"); return err }(), syscall.ENOENT},
	} {
		want(t, what, c.err, c.want)
	}
	if _, err := snap.Statfs(ctx); err != nil {
		t.Errorf("statfs .snap: %v", err)
	}
	if _, err := file.Statfs(ctx); err != nil {
		t.Errorf("statfs of a file in a snapshot: %v", err)
	}
}

func TestWhoMayUseSnapshots(t *testing.T) {
	ctx := t.Context()
	if os.Getuid() != 0 {
		t.Skip("only the super-user can give files to others")
	}
	m := newManager(t)
	root, err := attach(t, serve(t, m, "rw", "volume=files"), "", 0)
	must(t, err)
	must(t, root.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetMode, Mode: 0o755}))
	create(t, root, "open", "text", 0o644)
	create(t, root, "closed", "text", 0o600)
	_, err = walk(t, root, ".snap").Mkdir(ctx, "s", 0o755, 0)
	must(t, err)

	other, err := attach(t, serve(t, m, "other", "volume=files"), "", 4711)
	must(t, err)
	snap := walk(t, other, ".snap")
	_, err = snap.Mkdir(ctx, "mine", 0o755, 0)
	want(t, "another user's mkdir", err, syscall.EACCES)
	want(t, "another user's rmdir", snap.UnlinkAt(ctx, "s", atRemoveDir), syscall.EACCES)
	want(t, "another user's rename", snap.RenameAt(ctx, "s", snap, "t"), syscall.EACCES)
	if got := read(t, walk(t, snap, "s", "open")); got != "text" {
		t.Errorf("another user reads %q", got)
	}
	want(t, "a file of mode 0600", walk(t, snap, "s", "closed").Open(ctx, syscall.O_RDONLY), syscall.EACCES)

	ro, err := attach(t, serve(t, m, "ro", "volume=files", "ro"), "", 0)
	must(t, err)
	_, err = walk(t, ro, ".snap").Mkdir(ctx, "x", 0o755, 0)
	want(t, "mkdir on a read-only export", err, syscall.EROFS)
	want(t, "rmdir on a read-only export", walk(t, ro, ".snap").UnlinkAt(ctx, "s", atRemoveDir), syscall.EROFS)
	one, err := attach(t, serve(t, m, "one", "volume=files/.snap/s"), "", 0)
	must(t, err)
	if got := names(t, one); got != "closed open" {
		t.Errorf("an export of a snapshot lists %q", got)
	}
}
