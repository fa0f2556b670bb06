package fusemount

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// benchDir is a mount whose server and bridge are processes of their own, as
// they are in use.
func benchDir(b *testing.B) string {
	needFUSE(b)
	disk, err := os.MkdirTemp("/dev/shm", "fusemount")
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { os.RemoveAll(disk) })
	sock, dir := filepath.Join(b.TempDir(), "sock"), b.TempDir()
	start(b, "serve", disk, sock).ready(b)
	start(b, "mount", sock, dir).ready(b)
	b.Cleanup(func() { unmount(dir, true) })
	return dir
}

func BenchmarkStat(b *testing.B) {
	dir := benchDir(b)
	name := filepath.Join(dir, "f")
	check(b, os.WriteFile(name, nil, 0o644))
	var st unix.Stat_t
	b.Run("1", func(b *testing.B) {
		for b.Loop() {
			check(b, unix.Stat(name, &st))
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			var st unix.Stat_t
			for pb.Next() {
				check(b, unix.Stat(name, &st))
			}
		})
	})
}

func BenchmarkCreateUnlink(b *testing.B) {
	dir := benchDir(b)
	var n atomic.Int64
	one := func(b *testing.B) {
		name := filepath.Join(dir, fmt.Sprint("f", n.Add(1)))
		check(b, os.WriteFile(name, []byte("hello"), 0o644))
		check(b, os.Remove(name))
	}
	b.Run("1", func(b *testing.B) {
		for b.Loop() {
			one(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one(b)
			}
		})
	})
}

func BenchmarkWrite(b *testing.B) {
	dir := benchDir(b)
	for _, size := range []int{4 << 10, 128 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			f, err := os.Create(filepath.Join(dir, "f"))
			check(b, err)
			defer f.Close()
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				_, err := f.WriteAt(p, int64(i*size%(256<<20)))
				check(b, err)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	dir := benchDir(b)
	name := filepath.Join(dir, "f")
	const whole = 256 << 20
	check(b, os.WriteFile(name, make([]byte, whole), 0o644))
	for _, size := range []int{128 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			var f *os.File
			for i := 0; b.Loop(); i++ {
				off := int64(i * size % whole)
				if off == 0 {
					f.Close()
					var err error
					f, err = os.Open(name)
					check(b, err)
					unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
				}
				_, err := f.ReadAt(p, off)
				check(b, err)
			}
			f.Close()
		})
	}
}

func BenchmarkListStat(b *testing.B) {
	dir := benchDir(b)
	for i := range 1000 {
		check(b, os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), nil, 0o644))
	}
	for b.Loop() {
		list, err := os.ReadDir(dir)
		check(b, err)
		for _, e := range list {
			_, err := e.Info()
			check(b, err)
		}
	}
}
