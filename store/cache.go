package store

import "sync"

// cache keeps the plaintext of chunks, those used longest ago leaving first,
// within a bound of bytes. It is cut into shards by ID so that readers seldom
// meet. It also makes those who want one chunk at one time wait for one load.
type cache struct {
	shards []cacheShard
	limit  int64 // bytes of each shard
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
)

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
		s.insert(&cacheEntry{p: f.p, t: f.t, plain: f.plain}, c.limit)
	}
	close(f.done)
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
