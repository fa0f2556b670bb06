package fusemount

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

const (
	// eventsKeep is how long the kernel may keep what it knows while events
	// come. They take it back at once; this only heals what one might miss.
	eventsKeep = 5 * time.Minute

	// ownWrite is how long after a write through this mount events about the
	// file are taken for its echo: the kernel then asks for the attributes
	// again and judges by them whether its pages are good.
	ownWrite = 2 * time.Second

	// maxAbsent is how many missing names of a directory the kernel may know.
	maxAbsent = 4096

	// scanRest is how many times as long as it took a comparison of a
	// directory is left alone, unless somebody waits: one that changes all the
	// time and is large must not use up the connection.
	scanRest = 10

	eventRetry = time.Second // after a failed event stream
	notifyJobs = 8           // invalidations under way at once
)

// notifier tells the kernel to drop what it knows; *fuse.Server is one.
type notifier interface {
	InodeNotify(node uint64, off, length int64) fuse.Status
	EntryNotify(parent uint64, name string) fuse.Status
}

// watcher follows the server's events and takes back what the kernel keeps.
//
// A changed file loses its attributes and pages in the kernel. A changed
// directory is listed and compared with the names that the kernel was given,
// and only those that are another file now, or gone, or there after all, are
// taken back: dropping a name that is still right would take the working
// directory away from processes in it.
//
// An answer that was on its way when its event came may be old: each inode
// counts its events, and an answer that saw another count is not kept.
type watcher struct {
	b    *bridge
	open func(ctx context.Context, c *client.Conn) (Next, error)
	log  *slog.Logger

	kernel atomic.Pointer[notifier]
	alive  atomic.Bool // events come: the kernel may keep things

	kept bool // the kernel may have something; only run uses it

	mu     sync.Mutex          // guards due and settle
	due    map[*inode]struct{} // directories to compare
	settle chan struct{}       // closed when all of due was compared; nil: nobody waits
	more   chan struct{}       // holds one token when those changed
}

func newWatcher(b *bridge, open func(context.Context, *client.Conn) (Next, error)) *watcher {
	return &watcher{b: b, open: open, log: b.log, due: make(map[*inode]struct{}), more: make(chan struct{}, 1)}
}

func (w *watcher) live() bool { return w.alive.Load() }

// run follows the events of each session until ctx ends. After a gap
// everything may have changed.
func (w *watcher) run(ctx context.Context) {
	for {
		s, err := w.b.link.get(ctx)
		if err == nil {
			err = w.follow(ctx, s)
		}
		if ctx.Err() != nil {
			return
		}
		if w.alive.Swap(false) {
			w.log.Info("fusemount: no events, caching less", "err", err)
		}
		if s == nil || !s.ended() {
			sleep(ctx, eventRetry)
		}
	}
}

// follow takes a session's events until they end.
func (w *watcher) follow(ctx context.Context, s *session) error {
	ctx, cancel := context.WithCancel(ctx)
	var under sync.WaitGroup
	defer under.Wait()
	defer cancel()
	under.Go(func() {
		select {
		case <-s.conn.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	next, err := w.open(ctx, s.conn)
	if w.kept || err == nil { // also for answers that are on their way
		w.changed(ctx, w.b.inodes.all())
	}
	if w.kept = err == nil; err != nil {
		return err
	}
	w.alive.Store(true)
	for {
		inos, all, err := next(ctx)
		switch {
		case errors.Is(err, ErrStopping):
			w.b.leave(ctx, s)
		case err != nil:
			return err
		case all:
			w.changed(ctx, w.b.inodes.all())
		case len(inos) > 0:
			w.changed(ctx, w.known(inos))
		default:
			w.compareAll(ctx)
		}
	}
}

// known are the inodes that the kernel has of those.
func (w *watcher) known(inos []uint64) []*inode {
	var list []*inode
	for _, path := range inos {
		if n := w.b.inodes.find(path); n != nil {
			list = append(list, n)
		}
	}
	return list
}

// changed takes back what the kernel has of each of the inodes.
func (w *watcher) changed(ctx context.Context, list []*inode) {
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, notifyJobs)
	for _, n := range list {
		own, names := w.mark(n)
		if names {
			w.compareSoon(n)
		}
		slots <- struct{}{}
		under.Go(func() {
			w.takeBack(ctx, n, own)
			<-slots
		})
	}
}

// mark counts an event. own: it may be the echo of a write through this
// mount; names: the kernel knows entries of the directory.
func (w *watcher) mark(n *inode) (own, names bool) {
	t := w.b.inodes
	t.mu.Lock()
	defer t.mu.Unlock()
	n.epoch++
	n.turned.Add(1)
	own = n.typ != syscall.S_IFDIR && time.Since(n.wrote) < ownWrite
	return own, len(n.children)+len(n.absent) > 0
}

// takeBack drops the kernel's attributes of n, and its pages unless the
// attributes will tell about them. An event about what an open has told already
// is no news.
func (w *watcher) takeBack(ctx context.Context, n *inode, own bool) {
	k := w.kernel.Load()
	if k == nil {
		return
	}
	off := int64(0)
	if own || n.typ == syscall.S_IFDIR {
		off = -1
	}
	for told := false; !told; { // again if it was opened while the server was asked
		opened := w.b.openedVersion(n)
		if opened != 0 && w.isNow(ctx, n, opened) {
			return
		}
		n.telling.Lock()
		if told = w.b.openedVersion(n) == opened; told {
			(*k).InodeNotify(n.id, off, 0)
		}
		n.telling.Unlock()
	}
}

// takeAttr drops the kernel's attributes of a file that was just locked, or that
// is being opened in a version that the kernel has not seen, for which the event
// may be on its way still: it would read no further than the size that it knows,
// so that a file that was empty a moment ago would be empty to who has just
// opened it.
func (w *watcher) takeAttr(n *inode) {
	w.b.doubt(n)
	if k := w.kernel.Load(); k != nil {
		(*k).InodeNotify(n.id, -1, 0)
	}
}

// doubt counts that the kernel is made to doubt the attributes of n: an answer of
// before is none that it may keep, or believes.
func (b *bridge) doubt(n *inode) {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	n.epoch++
}

// isNow says whether a file is still the version that was opened last. Who has
// it open may be about to read it for the first time, and the kernel to ask for
// the attributes that takeAttr has dropped: were they dropped once more while the
// answer is on its way, the kernel would not believe that, and would read no
// further than the size of before the open. A writer would then see an empty file
// where there is one that a peer has just written, and replace it unseen. What a
// peer sends while a file is open for writing does not make it another version.
func (w *watcher) isNow(ctx context.Context, n *inode, version uint32) bool {
	s := w.b.link.session()
	if s == nil {
		return false
	}
	now, ok := w.b.versionOf(ctx, s, n)
	return ok && now == version
}

// openedVersion is the version that was opened last of a file that is open, 0 if
// there is none or it was written since.
func (b *bridge) openedVersion(n *inode) uint32 {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	if n.pins == 0 {
		return 0
	}
	return n.opened
}

// noteOpened is called before an open is answered. It waits for an event that the
// kernel is being told of: no answer to what the kernel asks for after the open
// can be overtaken by that.
func (b *bridge) noteOpened(n *inode, version uint32) {
	n.telling.Lock()
	defer n.telling.Unlock()
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	n.opened = version
}

// compareSoon has a directory compared when it may be.
func (w *watcher) compareSoon(n *inode) {
	w.mu.Lock()
	w.due[n] = struct{}{}
	w.mu.Unlock()
	w.tellMore()
}

func (w *watcher) tellMore() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// compareAll returns when all directories are compared that are to be, also
// those that would be left alone for a while.
func (w *watcher) compareAll(ctx context.Context) {
	done := make(chan struct{})
	w.mu.Lock()
	w.settle = done
	w.mu.Unlock()
	w.tellMore()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// runCompare compares directories until ctx ends.
func (w *watcher) runCompare(ctx context.Context) {
	for ctx.Err() == nil {
		ready, next, settled := w.ready(time.Now())
		for _, n := range ready {
			w.compareOne(ctx, n)
		}
		if settled != nil {
			close(settled)
		}
		if len(ready) == 0 {
			w.wait(ctx, next)
		}
	}
}

// ready takes the directories that must be compared now, and says how long the
// others have to wait, 0 if there are none. settled is to be closed when those
// are done.
func (w *watcher) ready(now time.Time) (list []*inode, next time.Duration, settled chan struct{}) {
	due, settled := w.takeDue()
	for _, n := range due {
		left := w.b.restOf(n).Sub(now)
		if left <= 0 || settled != nil {
			list = append(list, n)
			continue
		}
		if next == 0 || left < next {
			next = left
		}
		w.mu.Lock()
		w.due[n] = struct{}{}
		w.mu.Unlock()
	}
	return list, next, settled
}

func (w *watcher) takeDue() (list []*inode, settled chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list = slices.Collect(maps.Keys(w.due))
	clear(w.due)
	settled, w.settle = w.settle, nil
	return list, settled
}

func (b *bridge) restOf(n *inode) time.Time {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	return n.rest
}

// wait returns after d, if it is not 0, or when there is more to compare.
func (w *watcher) wait(ctx context.Context, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-over:
	case <-w.more:
	}
}

func (w *watcher) compareOne(ctx context.Context, n *inode) {
	began := time.Now()
	known := w.b.names(n)
	wrong, err := w.compare(ctx, n, known)
	if err != nil {
		w.log.Debug("fusemount: a directory could not be compared", "inode", n.path, "err", err)
		wrong = known // rather too much than too little
	}
	w.takeNames(n, wrong)
	w.b.inodes.mu.Lock()
	defer w.b.inodes.mu.Unlock()
	n.rest = time.Now().Add(scanRest * time.Since(began))
}

// knownNames are names of a directory with the QID.Path that the kernel
// knows for each, 0 for an absent one.
type knownNames map[string]uint64

// names are the entries of a directory that the kernel was told of.
func (b *bridge) names(n *inode) knownNames {
	t := b.inodes
	t.mu.Lock()
	defer t.mu.Unlock()
	known := make(knownNames, len(n.children)+len(n.absent))
	for name := range n.absent {
		known[name] = 0
	}
	for name, c := range n.children {
		known[name] = c.path
	}
	return known
}

// compare lists a directory and returns the known names that are wrong. When
// there are too many absent ones, all of those are: new ones may be kept then.
func (w *watcher) compare(ctx context.Context, n *inode, known knownNames) (knownNames, error) {
	listed := make(knownNames, len(known))
	err := w.b.link.call(ctx, func(s *session) error {
		return w.b.list(ctx, s, n, func(e p9srv.Dirent) {
			if _, ok := known[e.Name]; ok {
				listed[e.Name] = e.QID.Path
			}
		})
	})
	wrong := make(knownNames)
	absent := 0
	for name, path := range known {
		if path == 0 {
			absent++
		}
		if path != listed[name] {
			wrong[name] = path
		}
	}
	if absent >= maxAbsent {
		return absentOf(known, wrong), err
	}
	return wrong, err
}

// absentOf adds the absent names of known to wrong.
func absentOf(known, wrong knownNames) knownNames {
	for name, path := range known {
		if path == 0 {
			wrong[name] = 0
		}
	}
	return wrong
}

// takeNames drops entries of a directory in the kernel.
func (w *watcher) takeNames(dir *inode, names knownNames) {
	k := w.kernel.Load()
	if k == nil {
		return
	}
	for name, path := range names {
		if w.b.inodes.unname(dir, name, path) {
			(*k).EntryNotify(dir.id, name)
		}
	}
}

// unname drops what is known of a name in dir, if that is path still, 0 for
// an absent one. Otherwise the kernel has learned better since: dropping that
// could take the working directory away from a process in a new directory.
func (t *table) unname(dir *inode, name string, path uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if path == 0 {
		_, known := dir.absent[name]
		delete(dir.absent, name)
		return known
	}
	n := dir.children[name]
	if n == nil || n.path != path {
		return false
	}
	t.vacate(n)
	return true
}

// list calls fn for the entries of a directory.
func (b *bridge) list(ctx context.Context, s *session, n *inode, fn func(p9srv.Dirent)) error {
	fid, err := b.clone(ctx, s, n, b.link.uid)
	if err != nil {
		return err
	}
	defer b.clunk(fid)
	if err = fid.Open(ctx, syscall.O_RDONLY|syscall.O_DIRECTORY); err != nil {
		return err
	}
	for off := uint64(0); ; {
		ents, err := fid.ReadDir(ctx, off, listCount)
		if err != nil || len(ents) == 0 {
			return err
		}
		for _, e := range ents {
			fn(e)
		}
		off = ents[len(ents)-1].Offset
	}
}

// mayBeAbsent says whether the kernel may keep that dir has no such name, and
// notes that it does. epoch is the directory's from before the walk.
func (b *bridge) mayBeAbsent(dir *inode, name string, epoch uint64) bool {
	if b.keepFor() == 0 {
		return false
	}
	t := b.inodes
	t.mu.Lock()
	defer t.mu.Unlock()
	if dir.volatile || dir.epoch != epoch || len(dir.absent) >= maxAbsent {
		return false
	}
	if dir.absent == nil {
		dir.absent = make(map[string]struct{})
	}
	dir.absent[name] = struct{}{}
	return true
}

// making notes that a name that the kernel may know as absent is about to be
// made through this mount: whoever sees it at the server before the kernel
// has the answer must not take it back. made is to be called with the outcome.
func (b *bridge) making(dir *inode, name string) (made func(error)) {
	t := b.inodes
	t.mu.Lock()
	defer t.mu.Unlock()
	epoch := dir.epoch
	_, absent := dir.absent[name]
	delete(dir.absent, name)
	return func(err error) {
		if absent && err != nil {
			b.isAbsentStill(dir, name, epoch)
		}
	}
}

// isAbsentStill undoes making: the kernel goes on with what it knew.
func (b *bridge) isAbsentStill(dir *inode, name string, epoch uint64) {
	t := b.inodes
	t.mu.Lock()
	dir.absent[name] = struct{}{}
	changed := dir.epoch != epoch
	t.mu.Unlock()
	if changed {
		b.events.compareSoon(dir)
	}
}

// entryKeep is how long the kernel may keep that dir has n under its name.
func (b *bridge) entryKeep(dir, n *inode, epoch uint64) time.Duration {
	t := b.inodes
	t.mu.Lock()
	defer t.mu.Unlock()
	if dir.volatile || n.volatile || dir.epoch != epoch {
		return 0
	}
	return b.keepFor()
}
