package fusemount

import (
	"context"
	"errors"
	"syscall"

	"bazil/p9srv/client"
)

// hold pins n and returns its fid in that session, walking to it if need be.
// letGo must be called if there is no error.
func (b *bridge) hold(ctx context.Context, s *session, n *inode) (*client.Fid, error) {
	if fid := b.inodes.pin(n, s); fid != nil {
		return fid, nil
	}
	fid, err := b.walkTo(ctx, s, s.root, n)
	if err != nil {
		b.letGo(n)
		return nil, err
	}
	return b.inodes.adopt(n, s, fid), nil
}

func (b *bridge) letGo(n *inode) { b.inodes.unpin(n) }

// walkTo walks from a root to where n was seen last. Something else there is
// ESTALE: the kernel then looks its path up again.
func (b *bridge) walkTo(ctx context.Context, s *session, root *client.Fid, n *inode) (*client.Fid, error) {
	names, err := b.inodes.names(n)
	if err != nil {
		return nil, err
	}
	fid, err := root.Walk(ctx, names...)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return nil, syscall.ESTALE
	}
	if err != nil {
		return nil, err
	}
	if len(names) > 0 && fid.QID().Path != n.path {
		b.clunk(fid)
		return nil, syscall.ESTALE
	}
	return fid, nil
}

// clone is a new fid for n, as the user with that number sees it.
func (b *bridge) clone(ctx context.Context, s *session, n *inode, uid uint32) (*client.Fid, error) {
	if uid != b.link.uid {
		root, err := b.link.rootOf(ctx, s, uid)
		if err != nil {
			return nil, err
		}
		return b.walkTo(ctx, s, root, n)
	}
	fid, err := b.hold(ctx, s, n)
	if err != nil {
		return nil, err
	}
	defer b.letGo(n)
	return fid.Walk(ctx)
}

// clunk gives a fid up without waiting for the answer.
func (b *bridge) clunk(fid *client.Fid) {
	fid.Clunk(b.noWait) //nolint:errcheck // the fid is gone whatever the answer
}
