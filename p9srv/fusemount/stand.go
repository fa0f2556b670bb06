package fusemount

import (
	"context"
	"time"

	"bazil/p9srv/client"
)

// A writer stands on a version of its file: what it opened and what this mount
// wrote since. The server keeps that in its place while the file is open. When
// the server is gone it no longer does: the file may be another version when
// it is opened again, one that came from a peer, or the one before the last
// writes, which were lost. Going on would put bytes into a file that the
// writer has never seen, and replace it for all devices, or leave a hole where
// the lost bytes were; and nobody would be told, unless the program calls
// fsync. So a handle that can write goes on only if the file is the very
// version that it stands on, by QID.Version, which a server never gives twice.
// If it is not, or nobody knows what it stands on, because the last write was
// moments ago, all its requests that change something fail with EIO from then
// on, and so does fsync. A program sees what it would see of a disk that failed,
// and opens the file again.

// settle is how long after the last write the version that came of it is asked
// for. One that writes all the time does not cost a message for each write.
const settle = 20 * time.Millisecond

// stand is the version of an inode that is known through this mount. The
// table's mutex guards it.
type stand struct {
	sess    *session // in which good was judged
	good    bool     // in that session the file was what it had been before
	version uint32   // QID.Version
	sure    bool     // nothing was acknowledged behind that version
	moves   uint64   // counts what was acknowledged
}

// judge tells what version a file had that was opened to be written in s, and
// says whether that is the one that its writers stand on.
func (b *bridge) judge(n *inode, s *session, version uint32) (good bool) {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	st := &n.stand
	if st.sess == s {
		return st.good
	}
	st.good = st.sess == nil || st.sure && st.version == version
	if st.good && n.unsynced != nil {
		n.unsynced = s // nothing of it was lost
	}
	st.sess, st.version, st.sure = s, version, true
	return st.good
}

// moves is what learn has to know from before the version was asked for.
func (b *bridge) moves(n *inode) uint64 {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	return n.stand.moves
}

// learn notes a version that s told of, unless something was acknowledged
// since moves. Another one than was expected came by another way: a writer who
// has not opened the file again in s does not stand on it.
func (b *bridge) learn(n *inode, s *session, version uint32, moves uint64) {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	st := &n.stand
	if st.moves != moves {
		return
	}
	n.seen = version
	if st.sess == s {
		st.good = st.good && !(st.sure && st.version != version)
		st.version, st.sure = version, true
	}
}

// moved notes that a change of n was acknowledged.
func (b *bridge) moved(n *inode) {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	n.stand.moves++
	n.stand.sure, n.seen = false, 0
	if n.stand.sess == nil {
		return // nobody writes it
	}
	if _, ok := b.due[n]; !ok {
		b.due[n] = n.stand.moves - 1
	}
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// runSettle asks for the versions of files that were written, a moment after
// the last write, until ctx ends.
func (b *bridge) runSettle(ctx context.Context) {
	for {
		select {
		case <-b.more:
		case <-ctx.Done():
			return
		}
		for list, left := []*inode(nil), 1; left > 0; {
			if !sleep(ctx, settle) {
				return
			}
			list, left = b.quiet()
			for _, n := range list {
				if s := b.link.session(); s != nil {
					b.ask(ctx, s, n)
				}
			}
		}
	}
}

// quiet takes the files out of due that were not written since it looked last,
// and says how many are left.
func (b *bridge) quiet() (list []*inode, left int) {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	for n, moves := range b.due {
		if n.stand.moves == moves {
			list = append(list, n)
			delete(b.due, n)
		} else {
			b.due[n] = n.stand.moves
		}
	}
	return list, len(b.due)
}

// ask asks for a file's version. Where that fails nobody knows it.
func (b *bridge) ask(ctx context.Context, s *session, n *inode) {
	fid, err := b.hold(ctx, s, n)
	if err != nil {
		return
	}
	defer b.letGo(n)
	b.askFid(ctx, s, n, fid)
}

func (b *bridge) askFid(ctx context.Context, s *session, n *inode, fid *client.Fid) {
	moves := b.moves(n)
	if q, _, err := fid.Stat(ctx); err == nil {
		b.learn(n, s, q.Version, moves)
	}
}
