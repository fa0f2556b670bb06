package fusemount

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"bazil/p9srv/client"
)

// inDir runs fn for the directory of a request.
func (b *bridge) inDir(cancel <-chan struct{}, in *fuse.InHeader, fn func(ctx context.Context, s *session, dir *inode) error) fuse.Status {
	dir := b.inodes.get(in.NodeId)
	if dir == nil {
		return fuse.Status(syscall.ESTALE)
	}
	o := b.ops.begin(cancel, in.Pid, brief)
	defer o.end()
	return status(b.link.call(o, func(s *session) error { return fn(o, s, dir) }))
}

// Lookup is a step of a path.
func (b *bridge) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return b.onNode(cancel, in, func(ctx context.Context, s *session, dir *inode, d *client.Fid) error {
		epoch := b.epoch(dir)
		fid, err := d.Walk(ctx, name)
		if errors.Is(err, syscall.ENOENT) && b.mayBeAbsent(dir, name, epoch) {
			*out = fuse.EntryOut{}
			out.SetEntryTimeout(b.keepFor())
			return nil
		}
		if err != nil {
			return err
		}
		_, err = b.answerEntry(ctx, s, dir, name, fid, epoch, out)
		return err
	})
}

// answerEntry tells the kernel of a file, taking over its fid. epoch is the
// directory's from before the walk.
func (b *bridge) answerEntry(ctx context.Context, s *session, dir *inode, name string, fid *client.Fid, epoch uint64, out *fuse.EntryOut) (*inode, error) {
	was := b.inodes.before(fid.QID().Path)
	q, a, err := fid.Stat(ctx)
	if err != nil {
		b.clunk(fid)
		return nil, err
	}
	n := b.inodes.enter(dir, name, found{s, fid, a})
	b.learn(n, s, q.Version, was.moves)
	*out = fuse.EntryOut{NodeId: n.id}
	fillAttr(a, n.path, &out.Attr)
	out.SetAttrTimeout(b.saw(n, a, b.inodes.epochAt(n, was)))
	out.SetEntryTimeout(b.entryKeep(dir, n, epoch))
	return n, nil
}

// Forget ends lookups of the kernel.
func (b *bridge) Forget(id, lookups uint64) { b.inodes.forget(id, lookups) }

// makeEntry runs mk in a directory as the caller, then looks the new entry
// up. When the connection is lost under mk, nobody knows whether it was done:
// if it is tried again, the entry may be there and be of the wanted type.
func (b *bridge) makeEntry(cancel <-chan struct{}, in *fuse.InHeader, name string, typ uint32, out *fuse.EntryOut,
	mk func(ctx context.Context, dir *inode, d *client.Fid) error) fuse.Status {
	sent := false
	return b.inDir(cancel, in, func(ctx context.Context, s *session, dir *inode) (err error) {
		epoch := b.epoch(dir)
		made := b.making(dir, name)
		defer func() { made(err) }()
		d, err := b.clone(ctx, s, dir, in.Uid)
		if err != nil {
			return err
		}
		defer b.clunk(d)
		b.changed(dir, s)
		again := sent
		sent = true
		if err = mk(ctx, dir, d); err != nil && !(again && errors.Is(err, syscall.EEXIST)) {
			return err
		}
		fid, err := d.Walk(ctx, name)
		if err != nil {
			return err
		}
		n, err := b.answerEntry(ctx, s, dir, name, fid, epoch, out)
		if err == nil && n.typ != typ {
			b.inodes.forget(n.id, 1)
			return syscall.EEXIST
		}
		return err
	})
}

// newGID is the group of what is made in dir: in a directory with the sgid
// bit the directory's, else the caller's.
func (b *bridge) newGID(dir *inode, caller uint32) uint32 {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	if dir.mode&syscall.S_ISGID != 0 {
		return dir.gid
	}
	return caller
}

// dirMode is the mode of a new directory: the sgid bit is passed on.
func (b *bridge) dirMode(dir *inode, mode uint32) uint32 {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	return mode&07777 | dir.mode&syscall.S_ISGID
}

// Mkdir is mkdir(2).
func (b *bridge) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return b.makeEntry(cancel, &in.InHeader, name, syscall.S_IFDIR, out, func(ctx context.Context, dir *inode, d *client.Fid) error {
		_, err := d.Mkdir(ctx, name, b.dirMode(dir, in.Mode), b.newGID(dir, in.Gid))
		return err
	})
}

// Mknod is mknod(2), of regular files too.
func (b *bridge) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	typ := in.Mode & syscall.S_IFMT
	if typ == 0 {
		typ = syscall.S_IFREG
	}
	return b.makeEntry(cancel, &in.InHeader, name, typ, out, func(ctx context.Context, dir *inode, d *client.Fid) error {
		gid := b.newGID(dir, in.Gid)
		if typ == syscall.S_IFREG {
			return mkfile(ctx, d, name, in.Mode&07777, gid)
		}
		dev := uint64(in.Rdev)
		_, err := d.Mknod(ctx, name, in.Mode, unix.Major(dev), unix.Minor(dev), gid)
		return err
	})
}

// mkfile makes an empty file, leaving d as it is.
func mkfile(ctx context.Context, d *client.Fid, name string, mode, gid uint32) error {
	f, err := d.Walk(ctx)
	if err != nil {
		return err
	}
	defer f.Clunk(ctx) //nolint:errcheck // the file is there
	return f.Create(ctx, name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL, mode, gid)
}

// Symlink is symlink(2).
func (b *bridge) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return b.makeEntry(cancel, in, name, syscall.S_IFLNK, out, func(ctx context.Context, dir *inode, d *client.Fid) error {
		_, err := d.Symlink(ctx, name, target, b.newGID(dir, in.Gid))
		return err
	})
}

// Link is link(2).
func (b *bridge) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	old := b.inodes.get(in.Oldnodeid)
	if old == nil {
		return fuse.Status(syscall.ESTALE)
	}
	sent := false
	return b.onNode(cancel, &in.InHeader, func(ctx context.Context, s *session, dir *inode, d *client.Fid) (err error) {
		epoch := b.epoch(dir)
		made := b.making(dir, name)
		defer func() { made(err) }()
		target, err := b.hold(ctx, s, old)
		if err != nil {
			return err
		}
		defer b.letGo(old)
		b.changed(dir, s)
		again := sent
		sent = true
		if err = d.Link(ctx, target, name); err != nil && !(again && errors.Is(err, syscall.EEXIST)) {
			return err
		}
		fid, err := d.Walk(ctx, name)
		if err != nil {
			return err
		}
		_, err = b.answerEntry(ctx, s, dir, name, fid, epoch, out)
		return err
	})
}

// Readlink is readlink(2).
func (b *bridge) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	var target string
	st := b.onNode(cancel, in, func(ctx context.Context, _ *session, _ *inode, fid *client.Fid) (err error) {
		target, err = fid.Readlink(ctx)
		return err
	})
	return []byte(target), st
}

// Unlink is unlink(2).
func (b *bridge) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return b.remove(cancel, in, name, 0)
}

// Rmdir is rmdir(2).
func (b *bridge) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return b.remove(cancel, in, name, unix.AT_REMOVEDIR)
}

// remove takes an entry away. One that is gone when it is tried again was
// taken away before the connection was lost.
func (b *bridge) remove(cancel <-chan struct{}, in *fuse.InHeader, name string, flags uint32) fuse.Status {
	sent, was := false, glimpse{}
	return b.onNode(cancel, in, func(ctx context.Context, s *session, dir *inode, d *client.Fid) error {
		b.changed(dir, s)
		if !sent {
			was = b.glimpse(dir, name)
		} else if done, err := b.removed(ctx, d, name, was); done || err != nil {
			if done {
				b.inodes.gone(dir, name)
			}
			return err
		}
		sent = true
		if err := d.UnlinkAt(ctx, name, flags); err != nil {
			return err
		}
		b.inodes.gone(dir, name)
		return nil
	})
}

// Rename is rename(2), without the flags of renameat2(2): 9P has none.
func (b *bridge) Rename(cancel <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	to := b.inodes.get(in.Newdir)
	if to == nil {
		return fuse.Status(syscall.ESTALE)
	}
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	sent, was := false, renaming{}
	return b.onNode(cancel, &in.InHeader, func(ctx context.Context, s *session, dir *inode, d *client.Fid) (err error) {
		made := b.making(to, newName)
		defer func() { made(err) }()
		t, err := b.hold(ctx, s, to)
		if err != nil {
			return err
		}
		defer b.letGo(to)
		b.changed(dir, s)
		b.changed(to, s)
		done := false
		if !sent {
			was = renaming{b.glimpse(dir, name), b.glimpse(to, newName)}
		} else if done, err = was.done(ctx, b, d, name, t, newName); err != nil {
			return err
		}
		sent = true
		if !done {
			err = d.RenameAt(ctx, name, t, newName)
		}
		if err != nil {
			return err
		}
		if n := b.inodes.child(dir, name); n != nil {
			b.moved(n)
		}
		b.inodes.moved(dir, name, to, newName)
		return nil
	})
}
