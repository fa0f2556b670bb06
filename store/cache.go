package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// cache keeps the plaintext of chunks, those used longest ago leaving first,
// within a bound of bytes; what nobody used for a few minutes leaves, too. It
// is cut into shards by ID so that readers seldom meet. It also makes those who
// want one chunk at one time wait for one load.
type cache struct {
	shards []cacheShard
	limit  int64         // bytes of each shard
	now    atomic.Uint32 // goes up with every sweep
}

type cacheShard struct {
	mu      sync.Mutex // guards the rest and the links of its entries
	entries map[ID]*cacheEntry
	flights map[ID]*flight
	bytes   int64
	ring    cacheEntry // its next is the newest, its prev the oldest
}

// cacheEntry is a chunk in the cache.
type cacheEntry struct {
	next, prev *cacheEntry
	p          Pointer
	t          ChunkType
	used       uint32 // cache.now when it was used last
	plain      []byte
}

// flight is a load under way. Its outcome is set before done is closed.
type flight struct {
	reader *Reader
	p      Pointer
	t      ChunkType
	done   chan struct{}
	plain  []byte
	err    error
}

const (
	cacheShards       = 16
	cacheShardMin     = 4 * MaxPlain // smaller shards would thrash
	cacheEntryExtra   = 256          // what an entry costs beside its plaintext
	cacheEntryMaxPart = 2            // an entry larger than this part of a shard is not kept
	cacheSweep        = 30 * time.Second
	cacheIdleSweeps   = 10 // sweeps after which an entry that was not used leaves
)

// defaultCacheBytes is an eighth of the machine's memory, but not more than
// a server may take without asking.
func defaultCacheBytes() int64 { return min(max(memoryBytes()/8, 64<<20), 1<<30) }

func newCache(bytes int64) *cache {
	n := max(1, min(cacheShards, bytes/cacheShardMin))
	c := &cache{shards: make([]cacheShard, n), limit: bytes / n}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries, s.flights = map[ID]*cacheEntry{}, map[ID]*flight{}
		s.ring.next, s.ring.prev = &s.ring, &s.ring
	}
	return c
}

func (c *cache) shard(id *ID) *cacheShard { return &c.shards[int(id[31])%len(c.shards)] }

func (c *cache) size() (n int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}

// begin returns the plaintext if it is here. Otherwise it returns the load
// under way, or a new one, which the caller must then finish.
func (c *cache) begin(r *Reader, p *Pointer, t ChunkType) (plain []byte, f *flight, mine bool) {
	s := c.shard(&p.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[p.ID]; e != nil && e.t == t && e.p.Key.Equal(p.Key) {
		e.used = c.now.Load()
		s.unlink(e)
		s.linkNewest(e)
		return e.plain, nil, false
	}
	if f := s.flights[p.ID]; f != nil {
		return nil, f, false
	}
	f = &flight{reader: r, p: *p, t: t, done: make(chan struct{})}
	s.flights[p.ID] = f
	return nil, f, true
}

// finish ends a load and keeps its outcome if it is a chunk.
func (c *cache) finish(f *flight) {
	s := c.shard(&f.p.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, f.p.ID)
	if f.err == nil {
		s.insert(&cacheEntry{p: f.p, t: f.t, used: c.now.Load(), plain: f.plain}, c.limit)
	}
	close(f.done)
}

// add keeps the plaintext of a chunk, or a copy of it, unless it is too large
// or here already. The caller has made sure that it is that.
func (c *cache) add(p *Pointer, t ChunkType, plain []byte, clone bool) {
	s := c.shard(&p.ID)
	if int64(len(plain))+cacheEntryExtra > c.limit/cacheEntryMaxPart || s.has(&p.ID) {
		return
	}
	if clone {
		plain = append([]byte(nil), plain...)
	}
	e := &cacheEntry{p: *p, t: t, used: c.now.Load(), plain: plain}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(e, c.limit)
}

func (s *cacheShard) has(id *ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[*id] != nil
}

// sweepLoop gives the memory of what nobody uses back.
func (c *cache) sweepLoop(ctx context.Context) {
	t := time.NewTicker(cacheSweep)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.sweep()
		case <-ctx.Done():
			return
		}
	}
}

// sweep drops what was not used since cacheIdleSweeps sweeps ago.
func (c *cache) sweep() {
	now := c.now.Add(1)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for e := s.ring.prev; e != &s.ring && now-e.used > cacheIdleSweeps; e = s.ring.prev {
			s.drop(e)
		}
		s.mu.Unlock()
	}
}

func (s *cacheShard) insert(e *cacheEntry, limit int64) {
	if e.cost() > limit/cacheEntryMaxPart {
		return
	}
	if old := s.entries[e.p.ID]; old != nil {
		s.drop(old)
	}
	s.entries[e.p.ID] = e
	s.bytes += e.cost()
	s.linkNewest(e)
	for s.bytes > limit {
		s.drop(s.ring.prev)
	}
}

func (e *cacheEntry) cost() int64 { return int64(cap(e.plain)) + cacheEntryExtra }

func (s *cacheShard) drop(e *cacheEntry) {
	s.unlink(e)
	delete(s.entries, e.p.ID)
	s.bytes -= e.cost()
}

func (s *cacheShard) unlink(e *cacheEntry) {
	e.prev.next, e.next.prev = e.next, e.prev
}

func (s *cacheShard) linkNewest(e *cacheEntry) {
	e.prev, e.next = &s.ring, s.ring.next
	e.prev.next, e.next.prev = e, e
}
