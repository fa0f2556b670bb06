package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bazil/p9srv/client"
)

// BenchmarkMount measures the same work on a volume over plain 9P, from one
// client that waits for each answer, and through the FUSE bridge, where the
// kernel may keep nothing (but for the rows named kept).
func BenchmarkMount(b *testing.B) {
	needFUSE(b)
	d := newDevice(b)
	dir := d.mount(b, "v", "--fuse")
	root := d.attach(b, "v")
	const entries, size, piece = 1000, 64 << 20, 1 << 20
	must(b, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	for i := range entries {
		must(b, os.WriteFile(filepath.Join(dir, "d", fmt.Sprint(i)), nil, 0o644))
	}
	large := filepath.Join(dir, "large")
	must(b, os.WriteFile(large, noise(1, size), 0o644))

	b.Run("stat/9P", func(b *testing.B) {
		for b.Loop() {
			f, err := root.Walk(b.Context(), "large")
			must(b, err)
			_, err = f.Attr(b.Context())
			must(b, err)
			must(b, f.Clunk(b.Context()))
		}
	})
	b.Run("stat/FUSE", func(b *testing.B) {
		var st unix.Statx_t
		for b.Loop() {
			must(b, unix.Statx(unix.AT_FDCWD, large, unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &st))
		}
	})
	b.Run("stat/FUSE kept", func(b *testing.B) {
		var st unix.Stat_t
		for b.Loop() {
			must(b, unix.Stat(large, &st))
		}
	})
	b.Run("list/9P", func(b *testing.B) {
		for b.Loop() {
			countEntries(b, root, "d", entries)
		}
	})
	b.Run("list/FUSE", func(b *testing.B) {
		for b.Loop() {
			names, err := os.ReadDir(filepath.Join(dir, "d"))
			must(b, err)
			if len(names) != entries {
				b.Fatal(len(names))
			}
		}
	})

	p := noise(2, piece)
	stream := func(b *testing.B, move func(off int64) (int, error)) {
		b.SetBytes(piece)
		for i := 0; b.Loop(); i++ {
			n, err := move(int64(i) * piece % size)
			must(b, err)
			if n != piece {
				b.Fatal(n)
			}
		}
	}
	plain, err := root.Walk(b.Context(), "large")
	must(b, err)
	must(b, plain.Open(b.Context(), syscall.O_RDWR))
	b.Run("read/9P", func(b *testing.B) {
		stream(b, func(off int64) (int, error) { return plain.ReadAt(b.Context(), p, off) })
	})
	mounted, err := os.OpenFile(large, os.O_RDWR, 0)
	must(b, err)
	defer mounted.Close()
	b.Run("read/FUSE", func(b *testing.B) {
		stream(b, func(off int64) (int, error) {
			if off == 0 {
				must(b, unix.Fadvise(int(mounted.Fd()), 0, 0, unix.FADV_DONTNEED))
			}
			return mounted.ReadAt(p, off)
		})
	})
	b.Run("read/FUSE kept", func(b *testing.B) {
		stream(b, func(off int64) (int, error) { return mounted.ReadAt(p, off) })
	})
	b.Run("write/9P", func(b *testing.B) {
		stream(b, func(off int64) (int, error) { return plain.WriteAt(b.Context(), p, off) })
	})
	b.Run("write/FUSE", func(b *testing.B) {
		stream(b, func(off int64) (int, error) { return mounted.WriteAt(p, off) })
	})
}

// countEntries lists a directory over 9P.
func countEntries(b *testing.B, root *client.Fid, name string, want int) {
	b.Helper()
	f, err := root.Walk(b.Context(), name)
	must(b, err)
	defer f.Clunk(b.Context())
	must(b, f.Open(b.Context(), syscall.O_RDONLY|syscall.O_DIRECTORY))
	count := 0
	for off := uint64(0); ; {
		list, err := f.ReadDir(b.Context(), off, 64<<10)
		must(b, err)
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			if e.Name != "." && e.Name != ".." {
				count++
			}
		}
		off = list[len(list)-1].Offset
	}
	if count != want {
		b.Fatal(count)
	}
}
