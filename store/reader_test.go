package store

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// fetchMap is a Fetcher that has some chunks.
type fetchMap struct {
	chunks map[ID][]byte
	calls  atomic.Int64
	gate   chan struct{} // if set, each call waits for it
}

func (f *fetchMap) Fetch(ctx context.Context, id ID) ([]byte, error) {
	f.calls.Add(1)
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b, ok := f.chunks[id]
	if !ok {
		return nil, ErrNotFound
	}
	return b, nil
}

func seal(t testing.TB, s *Sealer, typ ChunkType, plain []byte) (Pointer, []byte) {
	t.Helper()
	p, sealed, err := s.Seal(nil, typ, plain)
	if err != nil {
		t.Fatal(err)
	}
	return p, sealed
}

func TestReaderReads(t *testing.T) {
	s := mustOpen(t, newDir(t), Options{CacheBytes: 1 << 20})
	defer mustClose(t, s)
	ctx, sealer := context.Background(), NewSealer(testKey())
	r := s.Chunks().NewReader(sealer, nil)
	var ps []Pointer
	var plains [][]byte
	for i := range 24 {
		plain := noise(i*12_000, byte(i))
		if i%2 == 1 {
			plain = prose(i*12_000, uint64(i))
		}
		p, sealed := seal(t, sealer, ChunkData, plain)
		mustPut(t, s.Chunks(), chunk{p.ID, sealed})
		ps, plains = append(ps, p), append(plains, plain)
	}
	for range 3 {
		for i, p := range ps {
			got, err := r.Read(ctx, p, ChunkData)
			if err != nil || !bytes.Equal(got, plains[i]) || got == nil {
				t.Fatalf("chunk %d: %v", i, err)
			}
		}
		if n := s.Chunks().Stats().Cached; n <= 0 || n > 1<<20 {
			t.Errorf("%d bytes cached", n)
		}
	}
	bad := ps[3]
	bad.Key[0]++
	for range 2 { // cached or not, the key counts
		if _, err := r.Read(ctx, bad, ChunkData); !errors.Is(err, ErrDamaged) {
			t.Errorf("wrong key: %v", err)
		}
		if _, err := r.Read(ctx, ps[3], ChunkTree); !errors.Is(err, ErrDamaged) {
			t.Errorf("wrong type: %v", err)
		}
		if _, err := r.Read(ctx, ps[3], ChunkData); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Read(ctx, Pointer{ID: ID{1}}, ChunkData); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
}

func TestReaderHitDoesNotAllocate(t *testing.T) {
	s := mustOpen(t, newDir(t), Options{})
	defer mustClose(t, s)
	sealer := NewSealer(testKey())
	r := s.Chunks().NewReader(sealer, nil)
	p, sealed := seal(t, sealer, ChunkData, noise(100_000, 1))
	mustPut(t, s.Chunks(), chunk{p.ID, sealed})
	ctx := context.Background()
	read := func() {
		if _, err := r.Read(ctx, p, ChunkData); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

func TestReaderFetches(t *testing.T) {
	s := mustOpen(t, newDir(t), Options{})
	defer mustClose(t, s)
	ctx, sealer := context.Background(), NewSealer(testKey())
	p, sealed := seal(t, sealer, ChunkData, []byte("from afar"))
	liar, _ := seal(t, sealer, ChunkData, []byte("something else"))
	f := &fetchMap{chunks: map[ID][]byte{p.ID: sealed, liar.ID: sealed}}
	r := s.Chunks().NewReader(sealer, f)
	got, err := r.Read(ctx, p, ChunkData)
	if err != nil || string(got) != "from afar" {
		t.Fatalf("%q %v", got, err)
	}
	if !s.Chunks().Has(p.ID) {
		t.Error("fetched chunk was not stored")
	}
	if _, err := r.Read(ctx, liar, ChunkData); !errors.Is(err, ErrDamaged) || s.Chunks().Has(liar.ID) {
		t.Errorf("took wrong bytes: %v", err)
	}
	if _, err := r.Read(ctx, Pointer{ID: ID{9}}, ChunkData); !errors.Is(err, ErrNotFound) {
		t.Errorf("nowhere: %v", err)
	}
	if n := f.calls.Load(); n != 3 {
		t.Errorf("%d fetches", n)
	}
}

// TestReaderRepairs: a damaged chunk is fetched and stored again.
func TestReaderRepairs(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	sealer := NewSealer(testKey())
	p, sealed := seal(t, sealer, ChunkData, prose(5000, 1))
	mustPut(t, s.Chunks(), chunk{p.ID, sealed})
	mustSync(t, s.Chunks())
	flip(t, onlyFile(t, filepath.Join(dir, chunksDir, "*.seg")), 200)
	if _, err := s.Chunks().NewReader(sealer, nil).Read(context.Background(), p, ChunkData); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	if s.Chunks().Has(p.ID) {
		t.Error("damaged chunk counts as present")
	}
	f := &fetchMap{chunks: map[ID][]byte{p.ID: sealed}}
	if _, err := s.Chunks().NewReader(sealer, f).Read(context.Background(), p, ChunkData); err != nil {
		t.Error(err)
	}
	mustGet(t, s.Chunks(), chunk{p.ID, sealed})
}

// TestReaderSharesLoads: many who want one chunk fetch it once, and one who
// gives up does not take it from the others.
func TestReaderSharesLoads(t *testing.T) {
	s := mustOpen(t, newDir(t), Options{})
	defer mustClose(t, s)
	sealer := NewSealer(testKey())
	p, sealed := seal(t, sealer, ChunkData, []byte("wanted by all"))
	f := &fetchMap{chunks: map[ID][]byte{p.ID: sealed}, gate: make(chan struct{})}
	r := s.Chunks().NewReader(sealer, f)

	first, cancel := context.WithCancel(context.Background())
	gaveUp := make(chan error)
	go func() {
		_, err := r.Read(first, p, ChunkData)
		gaveUp <- err
	}()
	for f.calls.Load() == 0 {
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if got, err := r.Read(context.Background(), p, ChunkData); err != nil || string(got) != "wanted by all" {
				t.Errorf("%q %v", got, err)
			}
		})
	}
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(f.gate)
	wg.Wait()
	if n := f.calls.Load(); n > 2 {
		t.Errorf("fetched %d times", n)
	}
}

func BenchmarkChunks(b *testing.B) {
	for _, kind := range []string{"noise", "prose"} {
		b.Run("seal+put/"+kind, func(b *testing.B) { benchPut(b, kind, false) })
		b.Run("split+seal+put/parallel/"+kind, func(b *testing.B) { benchPut(b, kind, true) })
		b.Run("get+open/"+kind, func(b *testing.B) { benchGet(b, kind) })
	}
	b.Run("has", benchHas)
	b.Run("hit", benchHit)
}

const benchChunk = 256 << 10

// benchPlain returns content of which no two pieces are alike.
func benchPlain(kind string) func(i uint64) []byte {
	base := noise(64<<20, 1)
	if kind == "prose" {
		base = prose(16<<20, 1)
	}
	return func(i uint64) []byte {
		off := (i * 97_003) % uint64(len(base)-benchChunk)
		return base[off:][:benchChunk]
	}
}

func benchPut(b *testing.B, kind string, parallel bool) {
	s := mustOpen(b, newDir(b), Options{})
	defer s.Close()
	plain, sealer := benchPlain(kind), NewSealer(NewSharingKey())
	split := sealer.NewSplitter()
	var n atomic.Uint64
	work := func(next func() bool) {
		var buf []byte
		for next() {
			p := plain(n.Add(1))
			if parallel {
				split.Next(p, true)
			}
			ptr, sealed, _ := sealer.Seal(buf[:0], ChunkData, p)
			if _, err := s.Chunks().Put(context.Background(), ptr.ID, sealed); err != nil {
				b.Error(err)
			}
			buf = sealed
		}
	}
	b.SetBytes(benchChunk)
	b.ResetTimer()
	defer reportCPU(b, benchChunk)()
	if parallel {
		b.RunParallel(func(pb *testing.PB) { work(pb.Next) })
	} else {
		work(b.Loop)
	}
	mustSync(b, s.Chunks())
}

func benchGet(b *testing.B, kind string) {
	s := mustOpen(b, newDir(b), Options{CacheBytes: 1})
	defer s.Close()
	plain, sealer := benchPlain(kind), NewSealer(NewSharingKey())
	var ps []Pointer
	for i := range uint64(400) {
		p, sealed := seal(b, sealer, ChunkData, plain(i))
		mustPut(b, s.Chunks(), chunk{p.ID, sealed})
		ps = append(ps, p)
	}
	r := s.Chunks().NewReader(sealer, nil)
	b.SetBytes(benchChunk)
	b.ReportAllocs()
	defer reportCPU(b, benchChunk)()
	i := 0
	for b.Loop() {
		i++
		if _, err := r.Read(context.Background(), ps[i%len(ps)], ChunkData); err != nil {
			b.Fatal(err)
		}
	}
}

// benchHas looks up chunks in a store of many small ones.
func benchHas(b *testing.B) {
	s := mustOpen(b, newDir(b), Options{})
	defer s.Close()
	c := s.Chunks()
	var ids []ID
	for i := range 500_000 {
		ch := newChunk(uint64(i), 24)
		ids = append(ids, ch.id)
		mustPut(b, c, ch)
	}
	settle(b, c)
	for name, known := range map[string]bool{"present": true, "absent": false} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			defer reportCPU(b, 0)()
			i := 0
			for b.Loop() {
				i++
				id := ids[i*7919%len(ids)]
				if !known {
					id[17] ^= 0x55 // what the filter looks at
				}
				if c.Has(id) != known {
					b.Fatalf("Has is not %v", known)
				}
			}
		})
	}
}

func benchHit(b *testing.B) {
	s := mustOpen(b, newDir(b), Options{})
	defer s.Close()
	sealer := NewSealer(testKey())
	r := s.Chunks().NewReader(sealer, nil)
	p, sealed := seal(b, sealer, ChunkData, noise(100_000, 1))
	mustPut(b, s.Chunks(), chunk{p.ID, sealed})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(context.Background(), p, ChunkData); err != nil {
			b.Fatal(err)
		}
	}
}

// reportCPU reports what a benchmark took of processor time, which on a busy
// machine says more than the time that passed. Call it at the start; call what
// it returns at the end.
func reportCPU(b *testing.B, bytes int) func() {
	used := func() time.Duration {
		var ru syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
			b.Fatal(err)
		}
		return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	start := used()
	return func() {
		cpu := used() - start
		b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
		if bytes > 0 {
			b.ReportMetric(float64(bytes)*float64(b.N)/cpu.Seconds()/1e6, "MB/cpu-s")
		}
	}
}
