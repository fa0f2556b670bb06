package store

import (
	"context"
	"sync"
)

// holds counts those who are between storing or finding a chunk and recording
// a reference to it. They are counted by period, so that a collection can wait
// for those that began before it and no others.
type holds struct {
	mu     sync.Mutex // guards the rest
	period *period    // the present one; nil: nobody held yet
}

// period is a stretch of time between two barriers.
type period struct {
	before *period // the one before, nil once it has ended
	held   int
	ended  chan struct{} // closed when it is over, nobody holds it, and none before it is held
}

// Hold keeps a collection that starts from now on from marking until release
// is called. Take one around "store chunks with Put, or find them with Has;
// then record the reference where the collection's mark finds it": what was
// stored or found meanwhile is then safe. Release may be called more than
// once. A hold should last no longer than a commit.
func (c *Chunks) Hold() (release func()) {
	p := c.holds.enter()
	var once sync.Once
	return func() { once.Do(func() { c.holds.leave(p) }) }
}

func (h *holds) enter() *period {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.period == nil {
		h.period = newPeriod(nil)
	}
	h.period.held++
	return h.period
}

func newPeriod(before *period) *period {
	return &period{before: before, ended: make(chan struct{})}
}

func (h *holds) leave(p *period) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.held--
	if p != h.period { // a barrier may wait for it
		h.settle()
	}
}

// settle ends the periods that are over and free, oldest first.
func (h *holds) settle() {
	var old []*period
	for p := h.period; p != nil; p = p.before {
		old = append(old, p)
	}
	for i := len(old) - 1; i > 0; i-- {
		if old[i].held > 0 {
			return
		}
		close(old[i].ended)
		old[i-1].before = nil
	}
}

// barrier starts a new period and waits until nobody holds an earlier one.
func (h *holds) barrier(ctx context.Context) error {
	h.mu.Lock()
	old := h.period
	if old == nil {
		old = newPeriod(nil)
	}
	h.period = newPeriod(old)
	h.settle()
	h.mu.Unlock()
	select {
	case <-old.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
