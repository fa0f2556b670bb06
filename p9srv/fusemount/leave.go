package fusemount

import (
	"context"
	"errors"
	"sync"
	"syscall"
)

// ErrStopping is what Next returns when the server is about to stop. Next is
// called again when the mount is ready for that: nothing is asked of the server
// any more, and it is known which version every writer stands on. What begins
// meanwhile waits for the next session, in which the writers find the versions
// that they left, if nothing else was done to the files, and go on.
var ErrStopping = errors.New("the server is about to stop")

// leave makes ready for the end of a session. Reads of streams and waits for
// locks are not waited for: they are sent again, and change no file.
func (b *bridge) leave(ctx context.Context, s *session) {
	b.link.leave(s)
	if !s.quiet(ctx) {
		return
	}
	all(b.unsure(s), func(n *inode) { b.ask(ctx, s, n) })
	all(b.unsyncedDirs(s), func(n *inode) {
		if version, ok := b.versionOf(ctx, s, n); ok {
			b.inodes.mu.Lock()
			n.left = version
			b.inodes.mu.Unlock()
		}
	})
}

// recall looks whether the directories that were left in order are what they
// were: then nothing of them was lost.
func (b *bridge) recall(ctx context.Context, s *session) {
	all(b.leftDirs(), func(n *inode) {
		version, ok := b.versionOf(ctx, s, n)
		b.inodes.mu.Lock()
		defer b.inodes.mu.Unlock()
		if ok && version == n.left && n.unsynced != nil {
			n.unsynced = s
		}
		n.left = 0
	})
}

func (b *bridge) versionOf(ctx context.Context, s *session, n *inode) (uint32, bool) {
	fid, err := b.hold(ctx, s, n)
	if err != nil {
		return 0, false
	}
	defer b.letGo(n)
	q, _, err := fid.Stat(ctx)
	return q.Version, err == nil
}

// unsure are the files that were written in s, whose versions are not known.
func (b *bridge) unsure(s *session) []*inode {
	return b.inodes.which(func(n *inode) bool { return n.stand.sess == s && !n.stand.sure })
}

func (b *bridge) unsyncedDirs(s *session) []*inode {
	return b.inodes.which(func(n *inode) bool { return n.typ == syscall.S_IFDIR && n.unsynced == s })
}

func (b *bridge) leftDirs() []*inode {
	return b.inodes.which(func(n *inode) bool { return n.left != 0 })
}

// all does something for each inode, some at once.
func all(list []*inode, do func(*inode)) {
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, maxRestores)
	for _, n := range list {
		slots <- struct{}{}
		under.Go(func() {
			do(n)
			<-slots
		})
	}
}

// begin counts a request; false: none may begin any more.
func (s *session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving != nil {
		return false
	}
	s.atWork++
	return true
}

// finish ends what began.
func (s *session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atWork--
	s.tellQuiet()
}

// tellQuiet is called with mu held.
func (s *session) tellQuiet() {
	if s.atWork == 0 && s.leaving != nil {
		close(s.leaving)
	}
}

// leave lets no request begin in s any more.
func (l *link) leave(s *session) {
	l.lost(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving == nil {
		s.leaving = make(chan struct{})
		s.tellQuiet()
	}
}

// quiet returns true when no request is at work in a session that is being
// left, false when ctx ends.
func (s *session) quiet(ctx context.Context) bool {
	select {
	case <-s.leaving:
		return true
	case <-ctx.Done():
		return false
	}
}
