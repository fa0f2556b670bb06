package p9srv

import (
	"context"
	"strings"
	"syscall"
)

const (
	noU16 = ^uint16(0)
	noU32 = ^uint32(0)
	noU64 = ^uint64(0)
)

// wstat answers Twstat: fid[4] n[2] stat[n]. Fields that say "don't touch"
// (all ones, or the empty string) stay; all others are changed, or none. A
// stat that touches nothing asks for the file to be made durable.
func wstat(r *request) error {
	num := r.in.U32()
	r.in.U16()
	s, ok := decodeStat(&r.in, r.sess.dialect)
	if !ok {
		return syscall.EINVAL
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	if s.untouched() {
		return r.sync(f, false)
	}
	ch, err := r.changes(f, s)
	if err != nil {
		return err
	}
	return r.change(f, ch)
}

// untouched is true when the stat asks for no change.
func (s *stat) untouched() bool {
	return s.typ == noU16 && s.dev == noU32 && s.qid == QID{^QIDType(0), noU32, noU64} &&
		s.mode == noU32 && s.atime == noU32 && s.mtime == noU32 && s.length == noU64 &&
		s.name == "" && s.uid == "" && s.gid == "" && s.muid == "" &&
		s.numUID == noU32 && s.numGID == noU32 && s.numMU == noU32
}

// changes is what a Twstat asks for.
type changes struct {
	attr  SetAttr
	name  string // empty: stays
	flags QIDType
	flag  bool // flags count
}

// changes finds out what is to be changed, and refuses what cannot be.
func (r *request) changes(f *fid, s stat) (ch changes, err error) {
	old, err := r.statOf(&r.ctx, f.node.Node, f.nameOf())
	if err != nil {
		return ch, err
	}
	switch {
	case s.typ != noU16 && s.typ != old.typ, s.dev != noU32 && s.dev != old.dev,
		s.qid.Path != noU64 && s.qid.Path != old.qid.Path,
		s.muid != "" && s.muid != old.muid:
		return ch, syscall.EPERM
	case s.mode != noU32 && s.mode&dmDir != 0 && old.mode&dmDir == 0:
		return ch, syscall.EPERM
	case s.length != noU64 && s.length != 0 && old.mode&dmDir != 0:
		return ch, syscall.EISDIR
	}
	if s.name != "" && s.name != old.name {
		if ch.name, err = checkNewName([]byte(s.name)); err != nil {
			return ch, err
		}
	}
	r.modeChange(&ch, &s, &old)
	if s.length != noU64 && old.mode&dmDir == 0 {
		ch.attr.Valid, ch.attr.Size = ch.attr.Valid|SetSize, s.length
	}
	if s.atime != noU32 {
		ch.attr.Valid, ch.attr.ATime = ch.attr.Valid|SetATime|SetATimeValue, nanoseconds(s.atime)
	}
	if s.mtime != noU32 {
		ch.attr.Valid, ch.attr.MTime = ch.attr.Valid|SetMTime|SetMTimeValue, nanoseconds(s.mtime)
	}
	return ch, r.ownerChange(&ch, &s, &old)
}

// modeChange notes new permissions, and new append-only, exclusive-use and
// temporary bits.
func (r *request) modeChange(ch *changes, s, old *stat) {
	if s.mode == noU32 {
		return
	}
	ch.attr.Valid, ch.attr.Mode = ch.attr.Valid|SetMode, unixBits(s.mode, r.sess.dialect)
	const bits = dmAppend | dmExcl | dmTmp
	if s.mode&bits != old.mode&bits {
		ch.flag, ch.flags = true, QIDType(s.mode&bits>>24)
	}
}

// ownerChange notes a new owner and group.
func (r *request) ownerChange(ch *changes, s, old *stat) error {
	names := r.c.srv.users()
	uid, gid := s.numUID, s.numGID
	if uid == NoUID && s.uid != "" && s.uid != old.uid {
		n, ok := names.LookupUser(s.uid)
		if !ok {
			return errUnknownUser
		}
		uid = n
	}
	if gid == NoUID && s.gid != "" && s.gid != old.gid {
		n, ok := names.LookupGroup(s.gid)
		if !ok {
			return errUnknownGroup
		}
		gid = n
	}
	if uid != NoUID && uid != old.numUID {
		ch.attr.Valid, ch.attr.UID = ch.attr.Valid|SetUID, uid
	}
	if gid != NoUID && gid != old.numGID {
		ch.attr.Valid, ch.attr.GID = ch.attr.Valid|SetGID, gid
	}
	return nil
}

var (
	errUnknownUser  = &Error{Errno: syscall.EINVAL, Text: "unknown user"}
	errUnknownGroup = &Error{Errno: syscall.EINVAL, Text: "unknown group"}
)

// change makes the changes. A new name comes first, as it can be taken back.
func (r *request) change(f *fid, ch changes) error {
	others := ch.attr.Valid != 0 || ch.flag
	back, err := r.moveWithin(f, ch.name, others)
	if err != nil || !others {
		return err
	}
	if err := r.changeRest(f, ch); err != nil {
		back()
		return err
	}
	return nil
}

// moveWithin gives the file another name in its directory. An entry that has
// the name is replaced, as POSIX wants it, unless more is to be changed: that
// could not be taken back. Nor is it taken back where another client has made
// something of the old name meanwhile: better half a change than that lost.
func (r *request) moveWithin(f *fid, name string, more bool) (back func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	p, ok := f.node.Node.(Placed)
	if !ok || f.at.depth == 0 {
		return nil, syscall.EPERM
	}
	if more && taken(&r.ctx, f, name) {
		return nil, syscall.EEXIST
	}
	old := p.Name()
	if err := p.Move(&r.ctx, nil, name); err != nil {
		return nil, err
	}
	return func() {
		if !taken(r.c.ctx, f, old) {
			p.Move(r.c.ctx, nil, old)
		}
	}, nil
}

// taken is true unless the directory of f is known to have no entry of that
// name.
func taken(ctx context.Context, f *fid, name string) bool {
	if f.dir == nil {
		return true
	}
	n, err := f.dir.Walk(ctx, name)
	if err != nil {
		return errnoOf(err) != syscall.ENOENT
	}
	n.Release()
	return true
}

// changeRest sets the attributes and the bits that Unix does not have.
func (r *request) changeRest(f *fid, ch changes) error {
	if !ch.flag {
		return r.setAttr(f, ch.attr)
	}
	fl, ok := f.node.Node.(Flagger)
	if !ok {
		return syscall.EOPNOTSUPP
	}
	old := f.node.QID().Type & (QTAppend | QTExcl | QTTmp)
	if err := fl.SetFlags(&r.ctx, ch.flags); err != nil || ch.attr.Valid == 0 {
		return err
	}
	err := r.setAttr(f, ch.attr)
	if err != nil {
		fl.SetFlags(r.c.ctx, old)
	}
	return err
}

// checkNewName refuses what cannot be the name of a new entry.
func checkNewName(name []byte) (string, error) {
	switch {
	case len(name) == 0:
		return "", syscall.ENOENT
	case len(name) > MaxName:
		return "", syscall.ENAMETOOLONG
	}
	s := string(name)
	if s == "." || s == ".." || strings.ContainsAny(s, "/\x00") {
		return "", syscall.EINVAL
	}
	return s, nil
}
