package vol

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"syscall"

	"bazil/store"
)

// content is the live bytes of one file: what is stored, and over it what was
// written since. It is safe for concurrent use.
//
// Reads of a file without unsaved changes take no lock: clean leads to the
// stored form, which never changes. Writes go to the live layer. A flush
// first freezes that layer, so that reads and writes go on beside it, seals
// what it has, and makes a new stored form of it:
//
//	reads → live → frozen → base
//
// Data written in sequence is cut into chunks and sealed while the writer
// goes on (splitStream); what is rewritten in place waits for the flush in
// aligned blocks (dirtyBlock).
//
// Locks are taken in this order: flushing, writing, mu, then those of the
// env, each of which is held only for a moment. I/O is never done under mu.
type content struct {
	env      *contentEnv
	noted    func() error           // called when a part of a write is done; may be nil
	clean    atomic.Pointer[stored] // base if there are no layers, else nil
	size     atomic.Int64           // changes under mu
	dirty    atomic.Int64           // bytes of the dirty budget that are ours
	ahead    readAhead
	writing  chan struct{} // a lock: held by who changes the bytes
	flushing chan struct{} // a lock: held by who makes a frozen layer stored

	mu        sync.RWMutex // guards all below, and the layers
	base      *stored
	bad       error // the body could not be read: no operation works
	live      *dirtyLayer
	frozen    *dirtyLayer
	streamAt  int64 // where a sequence of writes would go on while live is nil
	failure   error // of sealing in the background, not yet told to anyone
	fragments int   // pieces at the end that were stored before their chunk was finished
	settling  bool  // the flushes until there is no layer left do away with them

	// What is in no record of the log: since the last freeze for a commit group,
	// and before it, while that group is being made durable.
	fresh, older unlogged
}

// newContent does no I/O; a malformed body makes all operations fail with EIO.
func newContent(env *contentEnv, body Body) *content {
	c := &content{env: env, writing: make(chan struct{}, 1), flushing: make(chan struct{}, 1)}
	if c.base, c.bad = newStored(env, body); c.bad != nil {
		return c
	}
	c.streamAt = c.base.size
	c.size.Store(c.base.size)
	c.clean.Store(c.base)
	return c
}

// Size is the length of the file in bytes.
func (c *content) Size() int64 { return c.size.Load() }

// Dirty is how much memory the file's unsaved bytes take.
func (c *content) Dirty() int64 { return c.dirty.Load() }

// Changed tells whether the file differs from the Body that Flush returned
// last.
func (c *content) Changed() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.live != nil || c.frozen != nil || c.settling && c.fragments > 0
}

// Allocated is about how many bytes of the file are stored or in memory
// rather than holes.
func (c *content) Allocated() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.bad != nil {
		return 0
	}
	return min(c.base.allocated+c.dirty.Load(), c.size.Load())
}

// pendingChunks calls fn for the chunks that were stored for the file but are
// in no Body yet.
func (c *content) pendingChunks(fn func(store.ID)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, l := range []*dirtyLayer{c.live, c.frozen} {
		if l != nil {
			l.chunkIDs(fn)
		}
	}
}

// splitter finds the boundaries of chunks; it has no state of its own.
func (c *content) splitter() *store.Splitter { return c.env.splitter }

// lock takes one of the locks that may be held during I/O.
func lock(ctx context.Context, l chan struct{}) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func unlock(l chan struct{}) { <-l }

// WriteAt writes all of p, or says how much and why not more. It waits while
// the volume's dirty memory is used up. An error of sealing what was written
// before is told by the next write, and by Flush.
func (c *content) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := lock(ctx, c.writing); err != nil {
		return 0, err
	}
	defer unlock(c.writing)
	return c.write(ctx, p, off)
}

// Append writes p at the end of the file and returns where that was. Nothing
// gets between the parts of p.
func (c *content) Append(ctx context.Context, p []byte) (off int64, n int, err error) {
	if err := lock(ctx, c.writing); err != nil {
		return 0, 0, err
	}
	defer unlock(c.writing)
	off = c.size.Load()
	n, err = c.write(ctx, p, off)
	return off, n, err
}

func (c *content) write(ctx context.Context, p []byte, off int64) (n int, err error) {
	switch {
	case off < 0:
		return 0, fmt.Errorf("write at offset %d: %w", off, syscall.EINVAL)
	case off > fileMax-int64(len(p)):
		return 0, fmt.Errorf("write of %d bytes at offset %d: %w", len(p), off, syscall.EFBIG)
	}
	step := int(min(c.env.budget.largest(), store.MaxPlain))
	for n < len(p) {
		k := min(len(p)-n, step)
		if err := c.writeSome(ctx, p[n:n+k], off+int64(n)); err != nil {
			return n, err
		}
		if n += k; n < len(p) && c.noted != nil {
			if err := c.noted(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (c *content) writeSome(ctx context.Context, p []byte, off int64) error {
	if err := c.takeFailure(); err != nil {
		return err
	}
	if err := c.need(ctx, off, int64(len(p))); err != nil {
		return err
	}
	cost := blockCost(len(p))
	if err := c.env.budget.acquire(ctx, cost); err != nil {
		return err
	}
	c.mu.Lock()
	ps := c.restream(off)
	grown := c.put(p, off)
	c.dirty.Add(grown)
	c.mu.Unlock()
	c.env.budget.release(cost - grown)
	c.submit(ps...)
	c.cut(ctx)
	return nil
}

// takeFailure returns what went wrong in the background, once, and has it
// tried again.
func (c *content) takeFailure() error {
	c.mu.Lock()
	err := cmpErr(c.bad, c.failure)
	c.failure = nil
	var failed []*streamPiece
	if err != nil && c.live != nil {
		failed = append(failed, c.live.pieces...)
	}
	c.mu.Unlock()
	c.submit(failed...)
	return err
}

// touch returns the live layer.
func (c *content) touch() *dirtyLayer {
	if c.live == nil {
		c.live = newDirtyLayer(c.streamAt)
		c.clean.Store(nil)
	}
	return c.live
}

// restream lets a sequence of writes begin at off, if that is the end of the
// file and the stream has ended before. What the stream had is cut; the pieces
// are the caller's to submit.
func (c *content) restream(off int64) []*streamPiece {
	l := c.touch()
	if s := &l.stream; off != c.size.Load() || off <= s.end() || off <= smallMax || len(l.blocks) > 0 {
		return nil
	}
	ps := c.cutAll(l)
	l.stream = splitStream{start: unknownStart, off: off, from: off}
	return ps
}

// put writes p to the live layer and returns how much memory that took.
func (c *content) put(p []byte, off int64) (grown int64) {
	l := c.touch()
	s := &l.stream
	end, first, last := off+int64(len(p)), s.off, s.end()
	c.fresh.write(off, end)
	if off < first {
		grown += l.writeBlocks(p[:min(end, first)-off], off)
	}
	if lo, hi := max(off, first), min(end, last); lo < hi {
		s.overwrite(p[lo-off:hi-off], lo)
	}
	switch {
	case off > last:
		grown += l.writeBlocks(p, off)
	case end > last:
		grown += s.append(p[last-off:])
		freed, _ := l.forgetBlocks(last, end) // older than p
		grown += l.absorb() - freed
	}
	if end > c.size.Load() {
		c.size.Store(end)
	}
	return grown
}

// Truncate makes the file size bytes long; what is new is a hole.
func (c *content) Truncate(ctx context.Context, size int64) error {
	switch {
	case size < 0:
		return fmt.Errorf("truncate to %d bytes: %w", size, syscall.EINVAL)
	case size > fileMax:
		return fmt.Errorf("truncate to %d bytes: %w", size, syscall.EFBIG)
	}
	if err := lock(ctx, c.writing); err != nil {
		return err
	}
	defer unlock(c.writing)
	if err := c.needSize(ctx, size); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.size.Load()
	if c.bad != nil || size == old {
		return c.bad
	}
	l := c.touch()
	c.fresh.truncate(size)
	if size < old {
		c.shrink(l, size)
	}
	c.size.Store(size)
	return nil
}

func (c *content) shrink(l *dirtyLayer, size int64) {
	l.limit = min(l.limit, size)
	freed, _ := l.forgetBlocks(size, math.MaxInt64-blockSize)
	c.drop(l.cutPieces(size))
	if size < l.stream.end() {
		freed += l.stream.truncate(size)
	}
	c.free(freed)
}

// free gives memory back to the budget.
func (c *content) free(n int64) {
	c.dirty.Add(-n)
	c.env.budget.release(n)
}

// freeze makes what was written so far one layer, which the next Flush makes
// stored. It does nothing while there is a frozen layer already. It does no
// I/O and waits for nothing.
func (c *content) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freezeLocked()
}

// freezeAll is freeze for a commit group.
func (c *content) freezeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freezeLocked()
	c.older, c.fresh = c.older.with(c.fresh), unlogged{}
}

func (c *content) freezeLocked() {
	if c.frozen != nil || c.bad != nil {
		return
	}
	if c.live == nil && c.settling && c.fragments > 0 {
		c.touch()
	}
	l := c.live
	if l == nil {
		return
	}
	l.size = c.size.Load()
	c.streamAt = l.stream.end()
	c.frozen, c.live = l, nil
	c.failure = nil // the flush tries again, and tells
}

// isFrozen says whether a flush of what was frozen is still to be done.
func (c *content) isFrozen() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.frozen != nil
}

// settle asks for the next flush to store the end of the file as if it had
// been written in one go.
func (c *content) settle() {
	c.mu.Lock()
	c.settling = c.fragments > 0 || c.live != nil || c.frozen != nil
	c.mu.Unlock()
}

// discard drops what is not stored. The content must not be used afterwards.
func (c *content) discard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range []*dirtyLayer{c.live, c.frozen} {
		if l != nil {
			c.release(l)
		}
	}
	c.live, c.frozen = nil, nil
	c.bad = cmpErr(c.bad, fmt.Errorf("file was dropped: %w", syscall.ESTALE))
	c.clean.Store(nil)
}

// release gives back all memory of a layer. c.mu is held.
func (c *content) release(l *dirtyLayer) {
	freed := l.stream.charge
	for _, b := range l.blocks {
		freed += b.charge
		b.charge = 0
	}
	l.stream.charge = 0
	c.drop(l.pieces)
	c.free(freed)
}
