package p9srv

import (
	"context"
	"strconv"
	"syscall"
	"time"
)

// Bits of the mode in a stat of 9P2000, and behind dmTmp of 9P2000.u.
const (
	dmDir    = 0x80000000
	dmAppend = 0x40000000
	dmExcl   = 0x20000000
	dmTmp    = 0x04000000

	dmSymlink = 0x02000000
	dmLink    = 0x01000000 // in Tcreate only
	dmDevice  = 0x00800000
	dmFifo    = 0x00200000
	dmSocket  = 0x00100000
	dmSetUID  = 0x00080000
	dmSetGID  = 0x00040000
	dmSticky  = 0x00010000
)

// stat is a file as Rstat, Twstat and a directory's bytes carry it:
//
//	size[2] type[2] dev[4] qid[13] mode[4] atime[4] mtime[4] length[8]
//	name[s] uid[s] gid[s] muid[s]
//
// where size counts what is behind it, and in 9P2000.u further
//
//	extension[s] n_uid[4] n_gid[4] n_muid[4]
type stat struct {
	typ                   uint16
	dev                   uint32
	qid                   QID
	mode                  uint32
	atime, mtime          uint32 // seconds
	length                uint64
	name, uid, gid, muid  string
	extension             string // a symlink's target, a device's type and numbers
	numUID, numGID, numMU uint32
}

// append adds s to b.
func (s *stat) append(b []byte, d dialect) []byte {
	at := len(b)
	b = put32(put16(put16(b, 0), s.typ), s.dev)
	b = put32(put32(put32(AppendQID(b, s.qid), s.mode), s.atime), s.mtime)
	b = AppendString(AppendString(put64(b, s.length), s.name), s.uid)
	b = AppendString(AppendString(b, s.gid), s.muid)
	if d == dialectU {
		b = put32(put32(put32(AppendString(b, s.extension), s.numUID), s.numGID), s.numMU)
	}
	n := len(b) - at - 2
	b[at], b[at+1] = byte(n), byte(n>>8)
	return b
}

// decodeStat takes a stat off in, where its size[2] says how long it is.
func decodeStat(in *Decoder, d dialect) (s stat, ok bool) {
	body := NewDecoder(in.Bytes(int(in.U16())))
	s = stat{typ: body.U16(), dev: body.U32(), qid: body.QID(), mode: body.U32(), atime: body.U32(), mtime: body.U32(), length: body.U64()}
	s.name, s.uid, s.gid, s.muid = body.String(), body.String(), body.String(), body.String()
	s.numUID, s.numGID, s.numMU = NoUID, NoUID, NoUID
	if d == dialectU {
		s.extension = body.String()
		s.numUID, s.numGID, s.numMU = body.U32(), body.U32(), body.U32()
	}
	return s, !in.Bad() && !body.Bad() && body.Len() == 0
}

// plainQID leaves of a qid what a dialect knows.
func plainQID(q QID, d dialect) QID {
	if d == dialectPlain {
		q.Type &= QTDir | QTAppend | QTExcl | QTTmp
	}
	return q
}

// statOf makes the stat of n, which was walked to as name.
func (r *request) statOf(ctx context.Context, n Node, name string) (stat, error) {
	qid := n.QID() // older than the attributes, never newer
	a, err := n.Attr(ctx)
	if err != nil {
		return stat{}, err
	}
	names := r.c.srv.users()
	d := r.sess.dialect
	s := stat{
		qid: plainQID(qid, d), mode: modeBits(a.Mode, d), length: a.Size, name: name,
		atime: seconds(a.ATime), mtime: seconds(a.MTime),
		uid: names.UserName(a.UID), gid: names.GroupName(a.GID),
		numUID: a.UID, numGID: a.GID, numMU: a.UID,
	}
	s.muid = s.uid
	s.mode |= uint32(s.qid.Type&(QTAppend|QTExcl|QTTmp)) << 24
	if a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		s.mode, s.length = s.mode|dmDir, 0
	}
	if d == dialectU {
		s.extension, err = extension(ctx, n, a)
	}
	return s, err
}

// modeBits are the permissions, and in 9P2000.u what kind of file it is.
func modeBits(mode uint32, d dialect) uint32 {
	m := mode & 0777
	if d != dialectU {
		return m
	}
	switch mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		m |= dmSymlink
	case syscall.S_IFBLK, syscall.S_IFCHR:
		m |= dmDevice
	case syscall.S_IFIFO:
		m |= dmFifo
	case syscall.S_IFSOCK:
		m |= dmSocket
	}
	for _, b := range specialBits {
		if mode&b.mode != 0 {
			m |= b.dm
		}
	}
	return m
}

var specialBits = [...]struct{ mode, dm uint32 }{
	{syscall.S_ISUID, dmSetUID}, {syscall.S_ISGID, dmSetGID}, {syscall.S_ISVTX, dmSticky},
}

// unixBits is the way back: permissions of a mode in a stat or Tcreate.
func unixBits(m uint32, d dialect) uint32 {
	mode := m & 0777
	if d == dialectU {
		for _, b := range specialBits {
			if m&b.dm != 0 {
				mode |= b.mode
			}
		}
	}
	return mode
}

// extension says of a symlink where to, and of a device which.
func extension(ctx context.Context, n Node, a Attr) (string, error) {
	kind := ""
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		if l, ok := n.(Readlinker); ok {
			return l.Readlink(ctx)
		}
		return "", nil
	case syscall.S_IFBLK:
		kind = "b "
	case syscall.S_IFCHR:
		kind = "c "
	default:
		return "", nil
	}
	major, minor := splitDevice(a.RDev)
	return kind + strconv.FormatUint(uint64(major), 10) + " " + strconv.FormatUint(uint64(minor), 10), nil
}

// splitDevice takes a device number of Linux apart.
func splitDevice(rdev uint64) (major, minor uint32) {
	return uint32(rdev>>8&0xfff | rdev>>32&^uint64(0xfff)), uint32(rdev&0xff | rdev>>12&^uint64(0xff))
}

// seconds cuts a time to what 9P2000 carries.
func seconds(ns int64) uint32 {
	sec, _ := splitTime(ns)
	return uint32(min(max(sec, 0), 1<<32-2))
}

// nanoseconds is the way back.
func nanoseconds(sec uint32) int64 { return int64(sec) * int64(time.Second) }

// nameOf is how a fid's file is called.
func (f *fid) nameOf() string {
	if f.at.depth == 0 {
		return "/"
	}
	if p, ok := f.node.Node.(Placed); ok {
		if name := p.Name(); name != "" {
			return name
		}
	}
	return f.at.name
}

// tstat answers Tstat: fid[4], with n[2] and a stat of that many bytes.
func tstat(r *request) error {
	num := r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	s, err := r.statOf(&r.ctx, f.node.Node, f.nameOf())
	if err != nil {
		return err
	}
	at := len(r.out)
	r.out = s.append(put16(r.out, 0), r.sess.dialect)
	n := len(r.out) - at - 2
	r.out[at], r.out[at+1] = byte(n), byte(n>>8)
	return nil
}
