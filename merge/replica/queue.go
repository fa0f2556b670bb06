package replica

import (
	"slices"
	"sync"
)

// broadMost is how many directories wait before those found last are asked for
// first: few of a tree then wait, however many it has. Up to there those found
// first come first, so that a deep part of it is not left to the end.
const broadMost = 1 << 14

// queue holds the directories that are to be asked for, and knows when no more
// can come.
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

// room is how many more there may be for at most most to wait.
func (q *queue) room(most int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(most-len(q.nodes), 0)
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
	from := 0
	if len(q.nodes) > broadMost {
		from = len(q.nodes) - n
	}
	out := slices.Clone(q.nodes[from : from+n])
	clear(q.nodes[from : from+n]) // lest they stay in memory
	if from == 0 {
		q.nodes = q.nodes[n:]
	} else {
		q.nodes = q.nodes[:from]
	}
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
