package export

import (
	"bytes"
	"math"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/store"
	"bazil/store/vol"
)

// reopened serves a new volume to before, and again to after when its server
// has been closed and opened.
func reopened(t *testing.T, before, after func(m *Manager, root *client.Fid)) {
	dir := filepath.Join(t.TempDir(), "data")
	must(t, store.Create(dir))
	must(t, vol.Create(filepath.Join(dir, "v.db"), vol.NewID(), vol.Options{}))
	for _, f := range []func(*Manager, *client.Fid){before, after} {
		m, end := openManager(t, dir)
		root, err := attach(t, serve(t, m, "all", "volume=files"), "", 0)
		must(t, err)
		f(m, root)
		must(t, end())
	}
}

// TestSparseFiles writes far beyond 4 GiB, and grows files to 16 TiB.
func TestSparseFiles(t *testing.T) {
	const TiB = int64(1) << 40
	ctx := t.Context()
	places := []int64{0, 1<<32 - 2, 5 << 30, TiB, 16*TiB - 4}
	reopened(t, func(m *Manager, root *client.Fid) {
		f := create(t, root, "sparse", "", 0o644)
		for _, off := range places {
			_, err := f.WriteAt(ctx, []byte("here"), off)
			must(t, err)
		}
		grown := create(t, root, "grown", "start", 0o644)
		must(t, grown.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize, Size: uint64(16 * TiB)}))
		_, err := f.WriteAt(ctx, []byte("x"), math.MaxInt64-10)
		want(t, "write at the end of numbers", err, syscall.EFBIG)
		must(t, f.Fsync(ctx, false))
	}, func(m *Manager, root *client.Fid) {
		f := open(t, root, syscall.O_RDWR, "sparse")
		if a := attr(t, f); int64(a.Size) != 16*TiB || a.Blocks > 10_000 {
			t.Errorf("size %d, %d blocks", a.Size, a.Blocks)
		}
		for _, off := range places {
			if got := piece(t, f, off, 4); got != "here" {
				t.Errorf("at %d: %q", off, got)
			}
			if off > 0 {
				if got := piece(t, f, off-100, 100); got != string(make([]byte, 100)) {
					t.Errorf("the hole before %d has %q", off, got)
				}
			}
		}
		if got := piece(t, f, 16*TiB-2, 100); got != "re" {
			t.Errorf("the end is %q", got)
		}
		must(t, f.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize, Size: 5<<30 + 2}))
		must(t, f.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize, Size: 6 << 30}))
		if got := piece(t, f, 5<<30, 6); got != "he\x00\x00\x00\x00" {
			t.Errorf("cut and grown, it has %q", got)
		}
		g := open(t, root, syscall.O_RDWR, "grown")
		if a := attr(t, g); int64(a.Size) != 16*TiB || a.Blocks > 100 {
			t.Errorf("grown to %d, %d blocks", a.Size, a.Blocks)
		}
		if got := piece(t, g, 0, 8); got != "start\x00\x00\x00" {
			t.Errorf("it begins with %q", got)
		}
	})
}

func piece(t *testing.T, f *client.Fid, off int64, n int) string {
	t.Helper()
	b := make([]byte, n)
	got, err := f.ReadAt(t.Context(), b, off)
	must(t, err)
	return string(b[:got])
}

// TestAppend has two clients append to one file: whatever offset they send, no
// byte of either is lost.
func TestAppend(t *testing.T) {
	ctx := t.Context()
	_, sock, root := volumeRoot(t)
	create(t, root, "log", "", 0o666).Clunk(ctx)
	const lines = 300
	done := make(chan error)
	for _, who := range []string{"a", "b"} {
		other, err := attach(t, sock, "", 0)
		must(t, err)
		f := open(t, other, syscall.O_WRONLY|syscall.O_APPEND, "log")
		go func() {
			for range lines {
				if _, err := f.WriteAt(ctx, []byte(who), 0); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	must(t, <-done)
	must(t, <-done)
	got := readOpen(t, open(t, root, syscall.O_RDONLY, "log"))
	if a, b := bytes.Count([]byte(got), []byte("a")), bytes.Count([]byte(got), []byte("b")); a != lines || b != lines {
		t.Errorf("%d and %d of %d bytes", a, b, lines)
	}
}

// TestOpenFlags are the flags of open(2) that are the server's to obey.
func TestOpenFlags(t *testing.T) {
	ctx := t.Context()
	m, _, root := volumeRoot(t)
	create(t, root, "f", "text", 0o644).Clunk(ctx)
	err := walk(t, root).Create(ctx, "f", syscall.O_WRONLY|syscall.O_EXCL, 0o644, 0)
	want(t, "O_EXCL on what is there", err, syscall.EEXIST)
	f := walk(t, root)
	must(t, f.Create(ctx, "f", syscall.O_RDONLY, 0o600, 0))
	if got := readOpen(t, f); got != "text" {
		t.Errorf("opened by create: %q", got)
	}
	_, err = f.WriteAt(ctx, []byte("x"), 0)
	want(t, "write to what is open for reading", err, syscall.EBADF)
	w := open(t, root, syscall.O_WRONLY, "f")
	_, err = w.ReadAt(ctx, make([]byte, 4), 0)
	want(t, "read what is open for writing", err, syscall.EBADF)
	if got := attr(t, open(t, root, syscall.O_WRONLY|syscall.O_TRUNC, "f")).Size; got != 0 {
		t.Errorf("O_TRUNC leaves %d bytes", got)
	}
	want(t, "open a directory to write", walk(t, root).Open(ctx, syscall.O_RDWR), syscall.EISDIR)
	want(t, "O_DIRECTORY on a file", walk(t, root, "f").Open(ctx, syscall.O_DIRECTORY), syscall.ENOTDIR)
	for _, flag := range []uint32{syscall.O_SYNC, syscall.O_DSYNC} {
		d := open(t, root, syscall.O_WRONLY|flag, "f")
		_, err = d.WriteAt(ctx, bytes.Repeat([]byte("durable"), 40_000), 0) // more than the log takes
		must(t, err)
		s, err := m.volume().Stats(ctx)
		must(t, err)
		if s.DirtyNames != 0 || s.DirtyBytes != 0 {
			t.Errorf("O_SYNC %#x: %d names and %d bytes are not durable", flag, s.DirtyNames, s.DirtyBytes)
		}
		must(t, d.Clunk(ctx))
	}
}

// TestTimes sets times to the nanosecond, one of them, and to now.
func TestTimes(t *testing.T) {
	const a1, m1 = 1234567890_123456789, -1_000000001
	ctx := t.Context()
	set := func(f *client.Fid, valid p9srv.SetMask, a, m int64) {
		t.Helper()
		must(t, f.SetAttr(ctx, p9srv.SetAttr{Valid: valid, ATime: a, MTime: m}))
	}
	reopened(t, func(m *Manager, root *client.Fid) {
		for _, f := range []*client.Fid{create(t, root, "f", "x", 0o644), mkdir(t, root, "d", 0o755)} {
			must(t, f.Fsync(ctx, false))
			before := attr(t, f)
			set(f, p9srv.SetATime|p9srv.SetATimeValue|p9srv.SetMTime|p9srv.SetMTimeValue, a1, m1)
			a := attr(t, f)
			if a.ATime != a1 || a.MTime != m1 || a.CTime <= before.CTime {
				t.Errorf("times are %d %d %d", a.ATime, a.MTime, a.CTime)
			}
		}
	}, func(m *Manager, root *client.Fid) {
		for _, f := range []*client.Fid{walk(t, root, "f"), walk(t, root, "d")} {
			if a := attr(t, f); a.ATime != a1 || a.MTime != m1 {
				t.Errorf("times became %d %d", a.ATime, a.MTime)
			}
			start := time.Now().UnixNano()
			set(f, p9srv.SetATime, 0, 0)
			if a := attr(t, f); a.ATime < start || a.MTime != m1 {
				t.Errorf("atime now: %d %d", a.ATime, a.MTime)
			}
			set(f, p9srv.SetMTime|p9srv.SetATime|p9srv.SetATimeValue, 5, 0)
			if a := attr(t, f); a.ATime != 5 || a.MTime < start {
				t.Errorf("mtime now: %d %d", a.ATime, a.MTime)
			}
			set(f, p9srv.SetMTime|p9srv.SetMTimeValue, 0, 7)
		}
		f := open(t, root, syscall.O_RDWR, "f")
		before := time.Now().UnixNano()
		_, err := f.WriteAt(ctx, []byte("y"), 0)
		must(t, err)
		if a := attr(t, f); a.MTime < before || a.CTime < before {
			t.Errorf("written, its times are %d %d", a.MTime, a.CTime)
		}
		d := walk(t, root, "d")
		create(t, d, "new", "", 0o644)
		if a := attr(t, d); a.MTime < before {
			t.Errorf("changed, a directory has %d", a.MTime)
		}
	})
}

// TestStatfs gives the figures of the disk.
func TestStatfs(t *testing.T) {
	m, _, root := volumeRoot(t)
	fill(t, m.volume().Root(), 10, func(i int) string { return string(rune('a' + i)) })
	got, err := root.Statfs(t.Context())
	must(t, err)
	var disk syscall.Statfs_t
	must(t, syscall.Statfs(m.Root.Dir, &disk))
	if got.Blocks != disk.Blocks || got.BSize != uint32(disk.Bsize) || got.BFree == 0 || got.BAvail > got.BFree || got.NameLen != 255 {
		t.Errorf("%+v, the disk has %+v", got, disk)
	}
	if used := got.Files - got.FFree; used != 10 {
		t.Errorf("%d files are there", used)
	}
}

// TestOpenedVersion: who only reads is told the version that was opened; who
// writes or truncates the one that came of it.
func TestOpenedVersion(t *testing.T) {
	_, _, root := volumeRoot(t)
	create(t, root, "f", "text", 0o644)
	for _, c := range []struct {
		flags uint32
		newer bool
	}{{syscall.O_RDONLY, false}, {syscall.O_RDWR, false}, {syscall.O_RDWR | syscall.O_TRUNC, true}} {
		f := walk(t, root, "f")
		before := f.QID().Version
		must(t, f.Open(t.Context(), c.flags))
		q, _, err := f.Stat(t.Context())
		must(t, err)
		if opened := f.QID().Version; opened != q.Version || (opened != before) != c.newer {
			t.Errorf("flags %#x: opened %d, before %d, is %d", c.flags, opened, before, q.Version)
		}
	}
}
