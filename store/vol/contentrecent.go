package vol

import (
	"sync"

	"bazil/store"
)

// recentSeals remembers the pointers of what was sealed not long ago by the
// sums of the plaintext: the same content again is then neither compressed nor
// sealed, which is most of what it costs. Of a tree of source code with its
// documentation a quarter are such copies. A pointer that is found is as good
// as one just made only while the store has the chunk, which is to be asked.
//
// It has two generations: what is used goes into the younger, and the older
// goes when that is full.
type recentSeals struct {
	mu         sync.Mutex // guards all below
	young, old map[store.Key]store.Pointer
}

// recentMax is how many pointers a generation has: 150 bytes each.
const recentMax = 16 << 10

func newRecentSeals() *recentSeals {
	return &recentSeals{young: map[store.Key]store.Pointer{}}
}

func (r *recentSeals) find(sum *store.Key) (store.Pointer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.young[*sum]
	if !ok {
		if p, ok = r.old[*sum]; ok {
			r.put(sum, p)
		}
	}
	return p, ok
}

func (r *recentSeals) add(sum *store.Key, p store.Pointer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(sum, p)
}

func (r *recentSeals) put(sum *store.Key, p store.Pointer) {
	if len(r.young) >= recentMax {
		r.young, r.old = map[store.Key]store.Pointer{}, r.young
	}
	r.young[*sum] = p
}
