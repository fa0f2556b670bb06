package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"syscall"
	"time"

	"bazil/p9srv"
)

// call is a request on its way. Its owner is who made it, until it is
// complete; the reader fills in the reply before.
type call struct {
	typ  p9srv.MsgType
	tag  uint16
	done chan error // gets one value when the call is complete

	dst  []byte             // where a Tread's data goes
	room func(n int) []byte // gives dst when n bytes have come; nil: dst is there
	most int                // how many may come where there is room
	n    int                // how much came
	body []byte             // the reply of others

	// Guarded by Conn.mu.
	owned   bool  // somebody waits
	flushed bool  // a Tflush is under way: the tag stays taken until Rflush
	flushes *call // of a Tflush: the call that it is for, which may be over
	oldTag  uint16
	frees   uint32
	hasFid  bool // frees is a fid that is free after the reply
}

var callPool = sync.Pool{New: func() any {
	return &call{done: make(chan error, 1), body: make([]byte, 0, 256)}
}}

// errFlushed is the end of a call that was flushed.
var errFlushed = errors.New("flushed")

// complete hands the call back to its owner.
func (k *call) complete(err error) {
	k.owned = false
	k.done <- err
}

// recycle gives a complete call back.
func (k *call) recycle() {
	body := k.body[:0]
	if cap(body) > 4096 {
		body = make([]byte, 0, 256)
	}
	*k = call{done: k.done, body: body}
	callPool.Put(k)
}

func put32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func put64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

// begin appends a header whose size is yet to be set.
func begin(b []byte, t p9srv.MsgType, tag uint16) []byte {
	return append(b, 0, 0, 0, 0, byte(t), byte(tag), byte(tag>>8))
}

// maxOut is how many bytes may wait for the writer before calls do.
func (c *Conn) maxOut() int { return 1<<20 + int(c.msize) }

// start sends a request about f, nil for one about none, whose body encode
// appends. Read data will go to dst.
func (c *Conn) start(ctx context.Context, f *Fid, t p9srv.MsgType, dst []byte, encode func([]byte) []byte) (*call, error) {
	return c.startInto(ctx, f, t, call{dst: dst}, encode)
}

// startInto is start with where read data will go as in's fields say. A fid is
// looked at when there is room: clunked before, its number may be another file's.
func (c *Conn) startInto(ctx context.Context, f *Fid, t p9srv.MsgType, in call, encode func([]byte) []byte) (*call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && (c.flying >= maxCalls || len(c.out) > c.maxOut()) {
		if err := c.waitRoom(ctx); err != nil {
			return nil, err
		}
	}
	if f != nil && f.gone.Load() {
		return nil, syscall.EBADF
	}
	k, err := c.sendLocked(t, encode)
	if err != nil {
		return nil, err
	}
	k.dst, k.room, k.most = in.dst, in.room, in.most
	return k, nil
}

// waitRoom waits until something was written or ended; mu is held, but not
// meanwhile.
func (c *Conn) waitRoom(ctx context.Context) error {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	room := c.room
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-room:
	case <-c.stopped:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// sendLocked makes a call and appends its message; mu is held.
func (c *Conn) sendLocked(t p9srv.MsgType, encode func([]byte) []byte) (*call, error) {
	if c.err != nil {
		return nil, c.err
	}
	at := len(c.out)
	tag, ok := c.takeTag()
	if !ok {
		return nil, syscall.EAGAIN
	}
	c.out = encode(begin(c.out, t, tag))
	if n := len(c.out) - at; n > int(c.msize) {
		c.out = c.out[:at]
		c.tags = append(c.tags, tag)
		return nil, syscall.EMSGSIZE
	}
	p9srv.FinishMessage(c.out[at:], len(c.out)-at)
	if at == 0 {
		c.work.Signal()
	}
	k := callPool.Get().(*call)
	k.typ, k.tag, k.owned = t, tag, true
	c.calls[tag] = k
	c.flying++
	return k, nil
}

// takeTag finds a free tag; mu is held.
func (c *Conn) takeTag() (uint16, bool) {
	if n := len(c.tags); n > 0 {
		tag := c.tags[n-1]
		c.tags = c.tags[:n-1]
		return tag, true
	}
	if len(c.calls) >= math.MaxUint16 {
		return 0, false
	}
	c.calls = append(c.calls, nil)
	return uint16(len(c.calls) - 1), true
}

// freeTag ends the use of a tag; mu is held.
func (c *Conn) freeTag(tag uint16) {
	c.calls[tag] = nil
	c.tags = append(c.tags, tag)
	if c.flying--; c.flying == maxCalls-1 {
		c.wakeLocked()
	}
}

// wait waits for a call's reply; when ctx ends, for that of its Tflush.
func (c *Conn) wait(ctx context.Context, k *call) error {
	select {
	case err := <-k.done:
		return err
	default:
	}
	select {
	case err := <-k.done:
		return err
	case <-ctx.Done():
	}
	c.flush(k)
	t := time.NewTimer(c.flushWait)
	defer t.Stop()
	var err error
	select {
	case err = <-k.done:
	case <-t.C:
		c.fail(errors.New("9P connection given up: no answer to Tflush"))
		err = <-k.done
	}
	if err == errFlushed || err == syscall.EINTR {
		return ctx.Err()
	}
	return err
}

// flush sends a Tflush for k unless k is complete.
func (c *Conn) flush(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !k.owned || c.err != nil {
		return
	}
	f, err := c.sendLocked(p9srv.Tflush, func(b []byte) []byte {
		return append(b, byte(k.tag), byte(k.tag>>8))
	})
	if err != nil {
		return
	}
	f.owned = false
	f.flushes, f.oldTag = k, k.tag
	k.flushed = true
}

// call sends a request and waits for the reply, which stands in the call's
// body. The caller recycles the call if err is nil.
func (c *Conn) call(ctx context.Context, f *Fid, t p9srv.MsgType, encode func([]byte) []byte) (*call, error) {
	k, err := c.start(ctx, f, t, nil, encode)
	if err != nil {
		return nil, err
	}
	if err := c.wait(ctx, k); err != nil {
		k.recycle()
		return nil, err
	}
	return k, nil
}

// read is the reader's loop; it returns why it ended.
func (c *Conn) read() error {
	for {
		h, err := c.in.header(c.msize)
		if err == nil {
			err = c.dispatch(h)
		}
		if err == io.EOF {
			return fmt.Errorf("9P connection lost: closed by the server")
		}
		if err != nil {
			return fmt.Errorf("9P connection lost: %w", err)
		}
	}
}

// dispatch takes the rest of a reply and completes its call.
func (c *Conn) dispatch(h header) error {
	k := c.pending(h.tag)
	if k == nil {
		return fmt.Errorf("%w: %v for tag %d, which is not in use", errReply, h.typ, h.tag)
	}
	var result error
	switch {
	case h.typ == p9srv.Rlerror:
		n, err := c.errno(h)
		if err != nil {
			return err
		}
		result = n
	case h.typ != k.typ+1:
		return fmt.Errorf("%w: %v to %v", errReply, h.typ, k.typ)
	case k.dst != nil || k.room != nil:
		if err := c.data(k, h); err != nil {
			return err
		}
	default:
		body, err := c.in.body(k.body, h.rest)
		if err != nil {
			return err
		}
		k.body = body
	}
	c.replied(k, result)
	return nil
}

// pending is the call that waits for a reply with that tag; nil: none does.
func (c *Conn) pending(tag uint16) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(tag) >= len(c.calls) || c.calls[tag] == tombstone {
		return nil
	}
	return c.calls[tag]
}

// errno takes the body of an Rlerror.
func (c *Conn) errno(h header) (syscall.Errno, error) {
	if h.rest != 4 {
		return 0, fmt.Errorf("%w: Rlerror of %d bytes", errReply, h.rest)
	}
	n, err := c.in.u32()
	if n == 0 || n > 4095 {
		n = uint32(syscall.EIO)
	}
	return syscall.Errno(n), err
}

// data takes the body of an Rread into the caller's memory.
func (c *Conn) data(k *call, h header) error {
	if h.rest < 4 {
		return fmt.Errorf("%w: Rread of %d bytes", errReply, h.rest)
	}
	n, err := c.in.u32()
	if err != nil {
		return err
	}
	most := k.most
	if k.room == nil {
		most = len(k.dst)
	}
	if int(n) != h.rest-4 || int(n) > most {
		return fmt.Errorf("%w: %d bytes of data to a read of %d", errReply, n, most)
	}
	if k.n = int(n); k.room != nil {
		k.dst = k.room(k.n)
	}
	return c.in.full(k.dst[:n])
}

// tombstone holds the tag of a call that was answered although it was
// flushed, until Rflush comes. It is no call: a second answer is none to it.
var tombstone = &call{}

// replied completes k, whose reply has come.
func (c *Conn) replied(k *call, result error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.hasFid {
		c.fids = append(c.fids, k.frees)
	}
	if k.typ == p9srv.Tflush {
		c.flushReplied(k)
		return
	}
	if k.flushed {
		c.calls[k.tag] = tombstone
	} else {
		c.freeTag(k.tag)
	}
	if k.owned {
		k.complete(result)
	} else {
		k.recycle()
	}
}

// flushReplied ends the call that the Tflush f was for; mu is held.
func (c *Conn) flushReplied(f *call) {
	old, tag := f.flushes, f.oldTag
	c.freeTag(f.tag)
	if c.calls[tag] == old {
		old.complete(errFlushed)
	}
	c.freeTag(tag)
	f.recycle()
}
