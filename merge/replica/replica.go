package replica

import (
	"context"
	"sync"

	"bazil/store"
	"bazil/store/vol"
)

// Replica is a volume that pulls from peers. All that pull into one open
// volume share one Replica: it keeps them from finishing a directory on the
// strength of what another pull has changed since.
type Replica struct {
	Volume *vol.Volume
	Chunks *store.Chunks // where the volume's content is

	once  sync.Once
	turn  chan struct{} // holds one token: who has it applies or finishes
	mu    sync.Mutex    // guards pulls
	pulls map[*pull]bool
}

func (r *Replica) setUp() {
	r.once.Do(func() {
		r.turn = make(chan struct{}, 1)
		r.pulls = map[*pull]bool{}
	})
}

// begin makes a pull known to the others.
func (r *Replica) begin(p *pull) {
	r.setUp()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulls[p] = true
}

func (r *Replica) end(p *pull) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pulls, p)
}

// take waits until no other pull is applying or finishing a directory.
func (r *Replica) take(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Replica) give() { <-r.turn }

// others returns the other pulls under way.
func (r *Replica) others(p *pull) []*pull {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*pull, 0, len(r.pulls))
	for o := range r.pulls {
		if o != p {
			out = append(out, o)
		}
	}
	return out
}
