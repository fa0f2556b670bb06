package store

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

func TestReaderKeeps(t *testing.T) {
	s := mustOpen(t, newDir(t), Options{CacheBytes: 32 << 20})
	defer mustClose(t, s)
	ctx, sealer := context.Background(), NewSealer(testKey())
	r := s.Chunks().NewReader(sealer, nil)
	want := noise(100_000, 1)
	plain := bytes.Clone(want)
	p, _ := seal(t, sealer, ChunkData, plain)
	r.KeepCopy(p, ChunkData, plain)
	clear(plain)
	if got, err := r.Read(ctx, p, ChunkData); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read what was kept: %v", err)
	}
	bad := p
	bad.Key[0]++
	if _, err := r.Read(ctx, bad, ChunkData); !errors.Is(err, ErrNotFound) {
		t.Errorf("another key: %v", err)
	}
	if _, err := r.Read(ctx, p, ChunkTree); !errors.Is(err, ErrNotFound) {
		t.Errorf("another type: %v", err)
	}
}

func TestCacheBounds(t *testing.T) {
	const limit = 8 << 20
	c := newCache(limit)
	key := func(i int) *Pointer { return &Pointer{ID: ID{0: byte(i), 31: byte(i)}} }
	c.add(nil, key(200), ChunkData, make([]byte, 4<<20), false) // more than half a shard
	if n := c.size(); n != 0 {
		t.Fatalf("%d bytes of a chunk that is too large", n)
	}
	for i := range 100 {
		c.add(nil, key(i), ChunkData, make([]byte, 256<<10), false)
		if n := c.size(); n <= 0 || n > limit {
			t.Fatalf("%d bytes after chunk %d, at most %d", n, i, limit)
		}
	}
	for i, here := range map[int]bool{0: false, 98: true, 99: true} {
		if c.shard(&key(i).ID).has(&key(i).ID) != here {
			t.Errorf("chunk %d here: %v", i, !here)
		}
	}
}

// load has the cache load a chunk unless it has it, and says whether it had.
func load(c *cache, p *Pointer, n int) (had bool) {
	_, f, mine := c.begin(&Reader{}, p, ChunkData)
	if f == nil {
		return true
	}
	if mine {
		f.plain = make([]byte, n)
		c.finish(f)
	}
	return false
}

// TestCacheOnce reads more than the cache holds, once and in sequence: neither
// does what was used leave for that, nor does the process grow. What is wanted
// again is kept from then on.
func TestCacheOnce(t *testing.T) {
	const limit, size = 32 << 20, 256 << 10
	c := newCache(limit)
	key := func(i int) *Pointer { return &Pointer{ID: ID{0: byte(i), 1: byte(i >> 8), 31: byte(i)}} }
	const used = 40 // 10 MiB
	for i := range used {
		c.add(nil, key(i), ChunkData, make([]byte, size), false)
	}
	before := c.size()
	for i := used; i < used+400; i++ {
		for range 3 { // a chunk takes several reads
			load(c, key(i), size)
		}
		if n := c.size() - before; n > limit/cacheOncePart+400*cacheEntryExtra {
			t.Fatalf("%d bytes of what was read once", n)
		}
	}
	for i := range used {
		if !load(c, key(i), size) {
			t.Errorf("chunk %d, which was used, has left", i)
		}
	}
	const again = used + 400 - 60 // not among the last 8 MiB, nor long gone
	if load(c, key(again), size) {
		t.Error("a chunk read long ago is still here")
	}
	for i := 1000; i < 1100; i++ {
		load(c, key(i), size)
	}
	if !load(c, key(again), size) {
		t.Error("a chunk that was wanted again has left")
	}
}

func TestCacheSweep(t *testing.T) {
	c := newCache(64 << 20)
	used, idle := &Pointer{ID: ID{1}}, &Pointer{ID: ID{2}}
	c.add(nil, used, ChunkData, []byte("used"), false)
	c.add(nil, idle, ChunkData, []byte("idle"), false)
	for range cacheIdleSweeps + 1 {
		c.sweep()
		if plain, _, _ := c.begin(nil, used, ChunkData); string(plain) != "used" {
			t.Fatalf("what is used has left: %q", plain)
		}
	}
	if c.shard(&idle.ID).has(&idle.ID) {
		t.Error("what nobody used is still here")
	}
	for range cacheIdleSweeps + 1 {
		c.sweep()
	}
	if n := c.size(); n != 0 {
		t.Errorf("%d bytes left", n)
	}
}

// TestCacheForgetsOld: of what left long ago nothing is remembered, and what is
// too large for the cache drives nothing out.
func TestCacheForgetsOld(t *testing.T) {
	const limit, size = 16 << 20, 256 << 10
	c := newCache(limit)
	key := func(i int) *Pointer { return &Pointer{ID: ID{0: byte(i), 1: byte(i >> 8)}} }
	for i := range 1000 {
		load(c, key(i), size)
	}
	s := &c.shards[0]
	if s.gone.stood > limit || len(s.entries) > 2*limit/size {
		t.Errorf("%d entries of %d bytes are remembered", len(s.entries), s.gone.stood)
	}
	before := c.size()
	load(c, key(2000), limit*3/4)
	if c.size() != before || s.has(&key(2000).ID) {
		t.Error("what is too large was kept")
	}
}

// TestReaderShares: a load answers who wants the same, with its error too unless
// that is one of its reader's own: where it fetches from, and who gave it up.
func TestReaderShares(t *testing.T) {
	one, two := &Reader{}, &Reader{}
	p := Pointer{ID: ID{1}, Key: Key{1}}
	other := Pointer{ID: ID{1}, Key: Key{2}}
	load := func(err error) *flight { return &flight{reader: one, p: p, t: ChunkData, err: err} }
	for name, test := range map[string]struct {
		r    *Reader
		f    *flight
		p    Pointer
		t    ChunkType
		want bool
	}{
		"same":                 {one, load(nil), p, ChunkData, true},
		"another reader":       {two, load(nil), p, ChunkData, true},
		"another key":          {one, load(nil), other, ChunkData, false},
		"another type":         {one, load(nil), p, ChunkTree, false},
		"not found":            {one, load(ErrNotFound), p, ChunkData, true},
		"not found by another": {two, load(ErrNotFound), p, ChunkData, false},
		"given up":             {one, load(context.Canceled), p, ChunkData, false},
		"out of time":          {one, load(context.DeadlineExceeded), p, ChunkData, false},
	} {
		if got := test.r.shares(test.f, &test.p, test.t); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
