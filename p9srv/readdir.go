package p9srv

import (
	"encoding/binary"
	"syscall"
)

// The cookies behind "." and "..", which a tree must not use itself. They
// are positive in a signed number, as Linux wants them, and not the last one,
// which filesystems like for the end.
const (
	cookieDot    = 1<<63 - 3
	cookieDotDot = 1<<63 - 2
)

// direntSize is what an entry takes beside its name: qid[13] offset[8]
// type[1] and the name's length[2].
const direntSize = 13 + 8 + 1 + 2

// readdir answers Treaddir: fid[4] offset[8] count[4].
func readdir(r *request) error {
	num, off, count := r.in.U32(), r.in.U64(), r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, o, err := r.opened(num)
	if err != nil {
		return err
	}
	defer f.put()
	if o.dir == nil {
		return syscall.ENOTDIR
	}
	if err := o.listing.enter(&r.ctx); err != nil {
		return err
	}
	defer o.listing.leave()
	n := int(min(count, r.sess.msize-ReadHeader))
	r.charge(n)
	r.free = newBuffer(n)
	l := lister{limit: n, b: r.free.b[:0]}
	if err := l.fill(r, f, o, off); err != nil {
		return err
	}
	r.out = put32(r.out, uint32(len(l.b)))
	if len(l.b) > copyLimit {
		r.data = append(r.data, l.b)
		return nil
	}
	r.out = append(r.out, l.b...)
	r.free.release()
	r.free = nil
	return nil
}

// lister gathers entries until limit bytes are full.
type lister struct {
	b     []byte
	limit int
	full  bool
}

// fill adds the entries behind the cookie off.
func (l *lister) fill(r *request, f *fid, o *openFile, off uint64) error {
	if off == 0 {
		l.add(Dirent{QID: f.node.QID(), Offset: cookieDot, Type: syscall.DT_DIR, Name: "."})
	}
	if off == 0 || off == cookieDot {
		if !l.full {
			l.add(Dirent{QID: r.parentQID(f), Offset: cookieDotDot, Type: syscall.DT_DIR, Name: ".."})
		}
		off = cookieDotDot
	}
	if off == cookieDotDot {
		off = 0
	}
	if !l.full {
		if err := o.dir.ReadDir(&r.ctx, off, l.add); err != nil && len(l.b) == 0 {
			return err
		}
	}
	if l.full && len(l.b) == 0 {
		return syscall.EINVAL // no room for even one
	}
	return nil
}

// add appends an entry; false: it did not fit.
func (l *lister) add(d Dirent) bool {
	at, n := len(l.b), direntSize+len(d.Name)
	if l.full || at+n > l.limit {
		l.full = true
		return false
	}
	l.b = l.b[:at+n]
	p := l.b[at:]
	p[0] = byte(d.QID.Type)
	binary.LittleEndian.PutUint32(p[1:], d.QID.Version)
	binary.LittleEndian.PutUint64(p[5:], d.QID.Path)
	binary.LittleEndian.PutUint64(p[13:], d.Offset)
	p[21] = d.kind()
	binary.LittleEndian.PutUint16(p[22:], uint16(len(d.Name)))
	copy(p[direntSize:], d.Name)
	return true
}

// kind is the DT_* of an entry; where the tree does not say, that of its qid.
func (d *Dirent) kind() uint8 {
	switch {
	case d.Type != syscall.DT_UNKNOWN:
		return d.Type
	case d.QID.Type&QTDir != 0:
		return syscall.DT_DIR
	case d.QID.Type&QTSymlink != 0:
		return syscall.DT_LNK
	}
	return syscall.DT_REG
}

// parentQID is what ".." of an open directory stands for.
func (r *request) parentQID(f *fid) QID {
	at := f.at
	n, qid, err := r.step(f.node, &at, []byte(".."))
	if err != nil {
		return f.node.QID()
	}
	n.drop()
	return qid
}
