package fusemount

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// A lock that must be waited for is asked for again and again: 9P has no
// answer that comes later.
const (
	lockFirst = 2 * time.Millisecond
	lockMost  = 100 * time.Millisecond

	undoTimeout = time.Second // for giving back a lock that nobody wants any more
)

// flockByte is the byte that flock(2) locks at the server. There it cannot
// meet the record locks of the same process, which flock knows nothing of:
// those end before it. Against v9fs, which locks all bytes for flock, it works.
const flockByte = 1<<63 - 2

// maxOffset is what the kernel says for "to the end of the file".
const maxOffset = 1<<63 - 1

// errLockLost says that another client got a lock while we were away.
var errLockLost = errors.New("a lock was lost")

// lockOwner is who holds locks of a file, as the kernel numbers them: a
// process's file table for record locks, an open file for flock.
type lockOwner struct {
	id    uint64
	flock bool
}

// lockSet is what an owner holds of one file.
type lockSet struct {
	pid   uint32           // for F_GETLK of others; unlocks of the kernel name none
	via   *handle          // by which the last was set, and all are over a new connection
	some  map[*handle]bool // whose fids may have some of them at the server
	spans []span
}

// lockBook knows the locks that are held through this mount: to release them
// at close, and to take them again over a new connection.
type lockBook struct {
	client string // begins the owners' names at the server

	mu   sync.Mutex // guards held
	held map[*inode]map[lockOwner]*lockSet
}

func newLockBook() *lockBook {
	return &lockBook{client: fmt.Sprintf("fuse-%016x", rand.Uint64()), held: make(map[*inode]map[lockOwner]*lockSet)}
}

func (k *lockBook) has(n *inode, who lockOwner) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held[n][who] != nil
}

// pid is the process under which the server knows the owner.
func (k *lockBook) pid(n *inode, who lockOwner, pid uint32) uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if set := k.held[n][who]; set != nil {
		return set.pid
	}
	return pid
}

// note records a lock or unlock that the server granted.
func (k *lockBook) note(h *handle, who lockOwner, pid uint32, s span) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set := k.held[h.n][who]
	if set == nil {
		set = &lockSet{pid: pid, via: h, some: make(map[*handle]bool)}
	}
	if s.typ != p9srv.LockUnlock {
		set.via, set.some[h] = h, true
	}
	if set.spans = setSpan(set.spans, s); len(set.spans) == 0 {
		k.drop(h.n, who)
		return
	}
	if k.held[h.n] == nil {
		k.held[h.n] = make(map[lockOwner]*lockSet)
	}
	k.held[h.n][who] = set
}

func (k *lockBook) drop(n *inode, who lockOwner) {
	delete(k.held[n], who)
	if len(k.held[n]) == 0 {
		delete(k.held, n)
	}
}

// forget drops what an owner held of a file.
func (k *lockBook) forget(n *inode, who lockOwner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(n, who)
}

// forgetVia drops what is held through a handle that is closed.
func (k *lockBook) forgetVia(h *handle) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for who, set := range k.held[h.n] {
		if set.via == h {
			k.drop(h.n, who)
		}
	}
}

// touches says whether the owner holds a part of s.
func (k *lockBook) touches(n *inode, who lockOwner, s span) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	set := k.held[n][who]
	return set != nil && overlaps(set.spans, s)
}

// holds says whether the server may have locks of h's fid.
func (k *lockBook) holds(h *handle) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, set := range k.held[h.n] {
		if set.some[h] {
			return true
		}
	}
	return false
}

// lockRequest is a lock as 9P has it. The server refuses an exclusive one
// with EBADF if the file is only open for reading; flock(2) does not.
type lockRequest struct {
	p9srv.LockRequest
	flock bool
}

// through lists the locks that are held through h, ready to be asked for.
func (k *lockBook) through(h *handle) []lockRequest {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []lockRequest
	for who, set := range k.held[h.n] {
		if set.via != h {
			continue
		}
		for _, s := range set.spans {
			list = append(list, k.request(who, set.pid, s))
		}
	}
	return list
}

// request asks for s. A thread's number may not tell owners apart: they have
// names.
func (k *lockBook) request(who lockOwner, pid uint32, s span) lockRequest {
	kind := "p"
	if who.flock {
		kind = "f"
	}
	return lockRequest{flock: who.flock, LockRequest: p9srv.LockRequest{Type: s.typ, Start: s.start, Length: s.end - s.start + 1,
		ProcID: pid, Client: fmt.Sprintf("%s-%s%x", k.client, kind, who.id)}}
}

// spanOf is the range that the kernel wants locked.
func spanOf(in *fuse.LkIn, who lockOwner) (span, error) {
	s := span{start: in.Lk.Start, end: min(in.Lk.End, flockByte-1)}
	if who.flock {
		s.start, s.end = flockByte, flockByte
	}
	if s.start > s.end {
		return s, syscall.EOVERFLOW
	}
	switch in.Lk.Typ {
	case syscall.F_RDLCK:
		s.typ = p9srv.LockRead
	case syscall.F_WRLCK:
		s.typ = p9srv.LockWrite
	case syscall.F_UNLCK:
		s.typ = p9srv.LockUnlock
	default:
		return s, syscall.EINVAL
	}
	return s, nil
}

func ownerOf(in *fuse.LkIn) lockOwner {
	return lockOwner{id: in.Owner, flock: in.LkFlags&fuse.LK_FLOCK != 0}
}

// GetLk is fcntl(2) with F_GETLK.
func (b *bridge) GetLk(cancel <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	who := ownerOf(in)
	s, err := spanOf(in, who)
	if err != nil {
		return status(err)
	}
	return b.onHandle(cancel, &in.InHeader, in.Fh, func(ctx context.Context, _ *session, h *handle, fid *client.Fid) error {
		got, err := fid.GetLock(ctx, b.locks.request(who, b.locks.pid(h.n, who, in.Lk.Pid), s).LockRequest)
		if err == nil {
			out.Lk = b.locks.foreign(got)
		}
		return err
	})
}

// foreign is a lock in the way, as the kernel wants it. A process number of
// another machine means nothing here.
func (k *lockBook) foreign(l p9srv.LockRequest) fuse.FileLock {
	out := fuse.FileLock{Start: l.Start, End: l.Start + l.Length - 1, Typ: syscall.F_UNLCK}
	if l.Length == 0 || out.End >= flockByte-1 {
		out.End = maxOffset
	}
	switch l.Type {
	case p9srv.LockRead:
		out.Typ = syscall.F_RDLCK
	case p9srv.LockWrite:
		out.Typ = syscall.F_WRLCK
	}
	if strings.HasPrefix(l.Client, k.client) {
		out.Pid = l.ProcID
	}
	return out
}

// SetLk is fcntl(2) with F_SETLK, and flock(2) with LOCK_NB.
func (b *bridge) SetLk(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return b.setLock(cancel, in, false)
}

// SetLkw is fcntl(2) with F_SETLKW, and flock(2): they wait.
func (b *bridge) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return b.setLock(cancel, in, true)
}

func (b *bridge) setLock(cancel <-chan struct{}, in *fuse.LkIn, waits bool) fuse.Status {
	h := b.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	who := ownerOf(in)
	s, err := spanOf(in, who)
	if err != nil {
		return status(err)
	}
	o := b.ops.begin(cancel, in.Pid, wait(waits))
	defer o.end()
	pid := b.locks.pid(h.n, who, in.Lk.Pid)
	req := b.locks.request(who, pid, s)
	if waits {
		req.Flags = 1
	}
	for pause := lockFirst; ; pause = min(2*pause, lockMost) {
		st, at, err := b.tryLock(o, h, req, func() { b.locks.note(h, who, pid, s) })
		switch {
		case err != nil && o.Err() != nil:
			b.undo(h, who, s, req)
			return fuse.EINTR
		case err != nil:
			return status(err)
		case st == p9srv.LockOK:
			if h.now.Load().sess == at {
				b.lookAgain(h.n)
				return fuse.OK
			}
			continue // the connection was lost, and restored without this lock
		case st == p9srv.LockError:
			return fuse.Status(syscall.ENOLCK)
		case !waits:
			return fuse.EAGAIN
		}
		if !sleep(o, pause) {
			return fuse.EINTR
		}
	}
}

// lookAgain makes the kernel ask for the attributes of a file that was just
// locked: the event about what the last holder wrote may be on its way yet.
func (b *bridge) lookAgain(n *inode) {
	if b.events != nil {
		b.events.takeAttr(n)
	}
}

// tryLock asks the server once. It has the handle's turn until a lock is noted: a
// read that opened the file again meanwhile would clunk the fid, and the lock.
func (b *bridge) tryLock(ctx context.Context, h *handle, req lockRequest, note func()) (st p9srv.LockStatus, at *session, err error) {
	err = b.link.call(ctx, func(s *session) error {
		if err := h.take(ctx); err != nil {
			return err
		}
		defer h.give()
		at = s
		fid, err := h.useInTurn(ctx, s)
		if err != nil {
			return err
		}
		st, err = fid.Lock(ctx, req.LockRequest)
		if req.flock && errors.Is(err, syscall.EBADF) {
			if fid, err = h.otherInTurn(ctx, s); err == nil {
				st, err = fid.Lock(ctx, req.LockRequest)
			}
		}
		if err == nil && st == p9srv.LockOK {
			note()
		}
		return err
	})
	return st, at, err
}

// undo gives a lock back that the server may have granted while the caller
// was interrupted. A part that it held before is left as it is.
func (b *bridge) undo(h *handle, who lockOwner, s span, req lockRequest) {
	now := h.now.Load()
	if now.fid == nil || now.sess.ended() || s.typ == p9srv.LockUnlock || b.locks.touches(h.n, who, s) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	req.Type, req.Flags = p9srv.LockUnlock, 0
	if _, err := now.fid.Lock(ctx, req.LockRequest); err != nil {
		b.log.Warn("fusemount: a lock could not be given back", "inode", h.n.path, "err", err)
	}
}

// unlockAll gives back what an owner holds of a file.
func (b *bridge) unlockAll(ctx context.Context, n *inode, who lockOwner, fid *client.Fid) error {
	s := span{typ: p9srv.LockUnlock, end: flockByte - 1}
	if who.flock {
		s.start, s.end = flockByte, flockByte
	}
	_, err := fid.Lock(ctx, b.locks.request(who, b.locks.pid(n, who, 0), s).LockRequest)
	if err == nil {
		b.locks.forget(n, who)
	}
	return err
}

// relock takes the locks again of a file that was just opened again as fid;
// the caller has the handle's turn.
func (h *handle) relock(ctx context.Context, s *session, fid *client.Fid) error {
	for _, req := range h.b.locks.through(h) {
		st, err := fid.Lock(ctx, req.LockRequest)
		if req.flock && errors.Is(err, syscall.EBADF) {
			var both *client.Fid
			if both, err = h.otherInTurn(ctx, s); err == nil {
				st, err = both.Lock(ctx, req.LockRequest)
			}
		}
		if err != nil {
			return err
		}
		if st != p9srv.LockOK {
			return errLockLost
		}
	}
	return nil
}
