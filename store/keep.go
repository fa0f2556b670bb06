package store

import "sync"

// keepSet is what a collection must not free: the first 8 bytes of each
// chunk's ID, which are a hash. A chunk that shares them with a live one is
// kept, too; that does no harm. It is safe for concurrent use.
type keepSet struct {
	shards [64]keepShard
}

type keepShard struct {
	mu   sync.Mutex // guards seen
	seen map[uint64]struct{}
}

func newKeepSet() *keepSet {
	k := &keepSet{}
	for i := range k.shards {
		k.shards[i].seen = map[uint64]struct{}{}
	}
	return k
}

func (k *keepSet) shard(id *ID) *keepShard { return &k.shards[id[8]%64] }

func (k *keepSet) add(id *ID) {
	s := k.shard(id)
	s.mu.Lock()
	s.seen[id.prefix()] = struct{}{}
	s.mu.Unlock()
}

func (k *keepSet) has(id *ID) bool {
	s := k.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.seen[id.prefix()]
	return ok
}

// touch tells a running collection that the chunk is in use. It comes before
// looking for the chunk: either the looker sees that a segment is dying, or
// the collection sees the touch.
func (c *Chunks) touch(id ID) {
	if k := c.keep.Load(); k != nil {
		k.add(&id)
	}
}
