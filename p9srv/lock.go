package p9srv

import (
	"cmp"
	"slices"
	"sync"
	"syscall"
)

// LockTable holds the POSIX record locks of a tree's files, by the Path of
// their QID. The zero value is ready.
type LockTable struct {
	mu    sync.Mutex // guards what follows
	files map[uint64][]heldLock
	held  map[*conn]int   // how many of them are a connection's
	sole  map[uint64]bool // files for exclusive use that are open
}

// lockOwner is whose locks do not conflict: a process at a client.
type lockOwner struct {
	conn   *conn
	client string
	proc   uint32
}

// heldLock covers the bytes from start to last, both included. A file's are
// in no order; those of one owner do not overlap, and where they touch they are
// of different types or set by different fids.
type heldLock struct {
	owner       lockOwner
	fid         *fid // by which it was set: released with it
	typ         LockType
	start, last uint64
}

func (h heldLock) overlaps(o heldLock) bool { return h.start <= o.last && o.start <= h.last }

// touches is true also for locks that are next to each other.
func (h heldLock) touches(o heldLock) bool {
	return h.overlaps(o) || h.last != ^uint64(0) && h.last+1 == o.start || o.last != ^uint64(0) && o.last+1 == h.start
}

// continues says whether h and o are one lock to their owner.
func (h heldLock) continues(o heldLock) bool {
	return h.owner == o.owner && h.typ == o.typ && h.touches(o)
}

// with is h and what o adds to it.
func (h heldLock) with(o heldLock) heldLock {
	h.start, h.last = min(h.start, o.start), max(h.last, o.last)
	return h
}

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

// Limits of locks.
const (
	maxLocks      = 1 << 14 // of one connection
	maxFileLocks  = 1 << 15 // on one file: each request looks through them, and all wait for that
	maxLockClient = 255     // bytes of an owner's name
)

// set puts want in the place of what its owner held there. LockBlocked:
// another owner's lock is in the way, and nothing changed.
func (t *LockTable) set(file uint64, want heldLock) (LockStatus, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if want.typ != LockUnlock {
		if t.conflict(file, want) != nil {
			return LockBlocked, nil
		}
		if t.held[want.owner.conn] >= maxLocks || len(t.files[file]) >= maxFileLocks {
			return LockError, syscall.ENOLCK
		}
		asked := want
		for _, h := range t.files[file] {
			if h.fid == asked.fid && h.continues(asked) {
				want = want.with(h)
			}
		}
	}
	var rest []heldLock
	keep := func(h heldLock) bool {
		if h.owner != want.owner || !h.overlaps(want) {
			return true
		}
		rest = append(rest, h.without(want)...)
		return false
	}
	t.filter(file, want.owner.conn, keep)
	if want.typ != LockUnlock {
		rest = append(rest, want)
	}
	t.add(file, want.owner.conn, rest)
	return LockOK, nil
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

// add gives a file locks of c; mu is held.
func (t *LockTable) add(file uint64, c *conn, locks []heldLock) {
	if len(locks) == 0 {
		return
	}
	if t.files == nil {
		t.files, t.held = make(map[uint64][]heldLock), make(map[*conn]int)
	}
	t.files[file] = append(t.files[file], locks...)
	t.held[c] += len(locks)
}

// filter drops the locks of a file for which keep is false, all of c; mu is
// held.
func (t *LockTable) filter(file uint64, c *conn, keep func(heldLock) bool) {
	all := t.files[file]
	kept := slices.DeleteFunc(all, func(h heldLock) bool { return !keep(h) })
	if len(kept) == len(all) {
		return
	}
	if t.held[c] -= len(all) - len(kept); t.held[c] == 0 {
		delete(t.held, c)
	}
	if t.files[file] = kept; len(kept) == 0 {
		delete(t.files, file)
	}
}

// get finds a lock that want would wait for, all of it, by whatever fids.
func (t *LockTable) get(file uint64, want heldLock) (heldLock, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.conflict(file, want)
	if found == nil {
		return heldLock{}, false
	}
	h := *found
	var same []heldLock
	for _, o := range t.files[file] {
		if o.owner == h.owner && o.typ == h.typ {
			same = append(same, o)
		}
	}
	slices.SortFunc(same, func(a, b heldLock) int { return cmp.Compare(a.start, b.start) })
	at := slices.IndexFunc(same, h.overlaps)
	for _, o := range same[at:] {
		if h.continues(o) {
			h = h.with(o)
		}
	}
	for _, o := range slices.Backward(same[:at]) {
		if h.continues(o) {
			h = h.with(o)
		}
	}
	return h, true
}

// releaseFid drops the locks that were set by f.
func (t *LockTable) releaseFid(f *fid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.filter(f.node.QID().Path, f.conn, func(h heldLock) bool { return h.fid != f })
}

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
	if q.Type == LockRead && !o.read || q.Type == LockWrite && !o.write {
		return syscall.EBADF
	}
	f.locked.Store(true)
	status, err := r.c.srv.locks().set(f.node.QID().Path, want)
	if err != nil {
		return err
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
	if q.Type > LockUnlock || want.last < want.start || len(q.Client) > maxLockClient {
		return nil, want, syscall.EINVAL
	}
	f, _, err := r.opened(num)
	want.fid = f
	return f, want, err
}
