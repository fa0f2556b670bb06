package p9srv_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/p9srv/p9test"
)

// benchServer serves a tree that costs nothing, with a file "f" of 8 MiB and
// a directory "d" of 1,000 entries.
func benchServer(b testing.TB) (path string, root *client.Fid) {
	b.Helper()
	path = listen(b, &p9srv.Server{Tree: newMemTree()})
	_, root = attach(b, path)
	ctx := b.Context()
	f, err := root.Walk(ctx)
	check(b, err)
	check(b, f.Create(ctx, "f", oRDWR, 0o644, 0))
	_, err = f.WriteAt(ctx, make([]byte, 8<<20), 0)
	check(b, err)
	_, err = root.Mkdir(ctx, "d", 0o755, 0)
	check(b, err)
	d, err := root.Walk(ctx, "d")
	check(b, err)
	for i := range 1000 {
		_, err := d.Mkdir(ctx, fmt.Sprintf("entry%06d", i), 0o755, 0)
		check(b, err)
	}
	return path, root
}

// pipeline sends the same request over and over, depth of them in flight,
// and drops the replies, which have size bytes.
func pipeline(b testing.TB, c net.Conn, n, depth int, text string, size int) {
	b.Helper()
	msg, err := p9test.Encode(text, "9P2000.L")
	check(b, err)
	reply := make([]byte, size)
	c.SetDeadline(time.Time{})
	out := make([]byte, 0, depth*len(msg))
	for sent, got := 0, 0; got < n; got++ {
		out = out[:0]
		for ; sent < n && sent-got < depth; sent++ {
			binary.LittleEndian.PutUint16(msg[5:], uint16(sent))
			out = append(out, msg...)
		}
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := io.ReadFull(c, reply); err != nil {
			b.Fatal(err)
		}
		if k := int(binary.LittleEndian.Uint32(reply)); k != size {
			b.Fatalf("reply of %d bytes, not %d", k, size)
		}
	}
}

func BenchmarkServer(b *testing.B) {
	path, _ := benchServer(b)
	c := raw(b, path, 1<<20)
	p9test.Say(b, c, "Twalk fid=0 newfid=1 names=f", "Rwalk")
	p9test.Say(b, c, "Tlopen fid=1 flags=2", "Rlopen")
	p9test.Say(b, c, "Twalk fid=0 newfid=2 names=d", "Rwalk")
	p9test.Say(b, c, "Tlopen fid=2 flags=0", "Rlopen")
	for _, bench := range []struct {
		name, text string
		size       int
		bytes      int64
	}{
		{"Getattr", "Tgetattr fid=0 mask=0x7ff", 160, 0},
		{"WalkError", "Twalk fid=0 newfid=9 names=none", 11, 0},
		{"Read4K", "Tread fid=1 offset=4096 count=4096", 11 + 4096, 4096},
		{"Read64K", "Tread fid=1 offset=4096 count=65536", 11 + 65536, 65536},
		{"Read512K", "Tread fid=1 offset=4096 count=524288", 11 + 524288, 524288},
		{"Readdir1000", "Treaddir fid=2 offset=0 count=60000", 11 + 25 + 26 + 1000*35, 0},
	} {
		for _, depth := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/depth=%d", bench.name, depth), func(b *testing.B) {
				b.SetBytes(bench.bytes)
				b.ReportAllocs()
				pipeline(b, c, b.N, depth, bench.text, bench.size)
			})
		}
	}
}

// BenchmarkClient measures server and client together.
func BenchmarkClient(b *testing.B) {
	_, root := benchServer(b)
	ctx := b.Context()
	f, err := root.Walk(ctx, "f")
	check(b, err)
	check(b, f.Open(ctx, oRDWR))
	b.Run("Attr", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Attr(ctx)
		}
	})
	b.Run("AttrParallel", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				f.Attr(ctx)
			}
		})
	})
	b.Run("WalkClunk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			k, _ := root.Walk(ctx, "f")
			k.Clunk(ctx)
		}
	})
	for _, size := range []int{4 << 10, 128 << 10, 4 << 20} {
		p := make([]byte, size)
		b.Run(fmt.Sprintf("Read/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				f.ReadAt(ctx, p, 0)
			}
		})
		b.Run(fmt.Sprintf("Write/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				f.WriteAt(ctx, p, 0)
			}
		})
	}
}

// TestRequestsDoNotAllocate holds the way of a request through the server,
// and of a call through the client, to allocating next to nothing.
func TestRequestsDoNotAllocate(t *testing.T) {
	path, root := benchServer(t)
	c := raw(t, path, 1<<20)
	p9test.Say(t, c, "Twalk fid=0 newfid=1 names=f", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=1 flags=2", "Rlopen")
	const n = 2000
	f, err := root.Walk(t.Context(), "f")
	check(t, err)
	check(t, f.Open(t.Context(), oRDWR))
	p := make([]byte, 4096)
	for name, run := range map[string]func(){
		"Tgetattr":        func() { pipeline(t, c, n, 16, "Tgetattr fid=0 mask=0x7ff", 160) },
		"Tread of 4 KiB":  func() { pipeline(t, c, n, 16, "Tread fid=1 offset=0 count=4096", 11+4096) },
		"Tread of 64 KiB": func() { pipeline(t, c, n, 16, "Tread fid=1 offset=0 count=65536", 11+65536) },
		"ReadAt": func() {
			for range n {
				f.ReadAt(t.Context(), p, 0)
			}
		},
	} {
		run()
		per := allocations(run) / n
		for try := 0; per > 0.5 && try < 20; try++ { // a collection empties the pools
			per = min(per, allocations(run)/n)
		}
		if per > 0.5 && !raceEnabled {
			t.Errorf("%s: %.2f allocations", name, per)
		}
	}
}

func allocations(run func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs)
}
