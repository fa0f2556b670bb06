package vol

import (
	"sync"
	"sync/atomic"

	"bazil/store"
)

// nodeCacheBytes bounds the opened extent chunks that a volume keeps.
const nodeCacheBytes = 16 << 20

// nodeCache keeps opened extent chunks, the ones used lately as far as its
// bound allows. Getting one takes no exclusive lock.
type nodeCache struct {
	max int64

	mu   sync.RWMutex // guards all below
	m    map[store.Pointer]*cachedNode
	ring []*cachedNode
	hand int
	size int64
}

type cachedNode struct {
	node *extentNode
	ptr  store.Pointer
	used atomic.Bool
}

func newNodeCache(max int64) *nodeCache {
	return &nodeCache{max: max, m: make(map[store.Pointer]*cachedNode)}
}

func (c *nodeCache) get(p store.Pointer) *extentNode {
	c.mu.RLock()
	e := c.m[p]
	c.mu.RUnlock()
	if e == nil {
		return nil
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.node
}

func (c *nodeCache) add(p store.Pointer, n *extentNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m[p] != nil {
		return
	}
	e := &cachedNode{node: n, ptr: p}
	c.m[p] = e
	c.ring = append(c.ring, e)
	c.size += n.memory()
	for c.size > c.max && len(c.ring) > 1 {
		c.evict(e)
	}
}

// evict drops the next node that was not used since the hand passed it last,
// and never the one just added.
func (c *nodeCache) evict(keep *cachedNode) {
	for {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		e := c.ring[c.hand]
		if e == keep || e.used.Swap(false) {
			c.hand++
			continue
		}
		last := len(c.ring) - 1
		c.ring[c.hand] = c.ring[last]
		c.ring[last] = nil
		c.ring = c.ring[:last]
		delete(c.m, e.ptr)
		c.size -= e.node.memory()
		return
	}
}
