package p9srv

import (
	"context"
	"strconv"
	"strings"
	"syscall"
)

// handlerPlain finds who answers a message of 9P2000 and 9P2000.u.
func handlerPlain(t MsgType) handler {
	switch t {
	case Tauth:
		return auth
	case Tattach:
		return attach
	case Twalk:
		return walk
	case Topen:
		return topen
	case Tcreate:
		return tcreate
	case Tread:
		return read
	case Twrite:
		return write
	case Tclunk:
		return clunk
	case Tremove:
		return remove
	case Tstat:
		return tstat
	case Twstat:
		return wstat
	}
	return nil
}

// Open modes of 9P2000.
const (
	modeExec   = 3
	modeTrunc  = 0x10
	modeCExec  = 0x20 // means nothing here
	modeRClose = 0x40
	modeAppend = 0x80 // 9P2000.u
)

// openFlags makes flags of Linux of a mode of Topen.
func openFlags(mode uint8, d dialect) (flags uint32, rclose bool, err error) {
	known := uint8(3 | modeTrunc | modeCExec | modeRClose)
	if d == dialectU {
		known |= modeAppend
	}
	if mode&^known != 0 {
		return 0, false, syscall.EINVAL
	}
	if flags = uint32(mode & 3); flags == modeExec {
		flags = 0
	}
	if mode&modeTrunc != 0 {
		flags |= openTrunc
	}
	if mode&modeAppend != 0 {
		flags |= openAppend
	}
	return flags, mode&modeRClose != 0, nil
}

// topen answers Topen: fid[4] mode[1].
func topen(r *request) error {
	num, mode := r.in.U32(), r.in.U8()
	if err := r.parsed(); err != nil {
		return err
	}
	flags, rclose, err := openFlags(mode, r.sess.dialect)
	if err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	if err := r.open(f, flags, rclose); err != nil {
		return err
	}
	r.out = put32(r.putOpened(r.out, f), 0)
	return nil
}

// tcreate answers Tcreate: fid[4] name[s] perm[4] mode[1], and extension[s]
// in 9P2000.u. What is made is new, and open.
func tcreate(r *request) error {
	num := r.in.U32()
	name, nameErr := r.newName()
	perm, mode, ext := r.in.U32(), r.in.U8(), ""
	if r.sess.dialect == dialectU {
		ext = r.in.String()
	}
	f, dir, err := r.directory(num, nameErr)
	if err != nil {
		return err
	}
	defer f.put()
	if f.file.Load() != nil {
		return errOpen
	}
	flags, rclose, err := openFlags(mode, r.sess.dialect)
	if err != nil {
		return err
	}
	a, err := f.node.Attr(&r.ctx)
	if err != nil {
		return err
	}
	n := newEntry{dir: dir, name: name, perm: r.createPerm(perm, a.Mode), gid: a.GID, flags: flags, ext: ext}
	node, o, err := r.createEntry(n)
	if err != nil {
		return err
	}
	o.remove = rclose
	qid := node.QID()
	r.out = put32(AppendQID(r.out, plainQID(qid, r.sess.dialect)), 0)
	return r.created(num, f, newNodeRef(node, qid), o, name)
}

// createPerm is what a new entry's perm becomes: in 9P2000 it gets no
// permissions that its directory does not have.
func (r *request) createPerm(perm, dirMode uint32) uint32 {
	if r.sess.dialect == dialectU {
		return perm
	}
	perm &= dmDir | dmAppend | dmExcl | dmTmp | 0777
	if perm&dmDir != 0 {
		return perm & (^uint32(0777) | dirMode&0777)
	}
	return perm & (^uint32(0666) | dirMode&0666)
}

// newEntry is what a Tcreate or a Tlcreate is to make.
type newEntry struct {
	dir   Directory
	name  string
	perm  uint32 // as the message has it
	gid   uint32
	flags uint32
	ext   string
}

// createEntry makes an entry and opens it.
func (r *request) createEntry(e newEntry) (Node, *openFile, error) {
	mode := unixBits(e.perm, r.sess.dialect)
	switch {
	case e.perm&dmDir != 0:
		return r.createDir(e, mode)
	case e.perm&(dmSymlink|dmLink|dmDevice|dmFifo|dmSocket) != 0:
		node, err := r.createSpecial(e, mode)
		return node, &openFile{File: noFile{}}, err
	}
	if e.perm&dmAppend != 0 {
		e.flags |= openAppend
	}
	node, file, err := e.dir.Create(&r.ctx, e.name, e.flags, mode, e.gid)
	if err != nil {
		return nil, nil, err
	}
	o := newOpenFile(file, QTFile, e.flags)
	if err := r.setNewFlags(e, node, o); err != nil {
		o.close(r.c)
		e.dir.Unlink(r.c.ctx, e.name, 0)
		node.Release()
		return nil, nil, err
	}
	return node, o, nil
}

// setNewFlags gives a new file its append-only, exclusive-use and temporary
// bits.
func (r *request) setNewFlags(e newEntry, node Node, o *openFile) error {
	flags := QIDType(e.perm & (dmAppend | dmExcl | dmTmp) >> 24)
	if flags == 0 {
		return nil
	}
	fl, ok := node.(Flagger)
	if !ok {
		return syscall.EOPNOTSUPP
	}
	if err := fl.SetFlags(&r.ctx, flags); err != nil {
		return err
	}
	return r.c.claim(node, o)
}

// createDir makes a directory and opens it.
func (r *request) createDir(e newEntry, mode uint32) (Node, *openFile, error) {
	if e.flags != 0 {
		return nil, nil, syscall.EISDIR
	}
	node, err := e.dir.Mkdir(&r.ctx, e.name, mode, e.gid)
	if err != nil {
		return nil, nil, err
	}
	file, err := node.Open(&r.ctx, 0)
	if err != nil {
		node.Release()
		return nil, nil, err
	}
	return node, newOpenFile(file, QTDir, 0), nil
}

// createSpecial makes what 9P2000.u says in the extension: a symlink, a link
// to a fid, a device, a fifo or a socket.
func (r *request) createSpecial(e newEntry, mode uint32) (Node, error) {
	ctx := &r.ctx
	switch {
	case e.perm&dmSymlink != 0:
		if err := checkTarget(e.ext); err != nil {
			return nil, err
		}
		return e.dir.Symlink(ctx, e.name, e.ext, e.gid)
	case e.perm&dmLink != 0:
		return r.createLink(e)
	case e.perm&dmFifo != 0:
		return e.dir.Mknod(ctx, e.name, mode|syscall.S_IFIFO, 0, 0, e.gid)
	case e.perm&dmSocket != 0:
		return e.dir.Mknod(ctx, e.name, mode|syscall.S_IFSOCK, 0, 0, e.gid)
	}
	kind, major, minor, ok := parseDevice(e.ext)
	if !ok {
		return nil, syscall.EINVAL
	}
	return e.dir.Mknod(ctx, e.name, mode|kind, major, minor, e.gid)
}

// createLink makes a hard link to the fid whose number the extension is.
func (r *request) createLink(e newEntry) (Node, error) {
	num, err := strconv.ParseUint(strings.TrimSpace(e.ext), 10, 32)
	if err != nil {
		return nil, syscall.EINVAL
	}
	target, err := r.fid(uint32(num))
	if err != nil {
		return nil, err
	}
	defer target.put()
	l, ok := e.dir.(Linker)
	if !ok {
		return nil, syscall.EPERM
	}
	if err := l.Link(&r.ctx, target.node.Node, e.name); err != nil {
		return nil, err
	}
	return e.dir.(Node).Walk(&r.ctx, e.name)
}

// parseDevice reads "b MAJOR MINOR" or "c MAJOR MINOR".
func parseDevice(s string) (kind, major, minor uint32, ok bool) {
	w := strings.Fields(s)
	if len(w) != 3 {
		return 0, 0, 0, false
	}
	ma, err1 := strconv.ParseUint(w[1], 10, 32)
	mi, err2 := strconv.ParseUint(w[2], 10, 32)
	switch w[0] {
	case "b":
		kind = syscall.S_IFBLK
	case "c", "u":
		kind = syscall.S_IFCHR
	}
	return kind, uint32(ma), uint32(mi), kind != 0 && err1 == nil && err2 == nil
}

// noFile stands for a new file that is not to be read or written by its fid.
type noFile struct{}

func (noFile) ReadAt(context.Context, []byte, int64) (int, error)  { return 0, syscall.EBADF }
func (noFile) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EBADF }
func (noFile) Sync(context.Context, bool) error                    { return nil }
func (noFile) Close() error                                        { return nil }
