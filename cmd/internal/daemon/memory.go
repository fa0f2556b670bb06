package daemon

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"bazil/store"
)

// pacer keeps the cache of chunks from doubling the memory of the process. The
// garbage collector lets the heap grow by a part of what lives in it, and the
// cache is most of that but costs it no work: so the part is made smaller as
// the cache gets larger, and the heap grows by as much as without it.
type pacer struct {
	chunks *store.Chunks
	stop   chan struct{}
	done   sync.WaitGroup
	base   int // the percentage that holds while the cache is empty
}

// minGrowth is how much the heap may always grow between two collections.
const minGrowth = 64 << 20

func startPacer(chunks *store.Chunks) *pacer {
	p := &pacer{chunks: chunks, stop: make(chan struct{})}
	p.base = debug.SetGCPercent(100)
	debug.SetGCPercent(p.base)
	if p.base > 0 { // else the user has switched it off
		p.done.Go(p.run)
	}
	return p
}

func (p *pacer) close() {
	close(p.stop)
	p.done.Wait()
	debug.SetGCPercent(p.base)
}

func (p *pacer) run() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for now := p.base; ; {
		select {
		case <-t.C:
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
	growth := max((live-cached)*int64(p.base)/100, minGrowth)
	return int(min(100*growth/max(live, 1), int64(p.base)))
}

// liveHeap is what the last collection found alive.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
