package p9srv

import (
	"syscall"
	"time"
)

// lopen answers Tlopen: fid[4] flags[4].
func lopen(r *request) error {
	num, flags := r.in.U32(), r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	if err := r.open(f, flags, false); err != nil {
		return err
	}
	r.out = put32(r.putOpened(r.out, f), 0)
	return nil
}

// putOpened adds the qid of a file that was opened.
func (r *request) putOpened(b []byte, f *fid) []byte {
	return AppendQID(b, plainQID(openedQID(f.node, f.file.Load().File), r.sess.dialect))
}

// openedQID is the qid of n with the version that is open as file.
func openedQID(n Node, file File) QID {
	qid := n.QID()
	if v, ok := file.(Versioned); ok {
		qid.Version = v.Version()
	}
	return qid
}

// open opens the node of f.
func (r *request) open(f *fid, flags uint32, rclose bool) error {
	if f.file.Load() != nil || f.attr != nil {
		return errOpen
	}
	o, err := r.openNode(f.node.Node, flags&^(openCreate|openExcl|openElsewhere))
	if err != nil {
		return err
	}
	o.remove = rclose
	if err := r.setFile(f, o); err != nil {
		o.close(r.c)
		return err
	}
	return nil
}

// openNode opens n as its kind and its append-only and exclusive-use bits say.
func (r *request) openNode(n Node, flags uint32) (*openFile, error) {
	kind := n.QID().Type
	isDir := kind&QTDir != 0
	switch {
	case isDir && flags&(openAccess|openTrunc|openCreate) != 0:
		return nil, syscall.EISDIR
	case !isDir && flags&openDirectory != 0:
		return nil, syscall.ENOTDIR
	case kind&QTSymlink != 0:
		return nil, syscall.ELOOP
	case kind&QTAppend != 0:
		flags = flags&^openTrunc | openAppend
	}
	flags &^= openDirectory | openCreate
	var claim openFile
	if err := r.c.claim(n, &claim); err != nil {
		return nil, err
	}
	file, err := n.Open(&r.ctx, flags)
	if err != nil {
		r.c.unclaim(&claim)
		return nil, err
	}
	o := newOpenFile(file, kind, flags)
	o.sole, o.claimed = claim.sole, claim.claimed
	return o, nil
}

// lcreate answers Tlcreate: fid[4] name[s] flags[4] mode[4] gid[4].
func lcreate(r *request) error {
	num := r.in.U32()
	name, nameErr := r.newName()
	flags, mode, gid := r.in.U32(), r.in.U32(), r.in.U32()
	f, dir, err := r.directory(num, nameErr)
	if err != nil {
		return err
	}
	defer f.put()
	if f.file.Load() != nil {
		return errOpen
	}
	node, o, err := r.openOrCreate(f, newEntry{dir: dir, name: name, perm: mode & 07777, gid: gid, flags: flags &^ openElsewhere})
	if err != nil {
		return err
	}
	qid := openedQID(node, o.File)
	r.out = put32(AppendQID(r.out, qid), 0)
	return r.created(num, f, newNodeRef(node, qid), o, name)
}

// maxCreateTries bounds how often a name may come and go while it is opened.
const maxCreateTries = 16

// openOrCreate is open(2) with O_CREAT in the directory of f: what is there is
// opened as its bits say, even where nothing can be made. Making comes first, as
// clients that look names up before ask for those that are not there.
func (r *request) openOrCreate(f *fid, e newEntry) (Node, *openFile, error) {
	for range maxCreateTries {
		n, file, err := e.dir.Create(&r.ctx, e.name, e.flags&^openCreate, e.perm, e.gid)
		switch {
		case err == nil:
			return n, newOpenFile(file, n.QID().Type, e.flags), nil
		case e.flags&openExcl != 0:
			return nil, nil, err
		}
		n, o, openErr := r.openExisting(f, e)
		switch {
		case errnoOf(openErr) != syscall.ENOENT:
			return n, o, openErr
		case errnoOf(err) != syscall.EEXIST:
			return nil, nil, err
		}
	}
	return nil, nil, syscall.EEXIST
}

// openExisting opens an entry of the directory of f: ENOENT if there is none.
func (r *request) openExisting(f *fid, e newEntry) (Node, *openFile, error) {
	n, err := f.node.Walk(&r.ctx, e.name)
	if err != nil {
		return nil, nil, err
	}
	o, err := r.openNode(n, e.flags&^openExcl|openCreate)
	if err != nil {
		n.Release()
		return nil, nil, err
	}
	return n, o, nil
}

// created puts the fid of a new open file in the place of its directory's.
func (r *request) created(num uint32, dir *fid, node *nodeRef, o *openFile, name string) error {
	at := dir.at
	at.depth, at.name = at.depth+1, name
	f := newFid(r.c, node, at)
	f.setDir(r.sess.dialect, dir.node, f.node)
	f.file.Store(o)
	if err := r.replace(num, dir, f); err != nil {
		o.remove = false
		f.put()
		return err
	}
	dir.put()
	return nil
}

// directory finds a fid whose entries can be changed. It is held if err is nil.
func (r *request) directory(num uint32, nameErr error) (*fid, Directory, error) {
	if err := r.parsed(); err != nil {
		return nil, nil, err
	}
	f, err := r.fid(num)
	if err != nil {
		return nil, nil, err
	}
	dir, ok := f.node.Node.(Directory)
	switch {
	case f.attr != nil:
		err = syscall.EBADF
	case nameErr != nil:
		err = nameErr
	case !f.node.isDir:
		err = syscall.ENOTDIR
	case !ok:
		err = syscall.EPERM
	}
	if err != nil {
		f.put()
		return nil, nil, err
	}
	return f, dir, nil
}

// The bits of Tgetattr's mask that every answer has, and that of btime.
const (
	getattrBasic = 0x7ff
	getattrBTime = 0x800
)

// getattr answers Tgetattr: fid[4] mask[8].
func getattr(r *request) error {
	num, mask := r.in.U32(), r.in.U64()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	qid := f.node.QID() // older than the attributes, never newer
	a, err := f.node.Attr(&r.ctx)
	if err != nil {
		return err
	}
	valid := uint64(getattrBasic)
	if a.BTime != 0 {
		valid |= getattrBTime & mask
	}
	if a.BlockSize == 0 {
		a.BlockSize = 4096
	}
	r.out = appendAttr(put64(r.out, valid), qid, a)
	return nil
}

// appendAttr adds what Rgetattr says behind its mask: qid[13] mode[4] uid[4]
// gid[4] nlink[8] rdev[8] size[8] blksize[8] blocks[8], sec[8] nsec[8] of
// atime, mtime, ctime and btime, gen[8] data_version[8].
func appendAttr(b []byte, q QID, a Attr) []byte {
	b = put32(put32(put32(AppendQID(b, q), a.Mode), a.UID), a.GID)
	b = put64(put64(put64(put64(put64(b, a.NLink), a.RDev), a.Size), a.BlockSize), a.Blocks)
	for _, ns := range [...]int64{a.ATime, a.MTime, a.CTime, a.BTime} {
		sec, nsec := splitTime(ns)
		b = put64(put64(b, uint64(sec)), uint64(nsec))
	}
	return put64(put64(b, 0), uint64(q.Version))
}

// splitTime makes seconds and 0 to 999,999,999 nanoseconds of nanoseconds.
func splitTime(ns int64) (sec, nsec int64) {
	sec, nsec = ns/int64(time.Second), ns%int64(time.Second)
	if nsec < 0 {
		sec, nsec = sec-1, nsec+int64(time.Second)
	}
	return sec, nsec
}

// joinTime is splitTime backwards; what does not fit is cut to what does.
func joinTime(sec, nsec int64) int64 {
	const most = int64(1<<63-1)/int64(time.Second) - 1
	return min(max(sec, -most), most)*int64(time.Second) + min(max(nsec, 0), int64(time.Second)-1)
}

const setAll = SetMode | SetUID | SetGID | SetSize | SetATime | SetMTime | SetCTime | SetATimeValue | SetMTimeValue

// setattr answers Tsetattr: fid[4] valid[4] mode[4] uid[4] gid[4] size[8]
// atime_sec[8] atime_nsec[8] mtime_sec[8] mtime_nsec[8].
func setattr(r *request) error {
	num := r.in.U32()
	a := SetAttr{Valid: SetMask(r.in.U32()) & setAll, Mode: r.in.U32() & 07777, UID: r.in.U32(), GID: r.in.U32(), Size: r.in.U64()}
	a.ATime = joinTime(int64(r.in.U64()), int64(r.in.U64()))
	a.MTime = joinTime(int64(r.in.U64()), int64(r.in.U64()))
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	return r.setAttr(f, a)
}

func (r *request) setAttr(f *fid, a SetAttr) error {
	s, ok := f.node.Node.(Setattrer)
	if o := f.file.Load(); o != nil {
		if of, is := o.File.(Setattrer); is {
			s, ok = of, true
		}
	}
	switch {
	case !ok:
		return syscall.EPERM
	case a.Valid&SetSize != 0 && f.node.isDir:
		return syscall.EISDIR
	case a.Valid&SetSize != 0 && f.node.QID().Type&QTAppend != 0:
		return syscall.EPERM
	case a.Valid&SetSize != 0 && int64(a.Size) < 0:
		return syscall.EFBIG
	}
	return s.SetAttr(&r.ctx, a)
}

// fsync answers Tfsync: fid[4], and datasync[4] where the client sends it.
func fsync(r *request) error {
	num, dataOnly := r.in.U32(), false
	if r.in.Len() > 0 {
		dataOnly = r.in.U32() != 0
	}
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	return r.sync(f, dataOnly)
}

// sync makes a file durable. It may wait, but where it comes alone and the
// connection's last was quick it keeps the baton, as passing that costs more than
// a few bytes in a log; the watchdog sees to it if this one is slow.
func (r *request) sync(f *fid, dataOnly bool) error {
	if r.more || r.c.slowSync.Load() {
		r.mayWait()
	}
	begun := time.Now()
	defer func() { r.c.slowSync.Store(time.Since(begun) >= tickTime) }()
	if o := f.file.Load(); o != nil {
		return o.Sync(&r.ctx, dataOnly)
	}
	if s, ok := f.node.Node.(Syncer); ok {
		return s.Sync(&r.ctx)
	}
	return nil
}

// statfs answers Tstatfs: fid[4].
func statfs(r *request) error {
	num := r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	s, ok := f.node.Node.(Statfser)
	if !ok {
		return syscall.ENOSYS // v9fs invents figures then
	}
	fs, err := s.Statfs(&r.ctx)
	if err != nil {
		return err
	}
	b := put32(put32(r.out, fs.Type), fs.BSize)
	for _, v := range [...]uint64{fs.Blocks, fs.BFree, fs.BAvail, fs.Files, fs.FFree, fs.FSID} {
		b = put64(b, v)
	}
	r.out = put32(b, fs.NameLen)
	return nil
}

// readlink answers Treadlink: fid[4].
func readlink(r *request) error {
	num := r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	l, ok := f.node.Node.(Readlinker)
	if !ok {
		return syscall.EINVAL
	}
	target, err := l.Readlink(&r.ctx)
	if err != nil {
		return err
	}
	r.out = AppendString(r.out, target)
	return nil
}
