package vol

import (
	"container/list"
	"context"
	"sync"
)

// dirtyBudget bounds the memory that a volume's unsaved bytes take. A writer
// acquires what it is about to add and waits if there is no room; sealed data
// gives its share back. Where more than half is held by data that is not
// being sealed, and a writer waits, the volume is asked for a flush.
type dirtyBudget struct {
	limit   int64
	pressed chan struct{} // capacity 1: a flush is wanted

	mu      sync.Mutex // guards all below
	used    int64
	sealing int64 // of used, what comes back without a flush
	waiters list.List
}

// budgetWaiter is an element of waiters.
type budgetWaiter struct {
	n     int64
	ready chan error // capacity 1: nil when n was taken
}

func newDirtyBudget(limit int64) *dirtyBudget {
	return &dirtyBudget{limit: limit, pressed: make(chan struct{}, 1)}
}

// largest is the most that should be acquired at once.
func (b *dirtyBudget) largest() int64 { return max(b.limit/4, 64<<10) }

// acquire takes n bytes, in turn; the error is ctx's, or one of refuse.
func (b *dirtyBudget) acquire(ctx context.Context, n int64) error {
	b.mu.Lock()
	if b.waiters.Len() == 0 && b.fits(n) {
		b.used += n
		b.mu.Unlock()
		return nil
	}
	w := &budgetWaiter{n: n, ready: make(chan error, 1)}
	e := b.waiters.PushBack(w)
	b.press()
	b.mu.Unlock()
	select {
	case err := <-w.ready:
		return err
	case <-ctx.Done():
		b.abandon(e, w)
		return ctx.Err()
	}
}

func (b *dirtyBudget) abandon(e *list.Element, w *budgetWaiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case err := <-w.ready:
		if err == nil {
			b.used -= w.n
		}
	default:
		b.waiters.Remove(e)
	}
	b.grant()
}

// force takes n bytes whether there is room or not.
func (b *dirtyBudget) force(n int64) {
	b.mu.Lock()
	b.used += n
	b.mu.Unlock()
}

// release gives n bytes back.
func (b *dirtyBudget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.used -= n
	b.grant()
	b.mu.Unlock()
}

// seal says that n bytes will come back by themselves.
func (b *dirtyBudget) seal(n int64) {
	b.mu.Lock()
	b.sealing += n
	b.mu.Unlock()
}

// sealed ends a seal: the bytes come back if it went well.
func (b *dirtyBudget) sealed(n int64, ok bool) {
	b.mu.Lock()
	b.sealing -= n
	if ok {
		b.used -= n
	}
	b.grant()
	b.mu.Unlock()
}

// refuse fails those who wait now: what they wait for cannot be sealed.
func (b *dirtyBudget) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.waiters.Front(); e != nil; e = b.waiters.Front() {
		b.waiters.Remove(e).(*budgetWaiter).ready <- err
	}
}

func (b *dirtyBudget) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// fits lets one in that is larger than the whole budget when it is alone.
func (b *dirtyBudget) fits(n int64) bool { return b.used+n <= b.limit || b.used == 0 }

// grant lets waiters in, in turn.
func (b *dirtyBudget) grant() {
	for e := b.waiters.Front(); e != nil; e = b.waiters.Front() {
		w := e.Value.(*budgetWaiter)
		if !b.fits(w.n) {
			b.press()
			return
		}
		b.used += w.n
		b.waiters.Remove(e)
		w.ready <- nil
	}
}

// press asks for a flush if only a flush makes room.
func (b *dirtyBudget) press() {
	if b.used-b.sealing <= b.limit/2 && b.sealing > 0 {
		return
	}
	select {
	case b.pressed <- struct{}{}:
	default:
	}
}
