package p9srv

import (
	"strings"
	"sync"
	"syscall"
)

// maxXattr is the largest extended attribute of Linux, and the longest list
// of names.
const maxXattr = 64 << 10

// maxXattrBytes is how much the values that a connection's fids stand for may
// take together.
const maxXattrBytes = 8 << 20

// Flags of Txattrcreate.
const (
	xattrCreate  = 1
	xattrReplace = 2
)

// xattr is what a fid stands for after Txattrwalk, when it holds a value or
// the list of names to be read, or after Txattrcreate, when it gathers the
// bytes of a new value. The value is set when its last byte has come, so that
// the client hears of an error where it looks for one; a value of no bytes is
// set at once.
type xattr struct {
	value []byte // to be read
	held  int64  // bytes charged to the connection

	name  string
	flags uint32

	mu   sync.Mutex // guards what follows
	data []byte     // came so far
	size int        // to come in all
	set  bool       // being set, or was
}

// xattrwalk answers Txattrwalk: fid[4] newfid[4] name[s]; no name asks for
// the list of them.
func xattrwalk(r *request) error {
	num, newNum, name := r.in.U32(), r.in.U32(), r.in.String()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	value, err := r.xattrValue(f, name)
	if err != nil {
		return err
	}
	if len(value) > maxXattr {
		return syscall.E2BIG
	}
	x, err := r.xattrFid(f, &xattr{value: value}, len(value))
	if err != nil {
		return err
	}
	if num == newNum {
		if err = r.replace(num, f, x); err == nil {
			f.put()
		}
	} else {
		err = r.install(newNum, x)
	}
	if err != nil {
		x.put()
		return err
	}
	r.out = put64(r.out, uint64(len(value)))
	return nil
}

// xattrFid makes a fid that stands for x, and charges the connection with n
// bytes of it until the fid is gone.
func (r *request) xattrFid(f *fid, x *xattr, n int) (*fid, error) {
	x.held = int64(n)
	if r.c.xattrs.Add(x.held) > maxXattrBytes || !r.c.memory.Take(x.held) {
		r.c.xattrs.Add(-x.held)
		return nil, syscall.ENOBUFS
	}
	to := newFid(r.c, f.node.hold(), f.at)
	to.attr = x
	return to, nil
}

// xattrValue is the value of one attribute, or the names, each with a NUL.
func (r *request) xattrValue(f *fid, name string) ([]byte, error) {
	xs, ok := f.node.Node.(Xattrer)
	switch {
	case f.attr != nil:
		return nil, syscall.EBADF
	case !ok:
		return nil, syscall.EOPNOTSUPP
	case name != "":
		return xs.GetXattr(&r.ctx, name)
	}
	names, err := xs.ListXattr(&r.ctx)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return []byte(strings.Join(names, "\x00") + "\x00"), nil
}

// readAttr answers a Tread of a value.
func (r *request) readAttr(x *xattr, off uint64, n int) error {
	if x.name != "" {
		return syscall.EBADF
	}
	value := x.value[min(off, uint64(len(x.value))):]
	value = value[:min(n, len(value))]
	r.out = append(put32(r.out, uint32(len(value))), value...)
	return nil
}

// xattrcreate answers Txattrcreate: fid[4] name[s] size[8] flags[4]. The fid
// stands for the new value then, whose bytes come by Twrite. As v9fs has no
// message to remove an attribute, no bytes with XATTR_REPLACE removes it.
func xattrcreate(r *request) error {
	num, name, size, flags := r.in.U32(), r.in.String(), r.in.U64(), r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	xs, ok := f.node.Node.(Xattrer)
	switch {
	case f.attr != nil || f.file.Load() != nil:
		return errOpen
	case !ok:
		return syscall.EOPNOTSUPP
	case name == "" || len(name) > MaxName || strings.IndexByte(name, 0) >= 0:
		return syscall.ERANGE
	case size > maxXattr:
		return syscall.E2BIG
	case flags&^(xattrCreate|xattrReplace) != 0:
		return syscall.EINVAL
	}
	x, err := r.xattrFid(f, &xattr{name: name, flags: flags, size: int(size), set: size == 0}, int(size))
	if err != nil {
		return err
	}
	if err := r.beginXattr(xs, x.attr); err != nil {
		x.put()
		return err
	}
	if err := r.replace(num, f, x); err != nil {
		x.put()
		return err
	}
	f.put()
	return nil
}

// beginXattr sets or removes an attribute of no bytes; for one with bytes it
// finds out early that the flags forbid it.
func (r *request) beginXattr(xs Xattrer, x *xattr) error {
	switch {
	case x.size == 0 && x.flags&xattrReplace != 0:
		return xs.RemoveXattr(&r.ctx, x.name)
	case x.size == 0:
		return xs.SetXattr(&r.ctx, x.name, []byte{}, x.flags)
	case x.flags == 0:
		return nil
	}
	_, err := xs.GetXattr(&r.ctx, x.name)
	switch {
	case err == nil && x.flags&xattrCreate != 0:
		return syscall.EEXIST
	case err != nil && x.flags&xattrReplace != 0:
		return err
	}
	return nil
}

// writeAttr takes a Twrite of a part of the value, in order.
func (r *request) writeAttr(f *fid, off uint64, data []byte) error {
	x := f.attr
	if x.name == "" {
		return syscall.EBADF
	}
	whole, err := x.add(off, data)
	if err != nil || whole == nil {
		return err
	}
	return f.node.Node.(Xattrer).SetXattr(&r.ctx, x.name, whole, x.flags)
}

// add appends a part; it returns the value when that is whole.
func (x *xattr) add(off uint64, data []byte) ([]byte, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case off != uint64(len(x.data)):
		return nil, syscall.EINVAL
	case len(x.data)+len(data) > x.size:
		return nil, syscall.ENOSPC
	}
	x.data = append(x.data, data...)
	if x.set || len(x.data) < x.size {
		return nil, nil
	}
	x.set = true
	return x.data, nil
}
