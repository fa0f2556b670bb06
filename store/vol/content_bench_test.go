package vol

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"bazil/store"
)

const benchSize = 128 << 20

// benchFile stores a file of random bytes. The cache has it all.
func benchFile(b *testing.B) (chunks *store.Chunks, sealer *store.Sealer, body Body) {
	return benchFileWith(b, store.Options{CacheBytes: 3 * benchSize})
}

// coldFile stores a file that the cache has nothing of when it is read from
// its start.
func coldFile(b *testing.B) (chunks *store.Chunks, sealer *store.Sealer, body Body) {
	return benchFileWith(b, store.Options{CacheBytes: benchSize / 4})
}

func benchFileWith(b *testing.B, o store.Options) (chunks *store.Chunks, sealer *store.Sealer, body Body) {
	chunks, sealer = testStoreWith(b, o)
	env := newEnv(chunks, sealer, chunks.NewReader(sealer, nil), 0)
	env.start()
	defer env.close()
	c := newContent(env, "")
	for off := int64(0); off < benchSize; off += 8 << 20 {
		mustWrite(b, c, randomBytes(uint64(off), 8<<20), off)
	}
	return chunks, sealer, mustFlush(b, c)
}

// benchmarkStream writes a file to a store whose cache is full after a half of
// it, as that of a server is that runs for a while.
func benchmarkStream(b *testing.B, data []byte, step int) {
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s, chunks, sealer := benchStore(b)
		env := newEnv(chunks, sealer, chunks.NewReader(sealer, nil), 0)
		env.start()
		c := newContent(env, "")
		stop := committer(b, env, c)
		b.StartTimer()
		for off := 0; off < benchSize; off += step {
			mustWrite(b, c, data[off:off+step], int64(off))
		}
		mustFlush(b, c)
		b.StopTimer()
		stop()
		env.close()
		ok(b, s.Close())
		b.StartTimer()
	}
}

// benchStore is a new store, which the caller closes.
func benchStore(b *testing.B) (*store.Store, *store.Chunks, *store.Sealer) {
	dir := filepath.Join(b.TempDir(), "data")
	ok(b, os.RemoveAll(dir))
	ok(b, store.Create(dir))
	s := must[*store.Store](b)(store.Open(dir, store.Options{CacheBytes: benchSize / 2}))
	key := must[store.SharingKey](b)(s.SharingKey("default"))
	return s, s.Chunks(), store.NewSealer(key)
}

func BenchmarkStreamRandom1M(b *testing.B)  { benchmarkStream(b, randomBytes(1, benchSize), 1<<20) }
func BenchmarkStreamRandom64K(b *testing.B) { benchmarkStream(b, randomBytes(1, benchSize), 64<<10) }
func BenchmarkStreamText1M(b *testing.B)    { benchmarkStream(b, textBytes(1, benchSize), 1<<20) }

// Split, seal and store on all processors, and nothing else: what a stream
// cannot beat.
func benchmarkSealChunks(b *testing.B, data []byte) {
	b.SetBytes(benchSize)
	for b.Loop() {
		b.StopTimer()
		s, chunks, sealer := benchStore(b)
		pool := newSealPool()
		pool.start(runtime.GOMAXPROCS(0))
		g := newSealGroup(pool, 64)
		b.StartTimer()
		split := sealer.NewSplitter()
		for rest := data; len(rest) > 0; {
			n := split.Next(rest, true)
			chunk := rest[:n]
			rest = rest[n:]
			err := g.run(context.Background(), func(ctx context.Context, buf []byte) ([]byte, error) {
				p, sealed, err := sealer.Seal(buf[:0], store.ChunkData, chunk)
				if err == nil {
					_, err = chunks.Put(ctx, p.ID, sealed)
				}
				return sealed, err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		if err := g.wait(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		pool.close()
		ok(b, s.Close())
		b.StartTimer()
	}
}

func BenchmarkSealChunksRandom(b *testing.B) { benchmarkSealChunks(b, randomBytes(1, benchSize)) }
func BenchmarkSealChunksText(b *testing.B)   { benchmarkSealChunks(b, textBytes(1, benchSize)) }

func benchmarkRead(b *testing.B, step int64, file func(*testing.B) (*store.Chunks, *store.Sealer, Body)) {
	chunks, sealer, body := file(b)
	r := chunks.NewReader(sealer, nil)
	p := make([]byte, step)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		env := startEnv(b, chunks, sealer, r, 0)
		c := newContent(env, body)
		for off := int64(0); off < benchSize; off += step {
			if _, err := c.ReadAt(context.Background(), p, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkReadCold1M(b *testing.B)   { benchmarkRead(b, 1<<20, coldFile) }
func BenchmarkReadCold128K(b *testing.B) { benchmarkRead(b, 128<<10, coldFile) }
func BenchmarkReadWarm1M(b *testing.B)   { benchmarkRead(b, 1<<20, benchFile) }

// Open and verify each chunk once, on all processors, and nothing else: what
// a cold read cannot beat.
func BenchmarkOpenChunks(b *testing.B) {
	chunks, sealer, body := coldFile(b)
	env := newEnv(chunks, sealer, chunks.NewReader(sealer, nil), 0)
	s, err := newStored(env, body)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		ptrs := make(chan store.Pointer, 1024)
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() { openChunks(b, chunks, sealer, ptrs) })
		}
		for off := int64(0); off < benchSize; {
			x, n, err := s.segment(context.Background(), off, benchSize)
			if err != nil || x == nil {
				b.Fatal(err)
			}
			ptrs <- x.ptr
			off += n
		}
		close(ptrs)
		wg.Wait()
	}
}

func openChunks(b *testing.B, chunks *store.Chunks, sealer *store.Sealer, ptrs <-chan store.Pointer) {
	var sealed, plain []byte
	for p := range ptrs {
		var err error
		if sealed, err = chunks.Get(context.Background(), p.ID, sealed[:0]); err == nil {
			plain, err = sealer.Open(plain[:0], p, store.ChunkData, sealed)
		}
		if err != nil {
			b.Error(err)
		}
	}
}

func BenchmarkReadBuffersWarm1M(b *testing.B) {
	chunks, sealer, body := benchFile(b)
	c := newContent(startEnv(b, chunks, sealer, chunks.NewReader(sealer, nil), 0), body)
	var dst [][]byte
	b.SetBytes(16 << 20)
	b.ReportAllocs()
	for b.Loop() {
		for off := int64(0); off < 16<<20; off += 1 << 20 {
			var err error
			if dst, err = c.ReadBuffers(context.Background(), dst[:0], off, 1<<20); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkRead4KRandomWarm(b *testing.B) {
	chunks, sealer, body := benchFile(b)
	c := newContent(startEnv(b, chunks, sealer, chunks.NewReader(sealer, nil), 0), body)
	r := rand.New(rand.NewPCG(1, 1))
	p := make([]byte, 4096)
	read := func() {
		if _, err := c.ReadAt(context.Background(), p, r.Int64N(8<<20/4096)*4096); err != nil {
			b.Fatal(err)
		}
	}
	for range 10_000 {
		read()
	}
	b.ReportAllocs()
	for b.Loop() {
		read()
	}
}

func BenchmarkRead4KRandomWarmParallel(b *testing.B) {
	chunks, sealer, body := benchFile(b)
	c := newContent(startEnv(b, chunks, sealer, chunks.NewReader(sealer, nil), 0), body)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(1, rand.Uint64()))
		p := make([]byte, 4096)
		for pb.Next() {
			if _, err := c.ReadAt(context.Background(), p, r.Int64N(8<<20/4096)*4096); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A thousand random 4 KiB rewrites, and the flush that seals their blocks.
func BenchmarkRewrite4KRandom(b *testing.B) {
	chunks, sealer, body := benchFile(b)
	env := startEnv(b, chunks, sealer, chunks.NewReader(sealer, nil), 0)
	c := newContent(env, body)
	r := rand.New(rand.NewPCG(1, 1))
	p := randomBytes(5, 4096)
	b.SetBytes(1000 * 4096)
	b.ReportAllocs()
	for b.Loop() {
		for i := range 1000 {
			p[i%4096]++
			mustWrite(b, c, p, r.Int64N(benchSize/4096)*4096)
		}
		mustFlush(b, c)
	}
}

// One 4 KiB rewrite at a time, as a database does that syncs each.
func BenchmarkRewrite4KFlush(b *testing.B) {
	chunks, sealer, body := benchFile(b)
	env := startEnv(b, chunks, sealer, chunks.NewReader(sealer, nil), 0)
	c := newContent(env, body)
	r := rand.New(rand.NewPCG(1, 1))
	p := randomBytes(5, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p[i%4096]++
		mustWrite(b, c, p, r.Int64N(benchSize/4096)*4096)
		mustFlush(b, c)
	}
}

// One 4 KiB append at a time, as a log does that syncs each line.
func BenchmarkAppend4KFlush(b *testing.B) {
	chunks, sealer, body := benchFile(b)
	env := startEnv(b, chunks, sealer, chunks.NewReader(sealer, nil), 0)
	c := newContent(env, body)
	p := randomBytes(5, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p[i%4096]++
		if _, _, err := c.Append(context.Background(), p); err != nil {
			b.Fatal(err)
		}
		mustFlush(b, c)
	}
}

// A write into memory that is dirty already.
func BenchmarkWrite4KMemory(b *testing.B) {
	env := testEnv(b, 0)
	c := newContent(env, "")
	mustTruncate(b, c, 16<<20)
	r := rand.New(rand.NewPCG(1, 1))
	p := randomBytes(5, 4096)
	b.ReportAllocs()
	for b.Loop() {
		mustWrite(b, c, p, r.Int64N(16<<20/4096)*4096)
	}
}

// What the primitives take of a chunk: split, compress, key, seal, name,
// append to a file. Nothing that does all this can be faster on one processor.
func BenchmarkPrimitives(b *testing.B) {
	for name, data := range map[string][]byte{"random": randomBytes(1, benchSize), "text": textBytes(1, benchSize)} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", name, workers), func(b *testing.B) { benchmarkPrimitives(b, data, workers) })
		}
	}
}

func benchmarkPrimitives(b *testing.B, data []byte, workers int) {
	sealer := store.NewSealer(store.SharingKey{1})
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := f.Truncate(0); err != nil {
			b.Fatal(err)
		}
		primitives(b, sealer, f, data, workers)
	}
}

// primitives cuts on the calling goroutine, as a stream must, and does the
// rest on all of them.
func primitives(b *testing.B, sealer *store.Sealer, f *os.File, data []byte, workers int) {
	chunks := make(chan []byte, 2*workers)
	var end atomic.Int64
	seal := func(buf, chunk []byte) []byte {
		_, sealed, err := sealer.Seal(buf[:0], store.ChunkData, chunk)
		if err == nil {
			_, err = f.WriteAt(sealed, end.Add(int64(len(sealed)))-int64(len(sealed)))
		}
		if err != nil {
			b.Error(err)
		}
		return sealed
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(func() {
			var buf []byte
			for c := range chunks {
				buf = seal(buf, c)
			}
		})
	}
	split := sealer.NewSplitter()
	var buf []byte
	for len(data) > 0 {
		n := split.Next(data, true)
		chunk := data[:n]
		data = data[n:]
		select { // helps when the others have enough to do
		case chunks <- chunk:
			if workers > 1 {
				continue
			}
			buf = seal(buf, <-chunks)
		default:
			buf = seal(buf, chunk)
		}
	}
	close(chunks)
	for c := range chunks {
		buf = seal(buf, c)
	}
	wg.Wait()
}
