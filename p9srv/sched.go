package p9srv

import (
	"log/slog"
	"time"
)

// Requests are run by the goroutine that read them, so that a quick one costs
// no switch of goroutines. That goroutine holds the baton: the right to read
// the connection. When its request takes long, the watchdog passes the baton
// to a new goroutine, which reads on; the first one answers its request
// whenever it is done, and ends. A request that is known to wait passes the
// baton itself.
//
// turn tells who has the baton. The holder makes it odd when it begins a
// request and even with a compare-and-swap when it is done. Whoever passes
// the baton makes it even before the holder does; the holder then finds that
// it is not the holder any more.
//
// It takes the watchdog a millisecond or two to find a slow request. So that
// many slow ones do not add up before a request that comes behind them, a
// Tflush of theirs for example, reads and writes pass the baton themselves
// while there are any (mayBeSlow). If all reads did, so that chunks of several
// small files are opened at once, four readers would get the files of a source
// tree at 95 MB/s and not at 117 to 139. A sync passes it if others stand behind
// it, which it then shares a flush with, or if the last one was slow.

// hold serves the connection for as long as it has the baton.
func (c *conn) hold() {
	defer c.wg.Done()
	c.out.flush()
	for {
		r, err := c.next()
		if err != nil {
			if r != nil {
				r.recycle()
			}
			c.end(err)
			return
		}
		if !c.perform(r) {
			c.work(r)
			return
		}
		r.recycle()
	}
}

// perform runs r as the holder of the baton. False: it was passed on
// meanwhile, and r still counts as working.
func (c *conn) perform(r *request) bool {
	r.more = c.in.ready()
	c.cur = r
	turn := c.turn.Add(1)
	c.srv.watch.wake()
	c.finish(r, c.attempt(r))
	if !r.more || c.out.large() {
		c.out.flush()
	}
	if c.turn.CompareAndSwap(turn, turn+1) {
		return true
	}
	c.out.flush()
	return false
}

// attempt runs r unless its tag is that of another request at work.
func (c *conn) attempt(r *request) error {
	if c.working.Load() == 0 || r.typ == Tversion {
		return r.run()
	}
	c.mu.Lock()
	other := c.tags[r.tag] // r itself, if the baton was passed already
	c.mu.Unlock()
	if other != nil && other != r {
		r.begin()
		return errTagInUse
	}
	return r.run()
}

// work ends the request r, which runs beside the holder, and does those of
// the backlog that it made room for.
func (c *conn) work(r *request) {
	for r != nil {
		next := c.retire(r)
		r.recycle()
		if r = next; r != nil {
			c.out.waitRoom(c.maxUnread()) //nolint:errcheck // then nobody hears of it
			c.finish(r, r.run())
			c.out.flush()
		}
	}
}

// retire takes r, which is finished, off the books and the next request out
// of the backlog.
func (c *conn) retire(r *request) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working.Add(-1)
	if r.slow {
		c.slow.Add(-1)
	}
	r.sess.working--
	c.holds(-r.size)
	c.freed()
	if c.full() {
		return nil
	}
	next := c.dequeue()
	if next != nil {
		c.working.Add(1)
		next.sess.working++
		c.holds(next.size)
	}
	return next
}

// mayWait is called by a handler whose request may wait for something: the
// connection is read on by another goroutine from here.
func (r *request) mayWait() {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if turn := c.turn.Load(); !r.passed && turn&1 == 1 {
		c.pass(turn, false)
	}
}

// mayBeSlow is called by a handler whose request is one of those that were slow
// when there were any.
func (r *request) mayBeSlow() {
	if r.c.slow.Load() > 0 {
		r.mayWait()
	}
}

// pass gives the baton to a new goroutine, if turn still stands; mu is held.
func (c *conn) pass(turn uint64, slow bool) {
	if c.closed {
		return
	}
	c.wg.Add(1)
	if !c.turn.CompareAndSwap(turn, turn+1) {
		c.wg.Done()
		return
	}
	r := c.cur
	r.passed = true
	if r.slow = slow; slow {
		c.slow.Add(1)
	}
	r.pinned = c.in.swap()
	r.size += len(r.pinned.b)
	c.working.Add(1)
	r.sess.working++
	c.holds(r.size)
	if !r.finished && c.tags[r.tag] == nil {
		c.tags[r.tag] = r
	}
	go c.hold()
}

// finish makes r's reply, or none where it was flushed, and the Rflush of
// those who wait for it. err is what its handler said.
func (c *conn) finish(r *request, err error) {
	if err != nil {
		r.logError(err)
		r.fail(err)
	}
	r.seal()
	c.mu.Lock()
	defer c.mu.Unlock()
	r.finished = true
	if r.abandoned {
		r.free.release()
		return
	}
	if err == errLater || len(r.flushes) > 0 && interrupted(err) {
		r.free.release()
	} else {
		c.out.add(r.out, r.data, r.free)
	}
	c.answerFlushes(r)
	if c.tags[r.tag] == r {
		delete(c.tags, r.tag)
	}
}

// logError tells a log that wants to know of every request that failed.
func (r *request) logError(err error) {
	if l := r.c.srv.Log; err != errLater && l != nil && l.Enabled(r.c.ctx, slog.LevelDebug) {
		l.Debug("9p request failed", "conn", r.c.id, "request", r.typ.String(), "tag", r.tag, "err", err)
	}
}

// tick is the watchdog's look at the connection. It passes the baton when
// the holder's request is the same as at the last look, and ends flushes whose
// time is over. False: nothing goes on here.
func (c *conn) tick(now time.Time) bool {
	turn := c.turn.Load()
	same := turn == c.ticked
	c.ticked = turn
	if same && turn&1 == 1 {
		c.mu.Lock()
		c.pass(turn, true)
		c.mu.Unlock()
	}
	if c.overdue.Load() {
		c.expireFlushes(now)
		return true
	}
	return !same
}
