package fusemount

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// Open is open(2) of a file that is there.
func (b *bridge) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	truncate, sent, before := in.Flags&syscall.O_TRUNC != 0, false, uint32(0)
	return b.onNode(cancel, &in.InHeader, func(ctx context.Context, s *session, n *inode, fid *client.Fid) error {
		if !sent {
			before = b.seenVersion(n)
		} else if truncate {
			if err := b.untouched(ctx, fid, 0, before); err != nil {
				return err
			}
		}
		sent = true
		moves, turned := b.moves(n), n.turned.Load()
		f, err := fid.Walk(ctx)
		if err != nil {
			return err
		}
		if err = f.Open(ctx, in.Flags&openFlags&^(syscall.O_CREAT|syscall.O_EXCL)); err != nil {
			b.clunk(f)
			return err
		}
		if err = unlinked(ctx, f, in.Flags); err != nil {
			b.clunk(f)
			return err
		}
		if truncate {
			b.wrote(n)
			b.changed(n, s)
			if in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
				b.disarm(ctx, n, f)
			}
		}
		if b.events != nil && b.cachedVersion(n) != f.QID().Version {
			b.events.takeAttr(n) // also while none come: it may have them from before
		}
		b.noteOpened(n, f.QID().Version)
		b.answerOpen(s, n, f, in.Flags&openFlags, moves, turned, out)
		return nil
	})
}

// unlinked is an error if a file that was opened for writing has lost its name:
// the kernel, which has not heard of that yet, then looks the name up again.
// What would be written to such a file would be lost, though fsync(2) said that
// it was not.
func unlinked(ctx context.Context, f *client.Fid, flags uint32) error {
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		return nil
	}
	a, err := f.Attr(ctx)
	if err == nil && a.NLink == 0 {
		err = syscall.ESTALE
	}
	return err
}

// answerOpen makes the handle of a file that was opened; moves and turned are from
// before.
func (b *bridge) answerOpen(s *session, n *inode, f *client.Fid, flags uint32, moves, turned uint64, out *fuse.OpenOut) {
	h := b.newHandle(s, n, f, flags)
	same := b.samePages(n, f.QID().Version)
	if !same {
		turned++ // for that is h's doing
	}
	h.turned.Store(turned)
	if h.writes() {
		b.judge(n, s, f.QID().Version)
	}
	b.learn(n, s, f.QID().Version, moves)
	out.Fh = b.handles.add(h)
	switch {
	case h.stream:
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
	case same:
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
}

// cachedVersion is the version that the kernel's pages are of.
func (b *bridge) cachedVersion(n *inode) uint32 {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	return n.cached
}

// samePages says whether the kernel's pages are of that version; they will be
// from now on.
func (b *bridge) samePages(n *inode, version uint32) bool {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	same := n.cached == version
	n.cached = version
	if !same {
		n.turned.Add(1)
	}
	return same
}

// Create is open(2) with O_CREAT of a name that is not there.
func (b *bridge) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	flags := in.Flags & openFlags
	sent, ours := false, uint64(0)
	return b.inDir(cancel, &in.InHeader, func(ctx context.Context, s *session, dir *inode) (err error) {
		epoch := b.epoch(dir)
		made := b.making(dir, name)
		defer func() { made(err) }()
		f, err := b.clone(ctx, s, dir, in.Uid)
		if err != nil {
			return err
		}
		if again := sent; again {
			err = b.createAgain(ctx, f, name, flags, in.Mode&07777, b.newGID(dir, in.Gid), ours)
		} else {
			sent = true
			err = f.Create(ctx, name, flags, in.Mode&07777, b.newGID(dir, in.Gid))
		}
		if err != nil {
			b.clunk(f)
			return err
		}
		ours = f.QID().Path
		b.changed(dir, s)
		n, err := b.enterOpen(ctx, s, dir, name, f, epoch, &out.EntryOut)
		if err != nil {
			b.clunk(f)
			return err
		}
		b.changed(n, s)
		b.answerOpen(s, n, f, flags&^syscall.O_EXCL, b.moves(n), n.turned.Load(), &out.OpenOut)
		return nil
	})
}

// enterOpen makes the unopened fid of a file that was just created.
func (b *bridge) enterOpen(ctx context.Context, s *session, dir *inode, name string, f *client.Fid, epoch uint64, out *fuse.EntryOut) (*inode, error) {
	fid, err := f.Walk(ctx)
	if err != nil {
		return nil, err
	}
	return b.answerEntry(ctx, s, dir, name, fid, epoch, out)
}

// Read is read(2), and the kernel's filling of its cache.
func (b *bridge) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	var n int
	begun := b.toldOf(in.NodeId)
	st := b.onHandle(cancel, &in.InHeader, in.Fh, func(ctx context.Context, _ *session, h *handle, fid *client.Fid) (err error) {
		if h.stream {
			n, err = readStream(ctx, fid, buf, int64(in.Offset))
		} else {
			n, err = fid.ReadAt(ctx, buf, int64(in.Offset))
		}
		return err
	})
	if !st.Ok() { // beside a result the status would be lost, and the error be the file's end
		return nil, st
	}
	if n < len(buf) && in.Flags&syscall.O_DIRECT == 0 && b.endsUnseen(in.NodeId, in.Offset+uint64(n), begun) {
		return nil, fuse.EINTR
	}
	return fuse.ReadResultData(buf[:n]), st
}

// readStream reads until p is full or an answer is empty, as v9fs does: a
// server ends each record of a stream with an empty answer.
func readStream(ctx context.Context, fid *client.Fid, p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := fid.Read1(ctx, p[n:], off+int64(n))
		if n > 0 && err != nil {
			break
		}
		if m == 0 || err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// Write is write(2), and the kernel's writing back of mapped pages.
func (b *bridge) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	var n int
	st := b.onHandle(cancel, &in.InHeader, in.Fh, func(ctx context.Context, s *session, h *handle, fid *client.Fid) (err error) {
		once := h.stream || h.flags&syscall.O_APPEND != 0
		if h.flags&syscall.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE != 0 {
			once = h.stream
			if fid, err = h.other(ctx, s); err != nil {
				return err
			}
		}
		b.wrote(h.n)
		b.changed(h.n, s)
		if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
			b.disarm(ctx, h.n, fid)
		}
		n, err = fid.WriteAt(ctx, data, int64(in.Offset))
		if once && s.lost(err) {
			return syscall.EIO // nobody knows whether it was written
		}
		if n > 0 && !s.lost(err) {
			b.moved(h.n)
			b.grew(h.n, in.Offset+uint64(n))
			if in.WriteFlags&fuse.WRITE_CACHE == 0 {
				return nil
			}
		}
		return err // of mapped pages the kernel would take a part for all
	})
	return uint32(n), st
}

// disarm takes suid and sgid away from a file that an ordinary user changes,
// as the kernel asks us to.
func (b *bridge) disarm(ctx context.Context, n *inode, fid *client.Fid) {
	b.inodes.mu.Lock()
	mode := n.mode
	n.mode = withoutSUIDGID(mode)
	b.inodes.mu.Unlock()
	if safe := withoutSUIDGID(mode); safe != mode {
		if err := fid.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetMode, Mode: safe & 07777}); err != nil {
			b.log.Warn("fusemount: could not take suid and sgid away", "inode", n.path, "err", err)
		}
	}
}

// Flush is close(2) of one descriptor: it ends the process's record locks.
func (b *bridge) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	h := b.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	who := lockOwner{id: in.LockOwner}
	if !b.locks.has(h.n, who) {
		return fuse.OK
	}
	return b.onHandle(cancel, &in.InHeader, in.Fh, func(ctx context.Context, _ *session, h *handle, fid *client.Fid) error {
		return b.unlockAll(ctx, h.n, who, fid)
	})
}

// Release is the last close of an open file. It ends its flock.
func (b *bridge) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	h := b.handles.remove(in.Fh)
	if h == nil {
		return
	}
	b.locks.forgetVia(h)
	h.close() // that unlocks at the server
}

// Fsync is fsync(2) and fdatasync(2).
func (b *bridge) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return b.onHandle(cancel, &in.InHeader, in.Fh, func(ctx context.Context, s *session, h *handle, fid *client.Fid) error {
		return b.fsync(ctx, s, h.n, fid, in.FsyncFlags&1 != 0)
	})
}

// Fallocate is fallocate(2). 9P cannot reserve space: the file grows, and
// there must be room at the moment; holes and moves of data are not supported.
// Nor can 9P grow a file without setting its size: what another client appends
// between the two requests, beyond the size that is asked for here, is cut off.
// Those of this mount are kept apart by the kernel.
func (b *bridge) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if in.Mode&^unix.FALLOC_FL_KEEP_SIZE != 0 {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	keep := in.Mode&unix.FALLOC_FL_KEEP_SIZE != 0
	return b.onHandle(cancel, &in.InHeader, in.Fh, func(ctx context.Context, s *session, h *handle, fid *client.Fid) error {
		a, err := fid.Attr(ctx)
		if err != nil || in.Offset+in.Length <= a.Size {
			return err
		}
		if err = room(ctx, fid, in.Length); err != nil || keep {
			return err
		}
		b.wrote(h.n)
		b.changed(h.n, s)
		err = fid.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize, Size: in.Offset + in.Length})
		if err == nil {
			b.moved(h.n)
			b.grew(h.n, in.Offset+in.Length)
		}
		return err
	})
}

// room is ENOSPC if the filesystem has fewer than n bytes left.
func room(ctx context.Context, fid *client.Fid, n uint64) error {
	st, err := fid.Statfs(ctx)
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil
	}
	if err == nil && n/max(uint64(st.BSize), 1) > st.BAvail {
		return syscall.ENOSPC
	}
	return err
}
