package fusemount

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"bazil/p9srv/client"
)

// userXattr begins the names of the only attributes that are passed on. The
// kernel and ls ask for others (security.*, system.posix_acl_*) all the time.
const userXattr = "user."

// GetXAttr is getxattr(2).
func (b *bridge) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if !strings.HasPrefix(name, userXattr) {
		return 0, fuse.ENOTSUP
	}
	var value []byte
	st := b.onNode(cancel, in, func(ctx context.Context, _ *session, _ *inode, fid *client.Fid) (err error) {
		value, err = fid.GetXattr(ctx, name)
		return err
	})
	return fit(dest, value, st)
}

// fit copies value to dest, which is empty if only the size is asked for.
func fit(dest, value []byte, st fuse.Status) (uint32, fuse.Status) {
	if st == fuse.OK && len(value) > len(dest) {
		st = fuse.ERANGE
	}
	copy(dest, value)
	return uint32(len(value)), st
}

// ListXAttr is listxattr(2): names, each with a zero byte.
func (b *bridge) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	var list []byte
	st := b.onNode(cancel, in, func(ctx context.Context, _ *session, _ *inode, fid *client.Fid) error {
		names, err := fid.ListXattr(ctx)
		list = list[:0]
		for _, name := range names {
			if strings.HasPrefix(name, userXattr) {
				list = append(append(list, name...), 0)
			}
		}
		return err
	})
	return fit(dest, list, st)
}

// SetXAttr is setxattr(2).
func (b *bridge) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	if !strings.HasPrefix(name, userXattr) {
		return fuse.ENOTSUP
	}
	sent := false
	return b.onNode(cancel, &in.InHeader, func(ctx context.Context, s *session, n *inode, fid *client.Fid) error {
		b.changed(n, s)
		again := sent
		sent = true
		err := fid.SetXattr(ctx, name, value, in.Flags)
		if again && errors.Is(err, syscall.EEXIST) {
			err = nil
		}
		if err == nil {
			b.moved(n)
		}
		return err
	})
}

// RemoveXAttr is removexattr(2).
func (b *bridge) RemoveXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if !strings.HasPrefix(name, userXattr) {
		return fuse.ENOTSUP
	}
	sent := false
	return b.onNode(cancel, in, func(ctx context.Context, s *session, n *inode, fid *client.Fid) error {
		b.changed(n, s)
		again := sent
		sent = true
		err := fid.RemoveXattr(ctx, name)
		if again && errors.Is(err, syscall.ENODATA) {
			err = nil
		}
		if err == nil {
			b.moved(n)
		}
		return err
	})
}
