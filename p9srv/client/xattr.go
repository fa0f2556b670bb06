package client

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"bazil/p9srv"
)

// maxXattr is the largest value of Linux.
const maxXattr = 64 << 10

// XATTR_REPLACE of setxattr(2).
const xattrReplace = 2

// GetXattr is the value of an extended attribute; ENODATA if there is none.
func (f *Fid) GetXattr(ctx context.Context, name string) ([]byte, error) {
	if name == "" {
		return nil, syscall.ERANGE
	}
	return f.xattr(ctx, name)
}

// ListXattr lists the names of the extended attributes.
func (f *Fid) ListXattr(ctx context.Context) ([]string, error) {
	list, err := f.xattr(ctx, "")
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00"), nil
}

// xattr reads what Txattrwalk leads to.
func (f *Fid) xattr(ctx context.Context, name string) ([]byte, error) {
	x := &Fid{c: f.c, num: f.c.takeFid()}
	k, err := f.call(ctx, p9srv.Txattrwalk, func(b []byte) []byte {
		return p9srv.AppendString(put32(b, x.num), name)
	})
	if err != nil {
		f.c.freeFid(x.num)
		return nil, err
	}
	defer x.Clunk(context.WithoutCancel(ctx))
	d := p9srv.NewDecoder(k.body)
	size := d.U64()
	k.recycle()
	if err := f.c.parsed(&d); err != nil {
		return nil, err
	}
	if size > maxXattr {
		return nil, syscall.E2BIG
	}
	value := make([]byte, size)
	n, err := x.ReadAt(ctx, value, 0)
	if err == nil && n < len(value) {
		err = fmt.Errorf("9P server sent %d bytes of an attribute of %d", n, size)
	}
	return value[:n], err
}

// SetXattr sets an extended attribute; flags are XATTR_CREATE and
// XATTR_REPLACE.
func (f *Fid) SetXattr(ctx context.Context, name string, value []byte, flags uint32) error {
	if len(value) == 0 && flags&xattrReplace != 0 {
		// Together they would remove it.
		if _, err := f.GetXattr(ctx, name); err != nil {
			return err
		}
		flags &^= xattrReplace
	}
	return f.createXattr(ctx, name, value, flags)
}

// RemoveXattr removes an extended attribute; ENODATA if there is none.
func (f *Fid) RemoveXattr(ctx context.Context, name string) error {
	return f.createXattr(ctx, name, nil, xattrReplace)
}

func (f *Fid) createXattr(ctx context.Context, name string, value []byte, flags uint32) error {
	x, err := f.Walk(ctx)
	if err != nil {
		return err
	}
	err = x.do(ctx, p9srv.Txattrcreate, func(b []byte) []byte {
		return put32(put64(p9srv.AppendString(b, name), uint64(len(value))), flags)
	})
	if err == nil && len(value) > 0 {
		err = x.writeInOrder(ctx, value)
	}
	if e := x.Clunk(context.WithoutCancel(ctx)); err == nil {
		err = e
	}
	return err
}

// writeInOrder writes p with one message after another.
func (f *Fid) writeInOrder(ctx context.Context, p []byte) error {
	for off := 0; off < len(p); {
		n := min(len(p)-off, f.c.chunk())
		if _, err := f.WriteAt(ctx, p[off:off+n], int64(off)); err != nil {
			return err
		}
		off += n
	}
	return nil
}
