package replica

import "sync"

// queue holds the directories that are to be asked for, those found first
// first, and knows when no more can come.
type queue struct {
	mu      sync.Mutex // guards all below
	changed sync.Cond
	nodes   []*node
	busy    int // workers that may add more
	stopped bool
}

func (q *queue) add(nodes ...*node) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nodes = append(q.nodes, nodes...)
	q.wake()
}

// take returns up to n nodes, and no more than the caller's share where of
// takers others are idle; none when there is nothing left to do. Each take that
// returned some is followed by a done.
func (q *queue) take(n, takers int) []*node {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.nodes) == 0 && q.busy > 0 && !q.stopped {
		q.cond().Wait()
	}
	if q.stopped || len(q.nodes) == 0 {
		return nil
	}
	idle := max(takers-q.busy, 1)
	q.busy++
	n = min(n, (len(q.nodes)+idle-1)/idle)
	out := q.nodes[:n:n]
	q.nodes = q.nodes[n:]
	return out
}

func (q *queue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	q.wake()
}

// stop makes every take return nothing.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.wake()
}

func (q *queue) wake() { q.cond().Broadcast() }

func (q *queue) cond() *sync.Cond {
	if q.changed.L == nil {
		q.changed.L = &q.mu
	}
	return &q.changed
}
