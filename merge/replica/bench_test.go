package replica

import (
	"fmt"
	"testing"
)

// BenchmarkPull measures a first pull, one of a single change, and one of
// nothing, of 100,000 files in a thousand directories and in one.
func BenchmarkPull(b *testing.B) {
	for _, shape := range []struct{ dirs, files int }{{1000, 100}, {1, 100000}} {
		b.Run(fmt.Sprintf("%dx%d", shape.dirs, shape.files), func(b *testing.B) {
			a := newDevice(b)
			for i := range shape.dirs {
				a.mkdir(fmt.Sprint(i))
				for j := range shape.files {
					a.write(fmt.Sprint(i, "/", j), "x")
				}
			}
			check(b, a.v.Sync(ctx))
			b.Run("first", func(b *testing.B) {
				for range b.N {
					b.StopTimer()
					d := newDevice(b)
					b.StartTimer()
					d.pull(a)
					check(b, d.v.Sync(ctx))
				}
			})
			d := newDevice(b)
			d.pull(a)
			b.Run("nothing", func(b *testing.B) {
				for range b.N {
					d.pull(a)
				}
			})
			b.Run("one", func(b *testing.B) {
				for i := range b.N {
					a.write("0/7", fmt.Sprint(i))
					d.pull(a)
				}
			})
		})
	}
}

// BenchmarkFetch measures how fast a large file's content comes in when the
// way to the peer costs nothing.
func BenchmarkFetch(b *testing.B) {
	a := newDevice(b)
	const size = 256 << 20
	a.write("f", noise(1, size))
	check(b, a.v.Sync(ctx))
	b.SetBytes(size)
	for range b.N {
		b.StopTimer()
		d := newDevice(b)
		d.pull(a)
		b.StartTimer()
		if r := fetchAll(b, d, a); r.Missing > 0 {
			b.Fatal(r)
		}
	}
}
