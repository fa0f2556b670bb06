package daemon

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"bazil/store"
)

// pacer keeps the cache of chunks from doubling the memory of the process. The
// garbage collector lets the heap grow by a part of what lives in it, and the
// cache is most of that but costs it no work: so the part is made smaller as
// the cache gets larger, and the heap grows by as much as without it. A burst
// of garbage, as when many small files come in, is met by a limit of memory
// that moves with what lives: near it the collector works more often.
type pacer struct {
	chunks *store.Chunks
	stop   chan struct{}
	done   sync.WaitGroup
	now    int  // the percentage that holds
	base   int  // the percentage that holds while the cache is empty
	limits bool // the memory limit is not the user's
}

// minGrowth is how much the heap may always grow between two collections.
const minGrowth = 64 << 20

// spare is how much memory beside the cache is no reason to work harder, and
// minSpare how much beside all that lives.
const (
	spare    = 64 << 20
	minSpare = 32 << 20
)

func startPacer(chunks *store.Chunks) *pacer {
	p := &pacer{chunks: chunks, stop: make(chan struct{})}
	p.base = debug.SetGCPercent(100)
	p.now = p.base
	debug.SetGCPercent(p.base)
	p.limits = debug.SetMemoryLimit(-1) == math.MaxInt64
	if p.base > 0 { // else the user has switched it off
		p.pace()
		p.done.Go(p.run)
	}
	return p
}

func (p *pacer) close() {
	close(p.stop)
	p.done.Wait()
	debug.SetGCPercent(p.base)
	if p.limits {
		debug.SetMemoryLimit(math.MaxInt64)
	}
}

func (p *pacer) run() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.pace()
		case <-p.stop:
			return
		}
	}
}

// pace sets the collector by what lives now.
func (p *pacer) pace() {
	live, cached := liveHeap(), p.chunks.Stats().Cached
	if want := p.percent(live, cached); want < p.now*7/8 || want > p.now*9/8 {
		debug.SetGCPercent(want)
		p.now = want
	}
	if p.limits {
		debug.SetMemoryLimit(limit(live, cached))
	}
}

// limit is how much memory the process may have before the collector works
// harder.
func limit(live, cached int64) int64 { return max(cached+spare, live+minSpare) }

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
