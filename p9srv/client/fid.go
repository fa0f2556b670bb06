package client

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	"bazil/p9srv"
)

// Fid is a file at the server, for many goroutines at once.
type Fid struct {
	c    *Conn
	num  uint32
	gone atomic.Bool // clunked or removed; set before the number can be another's

	mu  sync.Mutex // guards qid
	qid p9srv.QID
}

// takeFid finds a free fid number.
func (c *Conn) takeFid() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.fids); n > 0 {
		num := c.fids[n-1]
		c.fids = c.fids[:n-1]
		return num
	}
	c.nextFid++
	return c.nextFid - 1
}

// freeFid gives back a number that the server does not know.
func (c *Conn) freeFid(num uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fids = append(c.fids, num)
}

// Attach returns the root of the tree aname as the user uname with the number
// uid, which may be p9srv.NoUID.
func (c *Conn) Attach(ctx context.Context, uname, aname string, uid uint32) (*Fid, error) {
	num := c.takeFid()
	k, err := c.call(ctx, nil, p9srv.Tattach, func(b []byte) []byte {
		b = put32(put32(b, num), p9srv.NoFid)
		return put32(p9srv.AppendString(p9srv.AppendString(b, uname), aname), uid)
	})
	if err != nil {
		c.freeFid(num)
		return nil, err
	}
	defer k.recycle()
	d := p9srv.NewDecoder(k.body)
	f := &Fid{c: c, num: num, qid: d.QID()}
	return f, c.parsed(&d)
}

// parsed fails the connection when a reply was too short.
func (c *Conn) parsed(d *p9srv.Decoder) error {
	if d.Bad() {
		c.fail(errReply)
		return errReply
	}
	return nil
}

// QID is the file's as of walk, open or create.
func (f *Fid) QID() p9srv.QID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.qid
}

func (f *Fid) setQID(q p9srv.QID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.qid = q
}

// live refuses to name a fid that is gone beside another, which whoever calls
// must not clunk meanwhile.
func (f *Fid) live() error {
	if f.gone.Load() {
		return syscall.EBADF
	}
	return nil
}

// call is Conn.call for a message about f that begins with its number.
func (f *Fid) call(ctx context.Context, t p9srv.MsgType, encode func([]byte) []byte) (*call, error) {
	return f.c.call(ctx, f, t, func(b []byte) []byte { return encode(put32(b, f.num)) })
}

// do is call for those who do not look at the reply.
func (f *Fid) do(ctx context.Context, t p9srv.MsgType, encode func([]byte) []byte) error {
	k, err := f.call(ctx, t, encode)
	if err == nil {
		k.recycle()
	}
	return err
}

// qidCall is call for a reply that begins with a qid.
func (f *Fid) qidCall(ctx context.Context, t p9srv.MsgType, encode func([]byte) []byte) (p9srv.QID, error) {
	k, err := f.call(ctx, t, encode)
	if err != nil {
		return p9srv.QID{}, err
	}
	defer k.recycle()
	d := p9srv.NewDecoder(k.body)
	q := d.QID()
	return q, f.c.parsed(&d)
}

func nothing(b []byte) []byte { return b }

// Walk goes from f along names to another fid; no names give another fid of
// the same file. The error is that of the first name that fails.
func (f *Fid) Walk(ctx context.Context, names ...string) (*Fid, error) {
	to := &Fid{c: f.c, num: f.c.takeFid(), qid: f.QID()}
	from := f
	for first := true; first || len(names) > 0; first = false {
		n := min(len(names), p9srv.MaxWalk)
		if err := to.walk(ctx, from, names[:n]); err != nil {
			if first {
				f.c.freeFid(to.num)
			} else {
				to.Clunk(context.WithoutCancel(ctx))
			}
			return nil, err
		}
		from, names = to, names[n:]
	}
	return to, nil
}

// walk walks at most MaxWalk names from the fid from to f.
func (f *Fid) walk(ctx context.Context, from *Fid, names []string) error {
	k, err := f.c.start(ctx, from, p9srv.Twalk, nil, f.encodeWalk(from, names))
	if err != nil {
		return err
	}
	return f.walked(ctx, k, from, names)
}

// encodeWalk appends the body of a Twalk.
func (f *Fid) encodeWalk(from *Fid, names []string) func([]byte) []byte {
	return func(b []byte) []byte {
		b = put32(put32(b, from.num), f.num)
		b = append(b, byte(len(names)), 0)
		for _, name := range names {
			b = p9srv.AppendString(b, name)
		}
		return b
	}
}

// walked waits for the reply to the Twalk k.
func (f *Fid) walked(ctx context.Context, k *call, from *Fid, names []string) error {
	defer k.recycle()
	if err := f.c.wait(ctx, k); err != nil {
		return err
	}
	d := p9srv.NewDecoder(k.body)
	n := int(d.U16())
	if n > len(names) || n == 0 && len(names) > 0 {
		f.c.fail(errReply)
		return errReply
	}
	qid := f.QID()
	for range n {
		qid = d.QID()
	}
	if err := f.c.parsed(&d); err != nil {
		return err
	}
	if n < len(names) {
		return f.walkError(ctx, from, names, n, qid)
	}
	f.setQID(qid)
	return nil
}

// walkError finds out why a walk ended after n names, at a file with that
// qid: a second walk to there, and from there along the next name alone.
func (f *Fid) walkError(ctx context.Context, from *Fid, names []string, n int, qid p9srv.QID) error {
	if qid.Type&p9srv.QTDir == 0 {
		return syscall.ENOTDIR
	}
	mid := &Fid{c: f.c, num: f.c.takeFid()}
	if err := mid.walk(ctx, from, names[:n]); err != nil {
		f.c.freeFid(mid.num)
		return err
	}
	next, err := mid.Walk(ctx, names[n])
	if err == nil {
		next.Clunk(context.WithoutCancel(ctx))
		err = syscall.ENOENT // it has come since
	}
	mid.Clunk(context.WithoutCancel(ctx))
	return err
}

// Clunk gives up the fid, which is gone whatever comes. When ctx ends, it
// returns without waiting for the reply.
func (f *Fid) Clunk(ctx context.Context) error {
	return f.giveUp(ctx, p9srv.Tclunk)
}

// Remove removes the file and gives up the fid, whatever comes.
func (f *Fid) Remove(ctx context.Context) error {
	return f.giveUp(ctx, p9srv.Tremove)
}

// giveUp sends a message that frees the fid, and does not flush it.
func (f *Fid) giveUp(ctx context.Context, t p9srv.MsgType) error {
	c := f.c
	c.mu.Lock()
	if f.gone.Swap(true) {
		c.mu.Unlock()
		return syscall.EBADF
	}
	k, err := c.sendLocked(t, func(b []byte) []byte { return put32(b, f.num) })
	if err != nil {
		c.mu.Unlock()
		return err
	}
	k.hasFid, k.frees = true, f.num
	c.mu.Unlock()
	select {
	case err = <-k.done:
		k.recycle()
		return err
	case <-ctx.Done():
		return c.leave(ctx, k)
	}
}

// leave gives k to the reader, unless it is complete.
func (c *Conn) leave(ctx context.Context, k *call) error {
	c.mu.Lock()
	if k.owned {
		k.owned = false
		c.mu.Unlock()
		return ctx.Err()
	}
	c.mu.Unlock()
	err := <-k.done
	k.recycle()
	return err
}

// Open opens the file of this fid with Linux's O_* flags.
func (f *Fid) Open(ctx context.Context, flags uint32) error {
	q, err := f.qidCall(ctx, p9srv.Tlopen, func(b []byte) []byte { return put32(b, flags) })
	if err == nil {
		f.setQID(q)
	}
	return err
}

// Create makes a file in the directory of this fid and opens it; the fid is
// the new file's from then on. An existing file is opened unless O_EXCL is
// among the flags.
func (f *Fid) Create(ctx context.Context, name string, flags, mode, gid uint32) error {
	q, err := f.qidCall(ctx, p9srv.Tlcreate, func(b []byte) []byte {
		return put32(put32(put32(p9srv.AppendString(b, name), flags), mode), gid)
	})
	if err == nil {
		f.setQID(q)
	}
	return err
}

// Fsync returns when the file is durable at the server.
func (f *Fid) Fsync(ctx context.Context, dataOnly bool) error {
	only := uint32(0)
	if dataOnly {
		only = 1
	}
	return f.do(ctx, p9srv.Tfsync, func(b []byte) []byte { return put32(b, only) })
}
