package fusemount

import (
	"context"
	"errors"
	"syscall"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// A request whose connection was lost may have been done, and what it was done
// to may have been replaced since, by a peer's change or by a server that lost
// its last seconds. Sending it again must not do it twice, the second time to
// something newer. So what changes a name is compared first with what the name
// was before the request was sent; where nobody can tell, it fails with EIO.

// glimpse is what a name showed before a request was sent.
type glimpse struct {
	there   bool
	path    uint64
	version uint32 // 0: not known
}

// glimpse is what the mount knows of a name in dir.
func (b *bridge) glimpse(dir *inode, name string) glimpse {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	n := dir.children[name]
	if n == nil {
		return glimpse{}
	}
	return glimpse{true, n.path, n.seen}
}

// look is what a name in d shows now.
func (b *bridge) look(ctx context.Context, d *client.Fid, name string) (p9srv.QID, bool, error) {
	fid, err := d.Walk(ctx, name)
	if errors.Is(err, syscall.ENOENT) {
		return p9srv.QID{}, false, nil
	}
	if err != nil {
		return p9srv.QID{}, false, err
	}
	defer b.clunk(fid)
	return fid.QID(), true, nil
}

// is says whether q is the very version that was seen. Directories have no
// bytes that could be replaced.
func (g glimpse) is(q p9srv.QID) bool {
	return g.there && g.path == q.Path && (q.Type&p9srv.QTDir != 0 || g.version != 0 && g.version == q.Version)
}

// removed says whether what was seen as name is gone from d, when its removal
// is to be sent again.
func (b *bridge) removed(ctx context.Context, d *client.Fid, name string, was glimpse) (bool, error) {
	q, there, err := b.look(ctx, d, name)
	switch {
	case err != nil:
		return false, err
	case !there, was.there && q.Path != was.path:
		return true, nil
	case was.is(q):
		return false, nil
	}
	return false, syscall.EIO
}

// renaming is a rename that may be sent again.
type renaming struct {
	from, to glimpse
}

// done says whether the rename was done, when it is to be sent again.
func (r renaming) done(ctx context.Context, b *bridge, d *client.Fid, name string, t *client.Fid, newName string) (bool, error) {
	from, isFrom, err := b.look(ctx, d, name)
	if err != nil {
		return false, err
	}
	to, isTo, err := b.look(ctx, t, newName)
	switch {
	case err != nil:
		return false, err
	case isTo && r.from.there && to.Path == r.from.path:
		return true, nil
	case !isFrom || from.Path != r.from.path || isTo && !r.to.is(to):
		return false, syscall.EIO
	}
	return false, nil
}

// untouched says whether a file may be made size bytes long again: it is so
// long already, or it is what it was when the request was sent first.
func (b *bridge) untouched(ctx context.Context, fid *client.Fid, size uint64, version uint32) error {
	q, a, err := fid.Stat(ctx)
	if err == nil && a.Size != size && (version == 0 || q.Version != version) {
		err = syscall.EIO
	}
	return err
}

// seenVersion is the version of n that was seen last, 0 if it is not known.
func (b *bridge) seenVersion(n *inode) uint32 {
	b.inodes.mu.Lock()
	defer b.inodes.mu.Unlock()
	return n.seen
}

// createAgain makes and opens a file when that is to be sent again. ours is
// the QID.Path of what was made, 0 if no answer came. What is there without
// being ours is opened as open(2) does, but not truncated.
func (b *bridge) createAgain(ctx context.Context, f *client.Fid, name string, flags, mode, gid uint32, ours uint64) error {
	const strict = syscall.O_EXCL | syscall.O_TRUNC
	if flags&strict == 0 {
		return f.Create(ctx, name, flags, mode, gid)
	}
	d, err := f.Walk(ctx)
	if err != nil {
		return err
	}
	defer b.clunk(d)
	err = f.Create(ctx, name, flags|syscall.O_EXCL, mode, gid)
	if !errors.Is(err, syscall.EEXIST) {
		return err
	}
	if err = b.mayAdopt(ctx, d, name, flags, ours); err != nil {
		return err
	}
	return f.Create(ctx, name, flags&^strict, mode, gid)
}

// mayAdopt says whether the file that is there may be the one that was made.
func (b *bridge) mayAdopt(ctx context.Context, d *client.Fid, name string, flags uint32, ours uint64) error {
	fid, err := d.Walk(ctx, name)
	if err != nil {
		return err
	}
	defer b.clunk(fid)
	q, a, err := fid.Stat(ctx)
	switch {
	case err != nil:
		return err
	case flags&syscall.O_EXCL != 0 && q.Path != ours:
		return syscall.EEXIST
	case a.Size != 0:
		return syscall.EIO
	}
	return nil
}
