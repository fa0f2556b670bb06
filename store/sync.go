package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// flusher gathers those who wait for a flush.
type flusher struct {
	kick chan struct{} // somebody waits

	mu      sync.Mutex // guards waiting and stopped
	waiting []chan error
	stopped bool
}

// Sync returns when everything that was Put before is on disk. All who wait
// at one time share one flush. ErrFailed says that a flush failed: some of it
// may not be on disk. What can still be read is then written again elsewhere,
// and a later Sync tells whether that went well; while any of it is missing,
// Sync goes on failing.
func (c *Chunks) Sync(ctx context.Context) error {
	if !c.dirty() {
		return nil
	}
	done, err := c.flush.join()
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dirty says whether there is anything to flush.
func (c *Chunks) dirty() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.doubtful) > 0 {
		return true
	}
	for _, seg := range c.unsealed {
		if seg.size > seg.durable && !seg.failed {
			return true
		}
	}
	return false
}

// join asks for a flush and returns where its outcome will come.
func (f *flusher) join() (<-chan error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, fmt.Errorf("flush: %w", ErrClosed)
	}
	ch := make(chan error, 1)
	f.waiting = append(f.waiting, ch)
	select {
	case f.kick <- struct{}{}:
	default:
	}
	return ch, nil
}

// take returns all who wait.
func (f *flusher) take(stop bool) []chan error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.waiting
	f.waiting, f.stopped = nil, stop
	return w
}

// flushLoop flushes for all who wait, again and again.
func (c *Chunks) flushLoop() {
	for {
		select {
		case <-c.flush.kick:
			waiting := c.flush.take(false)
			answer(waiting, c.flushRound())
		case <-c.ctx.Done():
			answer(c.flush.take(true), fmt.Errorf("flush: %w", ErrClosed))
			return
		}
	}
}

func answer(waiting []chan error, err error) {
	for _, ch := range waiting {
		ch <- err
	}
}

// unflushed is a segment of which a part is not on disk.
type unflushed struct {
	seg  *segment
	size int64
	name bool // its name is not, either
}

// flushRound makes everything appended before durable.
func (c *Chunks) flushRound() error {
	rescued := c.rescue()
	var errs []error
	var names []unflushed
	for _, u := range c.unflushed() {
		if err := u.seg.flush(); err != nil {
			errs = append(errs, c.flushFailed(u.seg, err))
		} else if u.name {
			names = append(names, u)
		} else {
			c.flushed(u)
		}
	}
	return errors.Join(rescued, errors.Join(errs...), c.flushNames(names))
}

func (c *Chunks) unflushed() (dirty []unflushed) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, seg := range c.unsealed {
		if seg.size > seg.durable && !seg.failed {
			dirty = append(dirty, unflushed{seg, seg.size, seg.durable == 0})
		}
	}
	return dirty
}

// flushNames makes the names of new segments durable, whose data is.
func (c *Chunks) flushNames(names []unflushed) error {
	if len(names) == 0 {
		return nil
	}
	var errs []error
	err := c.files.syncDir(c.dir)
	for _, u := range names {
		if err != nil {
			errs = append(errs, c.flushFailed(u.seg, err))
		} else {
			c.flushed(u)
		}
	}
	return errors.Join(errs...)
}

func (c *Chunks) flushed(u unflushed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u.seg.durable = max(u.seg.durable, u.size)
}

// flush makes the file's content durable.
func (s *segment) flush() error {
	f, err := s.handle.acquire()
	if err != nil {
		return err
	}
	defer s.handle.release()
	return f.Sync()
}

// flushFailed gives up a segment for appending. The kernel may have dropped
// what it could not write, and a second flush would not tell: so everything
// beyond the last good flush is in doubt.
func (c *Chunks) flushFailed(seg *segment, err error) error {
	err = fmt.Errorf("%w: segment %d: %w", ErrFailed, seg.number, err)
	c.log.Error("segment is closed as failed", "segment", seg.number, "err", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	seg.failed = true
	for id, sp := range seg.mem {
		if e := seg.entry(id, sp); int64(sp.offset) >= seg.durable && !c.damaged[e] {
			c.doubtful[id] = e
		}
	}
	return err
}

// rescue writes the chunks in doubt anew, to a segment of their own, where
// they can still be read. It fails if any remains in doubt.
func (c *Chunks) rescue() error {
	todo := c.inDoubt()
	if len(todo) == 0 {
		return nil
	}
	seg, err := c.newSegment()
	if err != nil {
		return fmt.Errorf("%w: %d chunks written earlier are in doubt: %w", ErrFailed, len(todo), err)
	}
	var lost []error
	var buf []byte
	for _, e := range todo {
		if buf, err = c.rescueOne(seg, buf, e); err != nil {
			lost = append(lost, err)
		}
	}
	c.queueSeal(seg, false)
	if len(lost) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d chunks written earlier may be lost: %w", ErrFailed, len(lost), lost[0])
}

// inDoubt returns the chunks in doubt, in the order they were written.
func (c *Chunks) inDoubt() (todo []entry) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, e := range c.doubtful {
		todo = append(todo, e)
	}
	slices.SortFunc(todo, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.offset, b.offset))
	})
	return todo
}

func (c *Chunks) rescueOne(seg *segment, buf []byte, e entry) ([]byte, error) {
	from, _ := c.segmentOf(e)
	if from == nil {
		return buf, fmt.Errorf("chunk %v: %w", e.id, ErrNotFound)
	}
	sealed, err := from.readSealed(nil, e)
	if err == nil {
		err = VerifyID(e.id, sealed)
	}
	if err != nil {
		return buf, err
	}
	return c.appendTo(seg, buf, record{id: e.id, length: e.length, dataCRC: crc(sealed)}, sealed)
}
