package p9srv

import (
	"errors"
	"slices"
	"time"
)

// flushGrace is how long an Rflush waits for a request to end whose context
// was cancelled. Then the client hears that it is gone; what the
// request still does is undone or forgotten when it ends.
const flushGrace = 3 * time.Millisecond

// maxFlushes is how many Tflush may wait for one request: a client has no more
// tags.
const maxFlushes = 1 << 16

// errLater ends a Tflush that is answered when the other request ended.
var errLater = errors.New("answered later")

// flush answers Tflush: oldtag[2].
func flush(r *request) error {
	oldtag := r.in.U16()
	if err := r.parsed(); err != nil {
		return err
	}
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.tags[oldtag]
	if old == nil || old == r || c.unqueue(old) {
		return nil
	}
	if len(old.flushes) == maxFlushes {
		return errTagInUse
	}
	if len(old.flushes) == 0 {
		old.deadline = time.Now().Add(flushGrace)
		c.setFlushed(append(c.flushed, old))
		c.srv.watch.wake()
	}
	old.flushes = append(old.flushes, r.tag)
	old.ctx.cancel()
	r.answerLater()
	return errLater
}

// answerLater takes a Tflush off the books, of which nothing is left to be
// done: the other request may answer it before it ends, and the client use its
// tag again; mu is held.
func (r *request) answerLater() {
	r.finished = true
	if r.c.tags[r.tag] == r {
		delete(r.c.tags, r.tag)
	}
}

// unqueue takes r out of the backlog, if it is there; mu is held.
func (c *conn) unqueue(r *request) bool {
	i := slices.Index(c.backlog, r)
	if i < 0 {
		return false
	}
	c.backlog = slices.Delete(c.backlog, i, i+1)
	c.waits(-r.size - requestOverhead)
	delete(c.tags, r.tag)
	r.recycle()
	return true
}

// answerFlushes sends the Rflush of every Tflush for r; mu is held.
func (c *conn) answerFlushes(r *request) {
	if len(r.flushes) == 0 {
		return
	}
	for _, tag := range r.flushes {
		c.out.add([]byte{HeaderSize, 0, 0, 0, byte(Tflush) + 1, byte(tag), byte(tag >> 8)}, nil, nil)
	}
	r.flushes = nil
	if i := slices.Index(c.flushed, r); i >= 0 {
		c.setFlushed(slices.Delete(c.flushed, i, i+1))
	}
}

// setFlushed replaces the list of requests with flushes; mu is held.
func (c *conn) setFlushed(list []*request) {
	c.flushed = list
	c.overdue.Store(len(list) > 0)
}

// expireFlushes gives up the requests that were flushed and go on all the
// same.
func (c *conn) expireFlushes(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.flushed)
	for _, r := range slices.Clone(c.flushed) {
		if r.deadline.After(now) || r.committed {
			continue
		}
		r.abandoned = true
		delete(c.tags, r.tag)
		c.answerFlushes(r)
	}
	if len(c.flushed) == before || c.closed {
		return
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.out.flush()
	}()
}
