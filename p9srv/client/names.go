package client

import (
	"context"

	"bazil/p9srv"
)

// Mkdir makes a directory in the directory of this fid.
func (f *Fid) Mkdir(ctx context.Context, name string, mode, gid uint32) (p9srv.QID, error) {
	return f.qidCall(ctx, p9srv.Tmkdir, func(b []byte) []byte {
		return put32(put32(p9srv.AppendString(b, name), mode), gid)
	})
}

// Symlink makes a symlink to target in the directory of this fid.
func (f *Fid) Symlink(ctx context.Context, name, target string, gid uint32) (p9srv.QID, error) {
	return f.qidCall(ctx, p9srv.Tsymlink, func(b []byte) []byte {
		return put32(p9srv.AppendString(p9srv.AppendString(b, name), target), gid)
	})
}

// Mknod makes a fifo, socket or device node; mode has the type bits.
func (f *Fid) Mknod(ctx context.Context, name string, mode, major, minor, gid uint32) (p9srv.QID, error) {
	return f.qidCall(ctx, p9srv.Tmknod, func(b []byte) []byte {
		return put32(put32(put32(put32(p9srv.AppendString(b, name), mode), major), minor), gid)
	})
}

// Readlink is the target of the symlink.
func (f *Fid) Readlink(ctx context.Context) (string, error) {
	k, err := f.call(ctx, p9srv.Treadlink, nothing)
	if err != nil {
		return "", err
	}
	defer k.recycle()
	d := p9srv.NewDecoder(k.body)
	target := d.String()
	return target, f.c.parsed(&d)
}

// Link makes a hard link to target in the directory of this fid.
func (f *Fid) Link(ctx context.Context, target *Fid, name string) error {
	if err := target.live(); err != nil {
		return err
	}
	return f.do(ctx, p9srv.Tlink, func(b []byte) []byte {
		return p9srv.AppendString(put32(b, target.num), name)
	})
}

// RenameAt moves the entry oldName of the directory of this fid into newDir,
// over what may be there.
func (f *Fid) RenameAt(ctx context.Context, oldName string, newDir *Fid, newName string) error {
	if err := newDir.live(); err != nil {
		return err
	}
	return f.do(ctx, p9srv.Trenameat, func(b []byte) []byte {
		return p9srv.AppendString(put32(p9srv.AppendString(b, oldName), newDir.num), newName)
	})
}

// UnlinkAt removes an entry of the directory of this fid; with
// AT_REMOVEDIR, 0x200, a directory.
func (f *Fid) UnlinkAt(ctx context.Context, name string, flags uint32) error {
	return f.do(ctx, p9srv.Tunlinkat, func(b []byte) []byte {
		return put32(p9srv.AppendString(b, name), flags)
	})
}
