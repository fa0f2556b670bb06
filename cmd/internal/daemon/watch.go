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
	if _, err := w.next(ctx); err != nil {
		return nil, err
	}
	return o.d.followers.add(w), nil
}

// Watch follows the changes of all volumes, and which there are.
func (d *Daemon) Watch(ctx context.Context) (ctlfs.Watcher, error) {
	w := &treeWatcher{d: d, watchers: make(map[string]*volumeWatcher)}
	if _, err := w.poll(ctx); err != nil {
		return nil, err
	}
	return d.followers.add(w), nil
}

// batch is what changed.
type batch struct {
	paths []uint64
	all   bool
}

func (b batch) isEmpty() bool { return !b.all && len(b.paths) == 0 }

func (b *batch) add(more batch) { b.paths, b.all = append(b.paths, more.paths...), b.all || more.all }

// volumeWatcher follows the changes of one volume.
type volumeWatcher struct {
	d     *Daemon
	name  string
	since uint64 // change counter up to which it told; 0: nothing yet
}

// next waits for changes; the first time it only learns the counter. An error
// loses nothing.
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

// poll tells what has changed by now.
func (w *volumeWatcher) poll(ctx context.Context) (b batch, err error) {
	v, _, done, err := w.d.useVolume(ctx, w.name)
	if err != nil {
		return b, err
	}
	defer done()
	now, _, _, err := v.vol.Watch(ctx, 0)
	if err != nil || now == w.since {
		return b, err
	}
	return w.next(ctx)
}

// treeWatcher follows the changes of everything.
type treeWatcher struct {
	d        *Daemon
	seen     uint64 // generation of the set of volumes
	watchers map[string]*volumeWatcher
}

// look takes in which volumes there are now, and whether that is news.
func (w *treeWatcher) look() (b batch) {
	names, seen := w.d.volumes.namesAt()
	if seen != w.seen {
		b.paths = []uint64{rootPath}
	}
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
	return b
}

// poll tells what has changed by now. A volume that cannot be asked goes away,
// which the set of volumes tells, or was never open.
func (w *treeWatcher) poll(ctx context.Context) (batch, error) {
	sum := w.look()
	for _, v := range w.watchers {
		if b, err := v.poll(ctx); err == nil {
			sum.add(b)
		}
	}
	return sum, ctx.Err()
}

// next asks all volumes at once until one has something to tell, or until ctx
// ends. Those that are interrupted tell it next time.
func (w *treeWatcher) next(ctx context.Context) (batch, error) {
	for {
		sum := w.look()
		if sum.isEmpty() {
			sum.add(w.ask(ctx))
		}
		if !sum.isEmpty() || ctx.Err() != nil {
			return sum, ctx.Err()
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
				return // as in poll
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(b)
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
