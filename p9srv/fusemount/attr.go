package fusemount

import (
	"context"
	"errors"
	"math"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// fillAttr is a as the kernel wants it.
func fillAttr(a p9srv.Attr, ino uint64, out *fuse.Attr) {
	*out = fuse.Attr{
		Ino:     ino,
		Size:    min(a.Size, math.MaxInt64),
		Blocks:  a.Blocks,
		Mode:    a.Mode,
		Nlink:   uint32(min(a.NLink, math.MaxUint32)),
		Owner:   fuse.Owner{Uid: a.UID, Gid: a.GID},
		Rdev:    uint32(a.RDev),
		Blksize: uint32(min(a.BlockSize, 1<<20)),
	}
	if out.Blksize == 0 {
		out.Blksize = 4096
	}
	out.Atime, out.Atimensec = split(a.ATime)
	out.Mtime, out.Mtimensec = split(a.MTime)
	out.Ctime, out.Ctimensec = split(a.CTime)
}

// split is ns as seconds, in two's complement, and nanoseconds.
func split(ns int64) (sec uint64, nsec uint32) {
	s, n := ns/1e9, ns%1e9
	if n < 0 {
		s, n = s-1, n+1e9
	}
	return uint64(s), uint32(n)
}

// GetAttr is stat(2).
func (b *bridge) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return b.onNode(cancel, &in.InHeader, func(ctx context.Context, s *session, n *inode, fid *client.Fid) error {
		return b.answerAttr(ctx, s, n, fid, out)
	})
}

func (b *bridge) answerAttr(ctx context.Context, s *session, n *inode, fid *client.Fid, out *fuse.AttrOut) error {
	epoch, moves := b.epoch(n), b.moves(n)
	q, a, err := fid.Stat(ctx)
	if err != nil {
		return err
	}
	b.learn(n, s, q.Version, moves)
	if a.Mode&syscall.S_IFMT != n.typ {
		return syscall.ESTALE
	}
	fillAttr(a, n.path, &out.Attr)
	out.SetTimeout(b.saw(n, a, epoch))
	return nil
}

// SetAttr is chmod, chown, truncate and utimensat, of a path or an open file.
func (b *bridge) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	set := setAttr(in)
	fh, isOpen := in.GetFh()
	kill := in.Valid&fuse.FATTR_KILL_SUIDGID != 0
	sent, before := false, uint32(0)
	return b.onNode(cancel, &in.InHeader, func(ctx context.Context, s *session, n *inode, fid *client.Fid) error {
		if !sent {
			before = b.seenVersion(n)
		}
		if h := b.handles.get(fh); isOpen && h != nil {
			var err error
			if fid, err = h.use(ctx, s); err != nil {
				return err
			}
		} else if sent && set.Valid&p9srv.SetSize != 0 {
			if err := b.untouched(ctx, fid, set.Size, before); err != nil {
				return err
			}
		}
		sent = true
		if set.Valid&p9srv.SetSize != 0 {
			b.wrote(n)
		}
		b.changed(n, s)
		if err := b.killSUIDGID(ctx, n, fid, &set, kill); err != nil {
			return err
		}
		if err := fid.SetAttr(ctx, set); err != nil {
			return err
		}
		b.moved(n)
		return b.answerAttr(ctx, s, n, fid, out)
	})
}

func setAttr(in *fuse.SetAttrIn) p9srv.SetAttr {
	set := p9srv.SetAttr{Mode: in.Mode & 07777, UID: in.Uid, GID: in.Gid, Size: in.Size,
		ATime: join(in.Atime, in.Atimensec), MTime: join(in.Mtime, in.Mtimensec)}
	for _, m := range []struct {
		asked uint32
		mask  p9srv.SetMask
	}{
		{fuse.FATTR_MODE, p9srv.SetMode},
		{fuse.FATTR_UID, p9srv.SetUID},
		{fuse.FATTR_GID, p9srv.SetGID},
		{fuse.FATTR_SIZE, p9srv.SetSize},
		{fuse.FATTR_ATIME, p9srv.SetATime | p9srv.SetATimeValue},
		{fuse.FATTR_MTIME, p9srv.SetMTime | p9srv.SetMTimeValue},
	} {
		if in.Valid&m.asked != 0 {
			set.Valid |= m.mask
		}
	}
	if in.Valid&fuse.FATTR_ATIME_NOW != 0 {
		set.Valid &^= p9srv.SetATimeValue
	}
	if in.Valid&fuse.FATTR_MTIME_NOW != 0 {
		set.Valid &^= p9srv.SetMTimeValue
	}
	return set
}

// join is the opposite of split. A time that nanoseconds cannot tell, before 1678
// or after 2262, is the nearest that they can, as on other filesystems.
func join(sec uint64, nsec uint32) int64 {
	const most = int64(math.MaxInt64/1_000_000_000 - 1)
	return min(max(int64(sec), -most), most)*1e9 + int64(nsec)
}

// killSUIDGID adds to set what the kernel leaves to us (HANDLE_KILLPRIV_V2):
// chown takes the suid and sgid bits of a regular file away, and so does a
// truncation by a user that the kernel marks with kill.
func (b *bridge) killSUIDGID(ctx context.Context, n *inode, fid *client.Fid, set *p9srv.SetAttr, kill bool) error {
	chown := set.Valid&(p9srv.SetUID|p9srv.SetGID) != 0
	if n.typ != syscall.S_IFREG || set.Valid&p9srv.SetMode != 0 || !chown && !kill {
		return nil
	}
	a, err := fid.Attr(ctx)
	if err != nil {
		return err
	}
	if mode := withoutSUIDGID(a.Mode); mode != a.Mode {
		set.Valid |= p9srv.SetMode
		set.Mode = mode & 07777
	}
	return nil
}

// withoutSUIDGID is mode after a write: an sgid bit without group execution
// stays, it never had power.
func withoutSUIDGID(mode uint32) uint32 {
	mode &^= syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 {
		mode &^= syscall.S_ISGID
	}
	return mode
}

// StatFs is statfs(2). A server without figures does not matter.
func (b *bridge) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return b.onNode(cancel, in, func(ctx context.Context, _ *session, _ *inode, fid *client.Fid) error {
		st, err := fid.Statfs(ctx)
		if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
			st, err = p9srv.Statfs{BSize: 4096, NameLen: 255}, nil
		}
		if err != nil {
			return err
		}
		*out = fuse.StatfsOut{Blocks: st.Blocks, Bfree: st.BFree, Bavail: st.BAvail, Files: st.Files, Ffree: st.FFree,
			Bsize: st.BSize, Frsize: st.BSize, NameLen: st.NameLen}
		return nil
	})
}

// dirKeep is how long the kernel keeps the attributes of a directory at
// least: it needs them several times in a row, to judge permissions. (Those of
// files it must not keep at all without events: it would take pages for good
// that another client changed.)
const dirKeep = time.Millisecond

// saw notes attributes that the kernel is about to get and says for how long
// it may keep them: not at all if there was an event since epoch.
func (b *bridge) saw(n *inode, a p9srv.Attr, epoch uint64) time.Duration {
	t := b.inodes
	t.mu.Lock()
	defer t.mu.Unlock()
	n.mode, n.gid = a.Mode, a.GID
	if n.epoch != epoch {
		n.size = max(n.size, a.Size) // for the kernel may not believe it
		return 0
	}
	if n.size = a.Size; n.volatile {
		return 0
	}
	if n.typ == syscall.S_IFDIR {
		return max(b.keepFor(), dirKeep)
	}
	return b.keepFor()
}

func (b *bridge) epoch(n *inode) uint64 {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	return n.epoch
}

// grew notes that the kernel takes a file for that long at least.
func (b *bridge) grew(n *inode, size uint64) {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	n.size = max(n.size, size)
}

// toldOf counts the times that the kernel was made to doubt the attributes of a
// file.
func (b *bridge) toldOf(id uint64) uint64 {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	if n := b.inodes.byID[id]; n != nil {
		return n.epoch
	}
	return 0
}

// endsUnseen says whether the kernel must not be told that a file ends at size:
// it would not believe that if it was made to doubt the attributes since it asked
// (begun, of toldOf), and would show zeros up to where the file ended before. An
// interrupt in the place of the answer makes it ask again, since what fails is
// read ahead: it is seen by nobody, unless the next answer meets with the same.
// What the kernel is told in the moments before we read its request and behind
// this question passes unseen: there is nothing to see it by.
func (b *bridge) endsUnseen(id uint64, size, begun uint64) bool {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	n := b.inodes.byID[id]
	return n != nil && !n.volatile && n.epoch != begun && size < n.size
}

// wrote notes that the data of n is being changed through this mount.
func (b *bridge) wrote(n *inode) {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	n.wrote, n.opened = time.Now(), 0
}
