package daemon

import (
	"context"
	"slices"
	"sync"

	"bazil/ctlfs"
)

// rootPath is the QID path of the root of the 9P tree, where volumes come and
// go.
const rootPath = 1

// path is the QID path that a file of the volume has in the 9P tree: the
// volume's number above the inode's.
func (v *openVolume) path(ino uint64) uint64 { return uint64(v.number)<<48 | ino&(1<<48-1) }

// Watch follows the changes of the volume.
func (o volumeObject) Watch(ctx context.Context) (ctlfs.Watcher, error) {
	w := &volumeWatcher{d: o.d, name: o.name}
	_, err := w.next(ctx)
	return w, err
}

// volumeWatcher follows the changes of one volume.
type volumeWatcher struct {
	d     *Daemon
	name  string
	since uint64 // change counter up to which it told; 0: nothing yet
}

// batch is what changed.
type batch struct {
	paths []uint64
	all   bool
}

// Next waits for changes.
func (w *volumeWatcher) Next(ctx context.Context) ([]uint64, bool, error) {
	b, err := w.next(ctx)
	return b.paths, b.all, err
}

// next waits for changes; the first time it only learns the counter.
func (w *volumeWatcher) next(ctx context.Context) (b batch, err error) {
	v, ctx, done, err := w.d.useVolume(ctx, w.name)
	if err != nil {
		return b, err
	}
	defer done()
	now, inos, all, err := v.vol.Watch(ctx, w.since)
	if err != nil {
		return b, err
	}
	if w.since != 0 {
		b.all = all
		for _, ino := range inos {
			b.paths = append(b.paths, v.path(ino))
		}
	}
	w.since = now
	return b, nil
}

// Watch follows the changes of all volumes, and which there are.
func (d *Daemon) Watch(ctx context.Context) (ctlfs.Watcher, error) {
	w := &treeWatcher{d: d, watchers: make(map[string]*volumeWatcher)}
	w.look()
	for _, v := range w.watchers {
		if _, err := v.next(ctx); ctx.Err() != nil {
			return nil, err
		}
	}
	return w, nil
}

// treeWatcher follows the changes of everything.
type treeWatcher struct {
	d        *Daemon
	seen     uint64 // generation of the set of volumes
	watchers map[string]*volumeWatcher
}

// look takes in which volumes there are now, and whether that is news.
func (w *treeWatcher) look() bool {
	names, seen := w.d.volumes.namesAt()
	news := seen != w.seen
	w.seen = seen
	for name := range w.watchers {
		if !slices.Contains(names, name) {
			delete(w.watchers, name)
		}
	}
	for _, name := range names {
		if w.watchers[name] == nil {
			w.watchers[name] = &volumeWatcher{d: w.d, name: name}
		}
	}
	return news
}

// Next asks all volumes at once until one has something to tell. Those that
// are interrupted tell it next time.
func (w *treeWatcher) Next(ctx context.Context) ([]uint64, bool, error) {
	for {
		all := w.ask(ctx)
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if w.look() {
			all.paths = append(all.paths, rootPath)
		}
		if all.all || len(all.paths) > 0 {
			slices.Sort(all.paths)
			return slices.Compact(all.paths), all.all, nil
		}
	}
}

// ask returns when the first volume has answered, or their set has changed,
// with all that was answered by then.
func (w *treeWatcher) ask(ctx context.Context) (sum batch) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards sum
	for _, v := range w.watchers {
		wg.Go(func() {
			b, err := v.next(ctx)
			if err != nil {
				return // it goes away, which the set tells, or was never open
			}
			mu.Lock()
			defer mu.Unlock()
			sum.paths, sum.all = append(sum.paths, b.paths...), sum.all || b.all
			stop()
		})
	}
	wg.Go(func() {
		w.d.volumes.wait(ctx, w.seen)
		stop()
	})
	wg.Wait()
	return sum
}
