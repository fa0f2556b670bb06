package p9srv

import (
	"sync"
	"syscall"
)

// LockTable holds the POSIX record locks of a tree's files, by the Path of
// their QID. The zero value is ready.
type LockTable struct {
	mu    sync.Mutex // guards what follows
	files map[uint64][]heldLock
	sole  map[uint64]bool // files for exclusive use that are open
}

// claim takes a file for exclusive use; false: it is taken.
func (t *LockTable) claim(file uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sole[file] {
		return false
	}
	if t.sole == nil {
		t.sole = make(map[uint64]bool)
	}
	t.sole[file] = true
	return true
}

func (t *LockTable) unclaim(file uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sole, file)
}

// claim takes the file of n for the opened o alone, if it is one for
// exclusive use.
func (c *conn) claim(n Node, o *openFile) error {
	q := n.QID()
	if q.Type&QTExcl == 0 {
		return nil
	}
	if !c.srv.locks().claim(q.Path) {
		return syscall.EBUSY
	}
	o.sole, o.claimed = true, q.Path
	return nil
}

// unclaim lets others open the file of o.
func (c *conn) unclaim(o *openFile) {
	if o.sole {
		c.srv.locks().unclaim(o.claimed)
	}
}

// close closes the file and gives up its exclusive use.
func (o *openFile) close(c *conn) error {
	err := o.Close()
	c.unclaim(o)
	return err
}

// lockOwner is whose locks do not conflict: a process at a client.
type lockOwner struct {
	conn   *conn
	client string
	proc   uint32
}

// heldLock covers the bytes from start to last, both included. A file's are
// in no order; those of one owner do not overlap.
type heldLock struct {
	owner       lockOwner
	fid         *fid // by which it was set: released with it
	typ         LockType
	start, last uint64
}

func (h heldLock) overlaps(o heldLock) bool { return h.start <= o.last && o.start <= h.last }

// conflict finds a lock in the way of want; mu is held.
func (t *LockTable) conflict(file uint64, want heldLock) *heldLock {
	held := t.files[file]
	for i := range held {
		h := &held[i]
		if h.owner != want.owner && h.overlaps(want) && (h.typ == LockWrite || want.typ == LockWrite) {
			return h
		}
	}
	return nil
}

// set puts want in the place of what its owner held there. False: another
// owner's lock is in the way, and nothing changed.
func (t *LockTable) set(file uint64, want heldLock) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if want.typ != LockUnlock && t.conflict(file, want) != nil {
		return false
	}
	var kept []heldLock
	for _, h := range t.files[file] {
		if h.owner != want.owner || !h.overlaps(want) {
			kept = append(kept, h)
			continue
		}
		kept = append(kept, h.without(want)...)
	}
	if want.typ != LockUnlock {
		kept = append(kept, want)
	}
	t.store(file, kept)
	return true
}

// without is what is left of h around o.
func (h heldLock) without(o heldLock) []heldLock {
	var rest []heldLock
	if h.start < o.start {
		before := h
		before.last = o.start - 1
		rest = append(rest, before)
	}
	if h.last > o.last {
		after := h
		after.start = o.last + 1
		rest = append(rest, after)
	}
	return rest
}

// store replaces a file's locks; mu is held.
func (t *LockTable) store(file uint64, locks []heldLock) {
	if t.files == nil {
		t.files = make(map[uint64][]heldLock)
	}
	if len(locks) == 0 {
		delete(t.files, file)
		return
	}
	t.files[file] = locks
}

// get finds a lock that want would wait for.
func (t *LockTable) get(file uint64, want heldLock) (heldLock, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.conflict(file, want); h != nil {
		return *h, true
	}
	return heldLock{}, false
}

// releaseFid drops the locks that were set by f.
func (t *LockTable) releaseFid(f *fid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	file := f.node.QID().Path
	var kept []heldLock
	for _, h := range t.files[file] {
		if h.fid != f {
			kept = append(kept, h)
		}
	}
	t.store(file, kept)
}

// count is how many locks a file has.
func (t *LockTable) count(file uint64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.files[file])
}

// maxFileLocks is how many locks a file may have.
const maxFileLocks = 1 << 16

// lock answers Tlock: fid[4] type[1] flags[4] start[8] length[8] proc_id[4]
// client_id[s]. A lock that is in the way is the client's to wait for.
func lock(r *request) error {
	num := r.in.U32()
	q := LockRequest{Type: LockType(r.in.U8()), Flags: r.in.U32(), Start: r.in.U64(), Length: r.in.U64(), ProcID: r.in.U32(), Client: r.in.String()}
	f, want, err := r.lockRange(num, q)
	if err != nil {
		return err
	}
	defer f.put()
	o := f.file.Load()
	switch {
	case q.Type == LockRead && !o.read, q.Type == LockWrite && !o.write:
		return syscall.EBADF
	}
	locks := r.c.srv.locks()
	file := f.node.QID().Path
	status := LockOK
	if q.Type != LockUnlock && locks.count(file) >= maxFileLocks {
		return syscall.ENOLCK
	}
	f.locked.Store(true)
	if !locks.set(file, want) {
		status = LockBlocked
	}
	r.out = append(r.out, byte(status))
	return nil
}

// getlock answers Tgetlock: fid[4] type[1] start[8] length[8] proc_id[4]
// client_id[s].
func getlock(r *request) error {
	num := r.in.U32()
	q := LockRequest{Type: LockType(r.in.U8()), Start: r.in.U64(), Length: r.in.U64(), ProcID: r.in.U32(), Client: r.in.String()}
	f, want, err := r.lockRange(num, q)
	if err != nil {
		return err
	}
	defer f.put()
	if h, ok := r.c.srv.locks().get(f.node.QID().Path, want); ok && q.Type != LockUnlock {
		q = LockRequest{Type: h.typ, Start: h.start, ProcID: h.owner.proc, Client: h.owner.client}
		if h.last != ^uint64(0) {
			q.Length = h.last - h.start + 1
		}
	} else {
		q.Type = LockUnlock
	}
	b := put64(put64(append(r.out, byte(q.Type)), q.Start), q.Length)
	r.out = AppendString(put32(b, q.ProcID), q.Client)
	return nil
}

// lockRange checks a lock request; the fid is held if err is nil.
func (r *request) lockRange(num uint32, q LockRequest) (*fid, heldLock, error) {
	if err := r.parsed(); err != nil {
		return nil, heldLock{}, err
	}
	want := heldLock{
		owner: lockOwner{r.c, q.Client, q.ProcID},
		typ:   q.Type, start: q.Start, last: q.Start + q.Length - 1,
	}
	if q.Length == 0 {
		want.last = ^uint64(0)
	}
	if q.Type > LockUnlock || want.last < want.start {
		return nil, want, syscall.EINVAL
	}
	f, _, err := r.opened(num)
	want.fid = f
	return f, want, err
}
