package daemon

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"bazil/store"
)

// pacer keeps garbage from doubling the memory of the process. The garbage
// collector lets the heap grow by a part of what lives in it. The cache of
// chunks is most of that but costs the collector no work, so the heap need not
// grow for it; and beyond freeGrowth it grows by half of what else lives in
// it, so that collecting costs at most twice as much.
//
// It looks after each collection, as what lives can become many times as much
// within a second.
type pacer struct {
	chunks *store.Chunks
	cycle  chan struct{} // capacity 1: a collection has ended
	stop   chan struct{}
	done   sync.WaitGroup
	base   int // the percentage that holds while little lives
}

// freeGrowth is how much the heap may always grow between two collections.
const freeGrowth = 64 << 20

func startPacer(chunks *store.Chunks) *pacer {
	p := &pacer{chunks: chunks, cycle: make(chan struct{}, 1), stop: make(chan struct{})}
	p.base = debug.SetGCPercent(100)
	debug.SetGCPercent(p.base)
	if p.base > 0 { // else the user has switched it off
		p.watch()
		p.done.Go(p.run)
	}
	return p
}

func (p *pacer) close() {
	close(p.stop)
	p.done.Wait()
	debug.SetGCPercent(p.base)
}

// watch has cycle filled after each collection, which finds what nothing
// refers to.
func (p *pacer) watch() {
	runtime.AddCleanup(new(sentinel), func(p *pacer) {
		select {
		case <-p.stop:
			return
		case p.cycle <- struct{}{}:
		default:
		}
		p.watch()
	}, p)
}

// sentinel has a pointer, so that it shares its memory with nothing.
type sentinel struct{ _ *sentinel }

func (p *pacer) run() {
	for now := p.base; ; {
		select {
		case <-p.cycle:
		case <-p.stop:
			return
		}
		if want := p.percent(liveHeap(), p.chunks.Stats().Cached); want < now*7/8 || want > now*9/8 {
			debug.SetGCPercent(want)
			now = want
		}
	}
}

// percent is how much the heap may grow, in hundredths of what lives in it.
func (p *pacer) percent(live, cached int64) int {
	growth := max((live-cached)*int64(p.base)/200, freeGrowth)
	return int(min(100*growth/max(live, 1), int64(p.base)))
}

// liveHeap is what the last collection found alive.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
