package fusemount

import (
	"context"
	"syscall"

	"bazil/p9srv/client"
)

// A server that was killed has forgotten what was changed and not synced, and
// the next one knows nothing of that: an fsync there succeeds, though what a
// program wrote before is gone. So each inode remembers in which session it
// was changed first since its last fsync. If that session was lost, the next
// fsync fails with EIO, once, as after a disk's error; also where the server
// came back with everything, unless the file's version proves it (stand).

// changed notes that n was changed in s.
func (b *bridge) changed(n *inode, s *session) {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	if n.unsynced == nil {
		n.unsynced = s
	}
}

// settled takes the note away: EIO if it is of an earlier session.
func (b *bridge) settled(n *inode, s *session) error {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	old := n.unsynced
	n.unsynced = nil
	if old != nil && old != s {
		return syscall.EIO
	}
	return nil
}

// fsync makes durable what was changed of n.
func (b *bridge) fsync(ctx context.Context, s *session, n *inode, fid *client.Fid, dataOnly bool) error {
	if err := b.settled(n, s); err != nil {
		return err
	}
	err := fid.Fsync(ctx, dataOnly)
	if err != nil {
		b.changed(n, s)
	} else if n.typ == syscall.S_IFREG {
		b.askFid(ctx, s, n, fid)
	}
	return err
}
