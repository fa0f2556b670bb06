package p9srv

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// output gathers a connection's replies and writes them in batches: one
// goroutine at a time writes, whoever comes first, and takes along what the
// others add meanwhile.
type output struct {
	nc      net.Conn
	vec     bufferWriter  // nc, where it writes many slices at once; else nil
	timeout time.Duration // for the client to take something; 0: any
	memory  *Account

	size atomic.Int64 // bytes in pend and being written; set under mu

	mu       sync.Mutex // guards what follows
	room     sync.Cond  // size went down, or err came
	pend     *batch     // what is to be written next
	spare    *batch     // empty, for when pend is being written
	writing  bool       // somebody writes
	err      error      // of the first write that failed: nothing goes out any more
	deadline time.Time  // as last set on nc
}

// bufferWriter is a connection that writes many slices as cheaply as one.
// WriteBuffers may change bufs, but not what they hold, and does not keep them.
type bufferWriter interface {
	WriteBuffers(bufs [][]byte) (int64, error)
}

// vectors is a connection whose system calls take many slices.
type vectors struct {
	nc   net.Conn
	bufs net.Buffers // of the one call
}

func (v *vectors) WriteBuffers(bufs [][]byte) (int64, error) {
	v.bufs = bufs
	return v.bufs.WriteTo(v.nc)
}

// batch is a run of replies. Data that is not copied stands beside the
// arena, with its place in it.
type batch struct {
	arena []byte
	lent  []lentData
	free  []*buffer // to be given back when written
	vec   [][]byte
}

type lentData struct {
	at int // place in the arena before which the data goes
	b  []byte
}

// copyLimit is up to how many bytes data is copied into the arena.
const copyLimit = 8 << 10

// maxArena is the largest arena that is kept for another batch.
const maxArena = 128 << 10

func (o *output) start(nc net.Conn, timeout time.Duration, memory *Account) {
	o.nc, o.timeout, o.memory = nc, timeout, memory
	switch nc := nc.(type) {
	case *net.UnixConn, *net.TCPConn:
		o.vec = &vectors{nc: nc}
	case bufferWriter:
		o.vec = nc
	}
	o.room.L = &o.mu
	o.pend, o.spare = new(batch), new(batch)
}

// add appends one reply: head and the data behind it. It gives data back by
// free when it was written. Head is copied, data is not.
func (o *output) add(head []byte, data [][]byte, free *buffer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		free.release()
		return
	}
	b := o.pend
	b.arena = append(b.arena, head...)
	n := len(head)
	for _, p := range data {
		b.lent = append(b.lent, lentData{len(b.arena), p})
		n += len(p)
	}
	o.grow(n)
	if free != nil {
		b.free = append(b.free, free)
	}
}

// grow counts n bytes more; mu is held.
func (o *output) grow(n int) {
	o.size.Add(int64(n))
	o.memory.charge(int64(n))
}

// large is true when it is time to write although more could be added.
func (o *output) large() bool { return o.size.Load() >= sureMemory }

// waitRoom blocks while more than limit bytes wait for the client to read.
func (o *output) waitRoom(limit int) error {
	if o.size.Load() <= int64(limit) {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.size.Load() > int64(limit) && o.err == nil {
		o.room.Wait()
	}
	return o.err
}

// flush writes all that was added, unless another goroutine is about it.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing {
		return
	}
	o.writing = true
	for !o.pend.empty() && o.err == nil {
		o.writeBatch()
	}
	o.writing = false
}

// writeBatch writes pend; mu is held, but not while writing.
func (o *output) writeBatch() {
	b := o.pend
	o.pend, o.spare = o.spare, nil
	o.setDeadline()
	o.mu.Unlock()
	n, err := b.write(o.nc, o.vec)
	b.reset()
	o.mu.Lock()
	o.spare = b
	o.grow(-n)
	if err != nil {
		o.fail(err)
		o.nc.Close()
	}
	o.room.Broadcast()
}

// setDeadline moves the connection's write deadline, seldom.
func (o *output) setDeadline() {
	if o.timeout <= 0 {
		return
	}
	now := time.Now()
	if o.deadline.Sub(now) < o.timeout*3/4 {
		o.deadline = now.Add(o.timeout)
		o.nc.SetWriteDeadline(o.deadline)
	}
}

// stop makes every later reply vanish.
func (o *output) stop(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail(err)
	o.room.Broadcast()
}

func (o *output) fail(err error) {
	if o.err == nil {
		o.err = err
	}
	o.pend.reset()
}

func (b *batch) empty() bool { return len(b.arena) == 0 }

// write sends the batch and returns its size.
func (b *batch) write(nc net.Conn, many bufferWriter) (int, error) {
	if len(b.lent) == 0 {
		_, err := nc.Write(b.arena)
		return len(b.arena), err
	}
	n, at := len(b.arena), 0
	vec := b.vec[:0]
	for _, l := range b.lent {
		if l.at > at {
			vec = append(vec, b.arena[at:l.at])
			at = l.at
		}
		vec = append(vec, l.b)
		n += len(l.b)
	}
	if at < len(b.arena) {
		vec = append(vec, b.arena[at:])
	}
	var err error
	if many != nil {
		_, err = many.WriteBuffers(vec)
	} else {
		err = writeJoined(nc, vec)
	}
	clear(vec)
	b.vec = vec[:0]
	return n, err
}

// joinSize is how much writeJoined gives to one Write.
const joinSize = 64 << 10

// writeJoined writes the slices in pieces of joinSize, for a connection on
// which every Write costs.
func writeJoined(nc net.Conn, vec [][]byte) error {
	buf := newBuffer(joinSize)
	defer buf.release()
	n := 0
	for _, p := range vec {
		for len(p) > 0 {
			m := copy(buf.b[n:], p)
			n, p = n+m, p[m:]
			if n < joinSize {
				continue
			}
			if _, err := nc.Write(buf.b); err != nil {
				return err
			}
			n = 0
		}
	}
	if n == 0 {
		return nil
	}
	_, err := nc.Write(buf.b[:n])
	return err
}

// reset empties the batch and gives back what it borrowed.
func (b *batch) reset() {
	for _, f := range b.free {
		f.release()
	}
	clear(b.lent)
	clear(b.free)
	b.lent, b.free = b.lent[:0], b.free[:0]
	if cap(b.arena) > maxArena {
		b.arena = nil
	}
	b.arena = b.arena[:0]
}
