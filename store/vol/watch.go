package vol

import "context"

// watchRing remembers which inodes the latest changes concerned.
type watchRing struct {
	from uint64 // the last change before those remembered
	to   uint64 // the last change
	ring []uint64
	wait chan struct{} // closed at the next change; nil if nobody waits
}

// watchLen is how many changes are remembered.
const watchLen = 8192

// note says that change, the one after the last, concerned an inode.
func (w *watchRing) note(change, ino uint64) {
	if w.ring == nil {
		w.ring = make([]uint64, watchLen)
	}
	w.ring[change%watchLen] = ino
	w.to = change
	w.from = max(w.from, change-min(change, watchLen))
	w.wake()
}

func (w *watchRing) wake() {
	if w.wait != nil {
		close(w.wait)
		w.wait = nil
	}
}

// since are the inodes that changes after since concerned; all says that
// there are too many.
func (w *watchRing) since(since uint64) (inos []uint64, all bool) {
	if since < w.from || since > w.to {
		return nil, true
	}
	seen := make(map[uint64]struct{})
	for c := since + 1; c <= w.to; c++ {
		ino := w.ring[c%watchLen]
		if _, ok := seen[ino]; !ok && ino != 0 {
			seen[ino] = struct{}{}
			inos = append(inos, ino)
		}
	}
	return inos, false
}

// Watch waits until the volume is changed after the change numbered since,
// and returns the number of the last change and the numbers of the files and
// directories concerned. all says that more may have changed than is known.
// since 0 asks for the present number and does not wait.
func (v *Volume) Watch(ctx context.Context, since uint64) (now uint64, changed []uint64, all bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for since == v.state.change && !v.closed {
		if v.watch.wait == nil {
			v.watch.wait = make(chan struct{})
		}
		wait := v.watch.wait
		v.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			err = ctx.Err()
		}
		v.mu.Lock()
		if err != nil {
			return 0, nil, false, err
		}
	}
	if v.closed {
		return 0, nil, false, errClosed
	}
	if since == 0 {
		return v.state.change, nil, false, nil
	}
	changed, all = v.watch.since(since)
	return v.state.change, changed, all, nil
}
