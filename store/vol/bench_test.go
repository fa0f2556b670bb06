package vol

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"bazil/merge"
)

func fill(tb testing.TB, d *Node, from, n int) {
	for i := from; i < from+n; i++ {
		if _, err := d.Create(ctx, fmt.Sprintf("file%07d", i), New{Kind: merge.KindFile, Mode: 0o644}); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkCreate makes files in one directory; what is left in memory is
// made durable within the time measured.
func BenchmarkCreate(b *testing.B) {
	v := newDisk(b).open()
	d := mkdir(b, v.Root(), "d")
	b.ResetTimer()
	fill(b, d, 0, b.N)
	made := b.Elapsed()
	ok(b, v.Sync(ctx))
	b.ReportMetric(float64(b.N)/made.Seconds(), "creates/s")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "durable/s")
}

// BenchmarkWriteFile makes files of 1 KiB.
func BenchmarkWriteFile(b *testing.B) {
	v := newDisk(b).open()
	d := mkdir(b, v.Root(), "d")
	data := string(randomBytes(1, 1024))
	b.ResetTimer()
	for i := range b.N {
		writeFile(b, d, fmt.Sprintf("file%07d", i), data)
	}
	made := b.Elapsed()
	ok(b, v.Sync(ctx))
	b.ReportMetric(float64(b.N)/made.Seconds(), "files/s")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "durable/s")
}

// BenchmarkFsync writes 4 KiB and waits for them to be durable, from several
// goroutines.
func BenchmarkFsync(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			v := newDisk(b).open()
			data := randomBytes(1, 4096)
			b.SetParallelism(writers)
			hs := make(chan *Handle, 1000)
			for i := range 1000 {
				f := must[*Node](b)(v.Root().Create(ctx, fmt.Sprint(i), New{Kind: merge.KindFile}))
				hs <- must[*Handle](b)(f.Open(ctx, true))
			}
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				h := <-hs
				defer h.Close()
				for pb.Next() {
					if _, err := h.WriteAt(ctx, data, 0); err != nil {
						b.Error(err)
					}
					if err := h.Sync(ctx); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkRewriteFsync writes 4 KiB somewhere in a large file and waits for
// them to be durable, from several goroutines with a file each.
func BenchmarkRewriteFsync(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			v := newDisk(b).open()
			const size = 64 << 20
			hs := make(chan *Handle, writers)
			for i := range writers {
				f := must[*Node](b)(v.Root().Create(ctx, fmt.Sprint(i), New{Kind: merge.KindFile}))
				h := must[*Handle](b)(f.Open(ctx, true))
				for off := int64(0); off < size/int64(writers); off += 1 << 20 {
					must[int](b)(h.WriteAt(ctx, randomBytes(uint64(off), 1<<20), off))
				}
				ok(b, h.Sync(ctx))
				hs <- h
			}
			data := randomBytes(1, 4096)
			b.SetParallelism((writers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				h := <-hs
				defer func() { hs <- h }()
				r := rand.New(rand.NewPCG(1, 2))
				for pb.Next() {
					if _, err := h.WriteAt(ctx, data, r.Int64N(size/int64(writers)/4096)*4096); err != nil {
						b.Error(err)
					}
					if err := h.Sync(ctx); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// bigDir is a volume with n files in one directory, just opened.
func bigDir(b *testing.B, n int) (*Volume, *Node) {
	disk := newDisk(b)
	v := disk.open()
	fill(b, mkdir(b, v.Root(), "d"), 0, n)
	ok(b, v.Close())
	start := time.Now()
	v = disk.open()
	b.ReportMetric(float64(time.Since(start).Microseconds()), "open-µs")
	return v, must[*Node](b)(v.Root().Lookup(ctx, "d"))
}

func BenchmarkLookup(b *testing.B) {
	const n = 100_000
	_, d := bigDir(b, n)
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Lookup(ctx, "file0000077"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scattered", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i = (i + 7919) % n
			if _, err := d.Lookup(ctx, fmt.Sprintf("file%07d", i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("attr", func(b *testing.B) {
		f := must[*Node](b)(d.Lookup(ctx, "file0000077"))
		for b.Loop() {
			if _, err := f.Attr(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkList lists a directory of 10,000 files: as Bolt has it, with every
// name changed since, again after one change, and again without one.
func BenchmarkList(b *testing.B) {
	const n = 10_000
	list := func(b *testing.B, d *Node, before func()) {
		b.ReportAllocs()
		for b.Loop() {
			before()
			if l, err := d.List(ctx); err != nil || len(l) < n {
				b.Fatal(len(l), err)
			}
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	}
	forget := func(d *Node) func() {
		return func() {
			if at := d.in.at.sub; at != nil {
				at.list = nil
			}
		}
	}
	mode := uint32(0o600)
	touch := func(b *testing.B, d *Node) func() {
		f := must[*Node](b)(d.Lookup(ctx, "file0000077"))
		return func() {
			if err := f.SetAttr(ctx, SetAttr{Mode: &mode}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("stored", func(b *testing.B) {
		_, d := bigDir(b, n)
		list(b, d, forget(d))
	})
	b.Run("unsaved", func(b *testing.B) {
		v := newDisk(b).open()
		d := mkdir(b, v.Root(), "d")
		fill(b, d, 0, n)
		list(b, d, forget(d))
	})
	b.Run("changed", func(b *testing.B) {
		_, d := bigDir(b, n)
		list(b, d, touch(b, d))
	})
	b.Run("first", func(b *testing.B) {
		v := newDisk(b).open()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			d := mkdir(b, v.Root(), fmt.Sprint(i))
			fill(b, d, 0, n)
			b.StartTimer()
			if l, err := d.List(ctx); err != nil || len(l) != n {
				b.Fatal(len(l), err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		_, d := bigDir(b, n)
		list(b, d, func() {})
	})
}

// BenchmarkApply takes over a directory of 100,000 files, then one change.
func BenchmarkApply(b *testing.B) {
	vs := replicas(b, 2)
	fill(b, mkdir(b, vs[0].Root(), "d"), 0, 100_000)
	ok(b, vs[0].Sync(ctx))
	start := time.Now()
	pull(b, vs[1], vs[0], -1)
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "first-ms")
	d := must[*Node](b)(vs[0].Root().Lookup(ctx, "d"))
	i := 0
	for b.Loop() {
		i++
		fill(b, d, 100_000+i, 1)
		pull(b, vs[1], vs[0], -1)
	}
}
