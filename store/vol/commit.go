package vol

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"bazil/store"
)

// commitWorker is the goroutine that makes commit groups durable, one after the
// other: when the interval is over, when somebody waits for it, and when
// memory is needed.
type commitWorker struct {
	kick   chan struct{} // capacity 1
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (c *commitWorker) start(v *Volume) {
	ctx, cancel := context.WithCancel(context.Background())
	c.kick, c.cancel = make(chan struct{}, 1), cancel
	c.wg.Go(func() { v.commitLoop(ctx) })
}

func (c *commitWorker) stop() {
	c.cancel()
	c.wg.Wait()
}

// wake asks for a commit group now.
func (c *commitWorker) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (v *Volume) commitLoop(ctx context.Context) {
	tick := time.NewTicker(v.o.CommitInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-v.committer.kick:
		case <-v.env.pressed():
		case <-ctx.Done():
			return
		}
		if err := v.commitNow(ctx); err != nil && ctx.Err() == nil {
			v.o.Log.Error("changes could not be made durable, and stay in memory", "volume", v.id.String(), "err", err)
		}
	}
}

// Sync returns when everything changed before is durable.
func (v *Volume) Sync(ctx context.Context) error { return v.sync(ctx, nil) }

// sync waits for the group that has all changes made so far. f is the file
// that the caller is interested in; nil: all.
func (v *Volume) sync(ctx context.Context, f *file) error {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return errClosed
	}
	g := v.now
	if g.empty() {
		g = v.commit
	}
	v.mu.Unlock()
	if g == nil {
		return nil
	}
	v.committer.wake()
	if err := g.wait(ctx); err != nil {
		return err
	}
	return g.stuckFor(f)
}

// stuckFor is why f, or any file where f is nil, is not durable though its
// group is.
func (g *group) stuckFor(f *file) error {
	var errs []error
	for _, s := range g.flushes {
		if s.err != nil && (f == nil || s.f == f) {
			errs = append(errs, s.err)
		}
	}
	return errors.Join(errs...)
}

// flush is a file in a commit group: its bytes as they were when the group
// was closed.
type flush struct {
	f    *file
	mark string // stands for the body in records
	body Body
	err  error // the file cannot be flushed, and only this file
}

// item is a name in a commit group, dirItem a directory's place.
type (
	item struct {
		e   *entry
		rec *record
	}
	dirItem struct {
		d    *dir
		rec  *dirRecord
		gone bool
	}
)

// commitNow makes what was changed so far durable.
func (v *Volume) commitNow(ctx context.Context) error {
	defer v.o.Chunks.Hold()()
	failed := v.retryLeft(ctx)
	g, err := v.closeGroup()
	if g == nil {
		return err
	}
	if err = failed; err == nil {
		err = v.flush(ctx, g)
	}
	if err == nil {
		v.keepLogged(g)
		err = v.save(g)
	}
	v.mu.Lock()
	v.finish(g, err)
	v.unlock()
	v.log.renew()
	return err
}

// closeGroup closes the present group; nil: there is nothing to make durable.
func (v *Volume) closeGroup() (*group, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.broken:
		return nil, errBroken
	case v.now.empty():
		return nil, nil
	}
	return v.freeze(), nil
}

// freeze closes the present group. Files take what is written from here on
// for the next: all of the group is of one moment.
func (v *Volume) freeze() *group {
	g := v.now
	for i := 0; i < len(g.dirs); i++ { // folding may add to them
		v.foldDir(g.dirs[i])
	}
	v.raiseTold(g)
	for _, d := range g.dirs {
		v.turnIndex(d)
	}
	for _, f := range g.files {
		v.freezeFile(g, f)
	}
	g.items = make([]item, len(g.entries))
	for i, e := range g.entries {
		g.items[i] = item{e, e.rec}
	}
	g.places = make([]dirItem, len(g.dirs))
	for i, d := range g.dirs {
		g.places[i] = dirItem{d, d.record(), d.gone}
	}
	g.news = slices.DeleteFunc(g.news, func(n news) bool { return n.e.dir.gone })
	if g.replay = v.replaying; !g.replay {
		v.state.moment = moment{v.log.process, v.state.group + 1}
		v.state.left = nil
	}
	g.state = v.state
	v.log.closed(g)
	v.commit, v.now = g, newGroup(g.gen+1)
	return g
}

// raiseTold lets each directory in whose index the group stands know of the
// group's last dot, which is the one that the index gives: a later change of
// the group, in another directory, may have taken a second one (spendFor).
func (v *Volume) raiseTold(g *group) {
	for i := 0; i < len(g.news); i++ { // raising may add to them
		if n := g.news[i]; n.dots == nil && !n.e.dir.gone {
			v.raise(n.e.dir)
		}
	}
}

func (v *Volume) freezeFile(g *group, f *file) {
	in := f.in
	if f.busy || f.dropped || in.file != f || in.mark == "" {
		return
	}
	f.busy = true
	v.fold(in)
	if f.stuck == nil {
		f.c.freezeAll()
	}
	g.flushes = append(g.flushes, &flush{f: f, mark: in.mark, body: f.body, err: f.stuck})
}

// retryLeft flushes what earlier groups froze and could not flush, before what
// was written since becomes a part of the next one: a file freezes only once
// at a time. An error is one that any file would meet.
func (v *Volume) retryLeft(ctx context.Context) error {
	v.mu.Lock()
	var left []*file
	for _, f := range v.now.files {
		if !f.dropped && (f.stuck != nil || f.c.isFrozen()) {
			left = append(left, f)
		}
	}
	v.mu.Unlock()
	for _, f := range left {
		_, err := f.c.Flush(ctx)
		if err != nil && storeWide(err) {
			return err
		}
		v.mu.Lock()
		f.stuck = err
		v.mu.Unlock()
	}
	return nil
}

// flush stores the bytes of the group's files and makes them durable. What
// concerns one file only does not stop the others: its name goes into the
// group with the bytes it had before.
func (v *Volume) flush(ctx context.Context, g *group) error {
	if len(g.flushes) == 0 {
		return nil
	}
	if len(g.flushes) == 1 { // no goroutine but this one
		if err := g.flushes[0].run(ctx); err != nil {
			return err
		}
		return v.syncChunks(ctx)
	}
	eg, ectx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(2*runtime.GOMAXPROCS(0), len(g.flushes)) { // not one for each: a compressor's stack is large
		eg.Go(func() error { return g.flushSome(ectx, &next) })
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	return v.syncChunks(ctx)
}

// syncChunks makes all chunks durable that were stored before.
func (v *Volume) syncChunks(ctx context.Context) error {
	loose := v.env.loose.Load()
	err := v.o.Chunks.Sync(ctx)
	if err == nil {
		v.mu.Lock()
		v.flushed = loose
		v.mu.Unlock()
	}
	return err
}

// flushSome flushes files of which next has the number, until there are none
// left.
func (g *group) flushSome(ctx context.Context, next *atomic.Int64) error {
	for {
		i := int(next.Add(1)) - 1
		if i >= len(g.flushes) {
			return nil
		}
		if err := g.flushes[i].run(ctx); err != nil {
			return err
		}
	}
}

// run flushes the file; an error is one that stops the group.
func (s *flush) run(ctx context.Context) error {
	if s.err != nil {
		return nil
	}
	body, err := s.f.c.Flush(ctx)
	switch {
	case err == nil:
		s.body = body
	case storeWide(err):
		return err
	default:
		s.err = err
	}
	return nil
}

// storeWide says whether an error of flushing one file is to be expected with
// every other.
func storeWide(err error) bool {
	for _, wide := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, errDisk, store.ErrFailed, store.ErrClosed, context.Canceled} {
		if errors.Is(err, wide) {
			return true
		}
	}
	return false
}

// finish ends a group: what it had is no longer dirty, or, after an error, is
// part of the next.
func (v *Volume) finish(g *group, err error) {
	v.commit = nil
	v.done++
	for _, s := range g.flushes {
		s.f.busy = false
		s.f.c.frozenDurable(err == nil && s.err == nil)
	}
	if err != nil {
		v.takeBack(g)
	} else {
		if !g.replay {
			v.log.release(g)
		}
		v.settleFiles(g)
		v.shrink(2 * len(g.items))
	}
	for _, s := range g.flushes {
		if s.f.dropped {
			v.discard(s.f)
		}
	}
	g.err = err
	close(g.done)
}

// takeBack puts all of a group that failed in the present one.
func (v *Volume) takeBack(g *group) {
	v.now.spent = v.now.spent || g.spent
	for _, e := range g.entries {
		v.markEntry(e)
		if e.named == g.gen {
			e.named = v.now.gen
		}
	}
	for _, d := range g.dirs {
		v.markDir(d)
	}
	for _, s := range g.flushes {
		if s.f.in.wrote != v.now.gen {
			v.now.files = append(v.now.files, s.f)
		}
	}
	v.now.wants = append(g.wants, v.now.wants...)
	v.now.fetched = append(g.fetched, v.now.fetched...)
	v.now.news = append(g.news, v.now.news...)
	v.now.turns = append(g.turns, v.now.turns...)
}

// settleFiles puts the bodies that a group made known in the place of their
// marks.
func (v *Volume) settleFiles(g *group) {
	for _, s := range g.flushes {
		f, in := s.f, s.f.in
		f.body, f.stuck = s.body, s.err
		if s.err == nil {
			f.loggedAt = 0
			if f.loggedSeq > g.logged {
				f.loggedAt = g.state.group
			}
		}
		was := in.at.rec
		in.at.rec = was.filled(s.mark, s.body)
		v.noteConflict(in.at, was, in.at.rec) // what was written may be what a peer wrote
		if in.mark == s.mark {
			in.small = 0
		}
		v.resize(in.at)
		if f.dropped {
			continue
		}
		if in.mark == s.mark {
			in.mark = ""
			if f.c.Changed() && in.file == f { // more was written, or it is stuck
				v.newVersion(in, in.at.rec.mtime())
			}
		}
		v.unpin(in)
		v.idleFile(f)
	}
}
