package vol

import (
	"context"
	"sync"

	"bazil/store"
)

// readAhead notices sequences of reads and opens the chunks that they are
// about to need. Several sequences may go on in one file, and the reads of
// each may come slightly out of order.
type readAhead struct {
	mu    sync.Mutex // guards all below; never waited for
	runs  [4]readRun
	clock uint32
}

// readRun is a sequence of reads.
type readRun struct {
	next int64 // the end of the furthest read
	done int64 // chunks that begin before it were asked for
	hits int
	used uint32
}

const (
	aheadBytes   = 1 << 20 // how far ahead chunks are opened
	aheadReorder = 16      // reads that may be on their way at once
	aheadHits    = 2       // reads in sequence before it is believed
)

// note takes notice of a read of n bytes at off.
func (a *readAhead) note(s *stored, off, n int64) {
	if s.form != formExtents || !a.mu.TryLock() {
		return
	}
	lo, hi := a.advance(off, n)
	a.mu.Unlock()
	if hi = min(hi, s.size); lo < hi {
		s.open(lo, hi)
	}
}

// advance returns the range whose chunks are to be opened now.
func (a *readAhead) advance(off, n int64) (lo, hi int64) {
	a.clock++
	slack := aheadReorder * n
	oldest := &a.runs[0]
	for i := range a.runs {
		r := &a.runs[i]
		if r.used != 0 && off >= r.next-slack && off <= r.next+slack {
			return r.read(off, n, a.clock)
		}
		if r.used < oldest.used {
			oldest = r
		}
	}
	*oldest = readRun{next: off + n, done: off, used: a.clock}
	if off == 0 {
		oldest.hits = aheadHits - 1 // a file is mostly read from its start
	}
	if n < store.AvgSplit {
		return 0, 0
	}
	oldest.done = off + n // several chunks: open them side by side
	return off, off + n
}

func (r *readRun) read(off, n int64, clock uint32) (lo, hi int64) {
	r.used = clock
	r.hits++
	r.next = max(r.next, off+n)
	if r.hits < aheadHits || r.done >= r.next+aheadBytes/2 {
		return 0, 0
	}
	lo = max(r.done, off)
	r.done = r.next + aheadBytes
	return lo, r.done
}

// open opens the chunks that begin in [lo, hi), or the one that has lo, in
// the background.
func (s *stored) open(lo, hi int64) {
	s.env.background(func(ctx context.Context) {
		for lo < hi {
			x, n, err := s.segment(ctx, lo, hi-lo)
			if err != nil {
				return
			}
			if x != nil && (x.off >= lo || x.at == 0) {
				ptr := x.ptr
				if !s.env.background(func(ctx context.Context) { s.warm(ctx, ptr) }) {
					return
				}
			}
			lo += n
		}
	})
}

// warm brings a chunk into the cache. Whoever reads it next gets the error.
func (s *stored) warm(ctx context.Context, p store.Pointer) {
	_, _ = s.env.reader.Read(ctx, p, store.ChunkData)
}
