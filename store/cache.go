package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// cache keeps the plaintext of chunks within a bound of bytes; what nobody used
// for a few minutes leaves. It is cut into shards by ID so that readers seldom
// meet. It also makes those who want one chunk at one time wait for one load.
//
// What leaves for want of room is chosen by the rule "2Q" (Johnson and Shasha,
// 1994): a chunk that was loaded is first in a queue of a quarter of the room,
// however often it is read there, and only if it is wanted again when it has
// left that does it get a place among those of which the one used longest ago
// leaves. So one who reads everything once, in sequence, neither drives out
// what others use nor makes the process grow. What was written here has its
// place among the used at once.
type cache struct {
	shards []cacheShard
	limit  int64         // bytes of each shard
	now    atomic.Uint32 // goes up with every sweep
}

type cacheShard struct {
	mu      sync.Mutex // guards the rest and the links of its entries
	entries map[ID]*cacheEntry
	flights map[ID]*flight
	once    cacheList // loaded and not wanted since they left it, in the order of loading
	used    cacheList // in the order of use
	gone    cacheList // left once not long ago: without plaintext
}

// cacheList is a ring of entries: next of the root is the newest, prev the
// oldest.
type cacheList struct {
	root  cacheEntry
	bytes int64 // that its entries take
	stood int64 // and took when they had their plaintext
}

// cacheEntry is a chunk in the cache.
type cacheEntry struct {
	list       *cacheList
	next, prev *cacheEntry
	p          Pointer
	t          ChunkType
	sealer     *Sealer // that p opens with
	seen       uint32  // cache.now when it was used last
	plain      []byte
	size       int64 // of the memory of plain, present or not
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
	cacheShardMin     = 16 * MaxPlain // smaller shards would thrash
	cacheOncePart     = 4             // the part of a shard for what was loaded once
	cacheEntryExtra   = 256           // what an entry costs beside its plaintext
	cacheEntryMaxPart = 2             // an entry larger than this part of a shard is not kept
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
		for _, l := range s.lists() {
			l.root.next, l.root.prev = &l.root, &l.root
		}
	}
	return c
}

func (c *cache) shard(id *ID) *cacheShard { return &c.shards[int(id[31])%len(c.shards)] }

func (c *cache) size() (n int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.bytes()
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
	if e := s.entries[p.ID]; e != nil && e.list != &s.gone && e.t == t && e.p.Key.Equal(p.Key) {
		e.seen = c.now.Load()
		if e.list == &s.used {
			s.used.take(e)
			s.used.put(e)
		}
		return e.plain, nil, false
	}
	if f := s.flights[p.ID]; f != nil {
		return nil, f, false
	}
	f = &flight{reader: r, p: *p, t: t, done: make(chan struct{})}
	s.flights[p.ID] = f
	return nil, f, true
}

// finish ends a load and keeps its outcome if it is a chunk. It counts as used
// if it was here not long ago.
func (c *cache) finish(f *flight) {
	s := c.shard(&f.p.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, f.p.ID)
	if f.err == nil {
		to := &s.once
		if s.entries[f.p.ID] != nil {
			to = &s.used
		}
		s.insert(to, newCacheEntry(f.reader.sealer, &f.p, f.t, f.plain, c.now.Load()), c.limit)
	}
	close(f.done)
}

// add keeps the plaintext of a chunk that s seals, or a copy of it, unless it is
// too large or here already. The caller has made sure that it is that.
func (c *cache) add(sealer *Sealer, p *Pointer, t ChunkType, plain []byte, clone bool) {
	s := c.shard(&p.ID)
	if int64(len(plain))+cacheEntryExtra > c.limit/cacheEntryMaxPart || s.has(&p.ID) {
		return
	}
	if clone {
		plain = append([]byte(nil), plain...)
	}
	e := newCacheEntry(sealer, p, t, plain, c.now.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(&s.used, e, c.limit)
}

// forget drops a chunk that is no longer in the store.
func (c *cache) forget(id *ID) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[*id]; e != nil {
		s.drop(e)
	}
}

// reseal seals the plaintext of a chunk that is here as it was sealed.
func (c *cache) reseal(id *ID) (sealed []byte, ok bool) {
	s := c.shard(id)
	s.mu.Lock()
	e := s.entries[*id]
	if e == nil || e.list == &s.gone {
		s.mu.Unlock()
		return nil, false
	}
	sealer, t, plain := e.sealer, e.t, e.plain
	s.mu.Unlock()
	p, sealed, err := sealer.Seal(nil, t, plain)
	return sealed, err == nil && p.ID == *id
}

func (s *cacheShard) has(id *ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[*id]
	return e != nil && e.list != &s.gone
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
		for _, l := range s.lists() {
			for e := l.oldest(); e != nil && now-e.seen > cacheIdleSweeps; e = l.oldest() {
				s.drop(e)
			}
		}
		s.mu.Unlock()
	}
}

func newCacheEntry(sealer *Sealer, p *Pointer, t ChunkType, plain []byte, now uint32) *cacheEntry {
	return &cacheEntry{p: *p, t: t, sealer: sealer, seen: now, plain: plain, size: int64(cap(plain))}
}

func (s *cacheShard) lists() [3]*cacheList { return [3]*cacheList{&s.once, &s.used, &s.gone} }

func (s *cacheShard) bytes() int64 { return s.once.bytes + s.used.bytes + s.gone.bytes }

// insert puts e in one of the lists, in the place of what there is of its ID,
// and makes room. The entry itself stays if it is the only one.
func (s *cacheShard) insert(to *cacheList, e *cacheEntry, limit int64) {
	if e.size+cacheEntryExtra > limit/cacheEntryMaxPart {
		return
	}
	if old := s.entries[e.p.ID]; old != nil {
		s.drop(old)
	}
	s.entries[e.p.ID] = e
	to.put(e)
	for s.once.bytes > limit/cacheOncePart && s.once.oldest() != e {
		s.forget(s.once.oldest())
	}
	for s.gone.stood > limit {
		s.drop(s.gone.oldest())
	}
	for s.bytes() > limit {
		s.drop(s.coldest(e))
	}
}

// coldest is what leaves when all room is taken: not e.
func (s *cacheShard) coldest(e *cacheEntry) *cacheEntry {
	for _, l := range [...]*cacheList{&s.used, &s.gone, &s.once} {
		if old := l.oldest(); old != nil && old != e {
			return old
		}
	}
	return e
}

// forget leaves of an entry only that it was here.
func (s *cacheShard) forget(e *cacheEntry) {
	e.list.take(e)
	e.plain = nil
	s.gone.put(e)
}

func (s *cacheShard) drop(e *cacheEntry) {
	e.list.take(e)
	delete(s.entries, e.p.ID)
}

// put makes e the newest.
func (l *cacheList) put(e *cacheEntry) {
	e.list, e.prev, e.next = l, &l.root, l.root.next
	l.root.next.prev = e
	l.root.next = e
	l.count(e, 1)
}

func (l *cacheList) take(e *cacheEntry) {
	l.count(e, -1)
	e.prev.next, e.next.prev = e.next, e.prev
}

// count adds what e takes to the list, or takes it off.
func (l *cacheList) count(e *cacheEntry, sign int64) {
	l.bytes += sign * (int64(cap(e.plain)) + cacheEntryExtra)
	l.stood += sign * (e.size + cacheEntryExtra)
}

// oldest is nil for an empty list.
func (l *cacheList) oldest() *cacheEntry {
	if e := l.root.prev; e != &l.root {
		return e
	}
	return nil
}
