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
	c.add(key(200), ChunkData, make([]byte, 4<<20), false) // more than half a shard
	if n := c.size(); n != 0 {
		t.Fatalf("%d bytes of a chunk that is too large", n)
	}
	for i := range 100 {
		c.add(key(i), ChunkData, make([]byte, 256<<10), false)
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

func TestCacheSweep(t *testing.T) {
	c := newCache(64 << 20)
	used, idle := &Pointer{ID: ID{1}}, &Pointer{ID: ID{2}}
	c.add(used, ChunkData, []byte("used"), false)
	c.add(idle, ChunkData, []byte("idle"), false)
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
