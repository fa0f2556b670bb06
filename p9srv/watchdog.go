package p9srv

import (
	"sync"
	"sync/atomic"
	"time"
)

// watchdog looks at all connections of a server once a tick, as long as
// requests are run. Its goroutine lives from the first connection to the
// last.
type watchdog struct {
	asleep atomic.Bool
	alarm  chan struct{} // made with the first connection, and kept

	mu    sync.Mutex // guards what follows; taken before a conn's mu
	conns map[*conn]struct{}
	stop  chan struct{} // closed to end the goroutine; nil: there is none
	done  chan struct{}
}

// tickTime is how long a request may keep others waiting, give or take one.
const tickTime = time.Millisecond

// idleTicks is for how long nothing must go on before the watchdog sleeps.
const idleTicks = 20

// add starts looking after c.
func (w *watchdog) add(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		w.conns = make(map[*conn]struct{})
		w.alarm = make(chan struct{}, 1)
	}
	w.conns[c] = struct{}{}
	if w.stop == nil {
		w.stop, w.done = make(chan struct{}), make(chan struct{})
		go w.run(w.stop, w.done)
	}
}

// remove stops looking after c, and waits for the goroutine if c was the
// last one.
func (w *watchdog) remove(c *conn) {
	w.mu.Lock()
	delete(w.conns, c)
	if len(w.conns) > 0 {
		w.mu.Unlock()
		return
	}
	stop, done := w.stop, w.done
	w.stop, w.done = nil, nil
	w.mu.Unlock()
	close(stop)
	<-done
}

// wake is called when a request begins.
func (w *watchdog) wake() {
	if w.asleep.Load() {
		select {
		case w.alarm <- struct{}{}:
		default:
		}
	}
}

func (w *watchdog) run(stop, done chan struct{}) {
	defer close(done)
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for idle := 0; ; {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			if idle++; w.look(now) {
				idle = 0
			}
		}
		if idle < idleTicks {
			continue
		}
		tick.Stop()
		if !w.sleep(stop) {
			return
		}
		idle = 0
		tick.Reset(tickTime)
	}
}

// look looks at every connection; true: something goes on.
func (w *watchdog) look(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	busy := false
	for c := range w.conns {
		busy = c.tick(now) || busy
	}
	return busy
}

// sleep waits for a request; false: to be stopped. What began before asleep
// was set is found by looking once more.
func (w *watchdog) sleep(stop chan struct{}) bool {
	w.asleep.Store(true)
	defer w.asleep.Store(false)
	if w.look(time.Now()) {
		return true
	}
	select {
	case <-w.alarm:
		return true
	case <-stop:
		return false
	}
}
