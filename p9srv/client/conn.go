package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"bazil/p9srv"
)

// Options are a connection's settings; zero values work.
type Options struct {
	Msize     uint32        // largest message asked for, in bytes; 0: 1 MiB
	FlushWait time.Duration // for the answer to a Tflush, before the server is given up; 0: 30 s
}

// ErrClosed is why calls fail after Close.
var ErrClosed = errors.New("9P connection is closed")

// Conn is a connection to a server, for many goroutines at once.
type Conn struct {
	nc        net.Conn
	msize     uint32
	flushWait time.Duration
	in        input         // the reader's
	ended     chan struct{} // closed when both goroutines are over
	stopped   chan struct{} // closed when the connection is of no use any more

	mu      sync.Mutex    // guards what follows
	work    sync.Cond     // out has become non-empty, or err has come
	out     []byte        // messages to be written
	room    chan struct{} // closed when there may be room again; nil: nobody waits
	calls   []*call       // by tag; nil: free
	tags    []uint16      // free ones
	flying  int           // calls that count against maxCalls
	fids    []uint32      // free ones below nextFid
	nextFid uint32
	err     error
}

const (
	defaultMsize = 1 << 20
	maxCalls     = 1024 // in flight, beside Tflush and Tclunk
)

// New agrees on a version with the server at the other end of c. The Conn
// owns c from here, and closes it when New fails.
func New(ctx context.Context, c net.Conn, o Options) (*Conn, error) {
	conn := newConn(c, o)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	err := conn.version()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("9P version: %w", err)
	}
	go conn.run()
	return conn, nil
}

func newConn(c net.Conn, o Options) *Conn {
	if o.Msize == 0 {
		o.Msize = defaultMsize
	}
	if o.FlushWait <= 0 {
		o.FlushWait = 30 * time.Second
	}
	conn := &Conn{
		nc: c, msize: max(o.Msize, p9srv.SmallestMsize), flushWait: o.FlushWait,
		in:      input{nc: c, buf: make([]byte, inputSize)},
		ended:   make(chan struct{}),
		stopped: make(chan struct{}),
	}
	conn.work.L = &conn.mu
	return conn
}

// version exchanges Tversion and Rversion.
func (c *Conn) version() error {
	b := begin(nil, p9srv.Tversion, p9srv.NoTag)
	b = p9srv.AppendString(put32(b, c.msize), "9P2000.L")
	p9srv.FinishMessage(b, len(b))
	if _, err := c.nc.Write(b); err != nil {
		return err
	}
	h, err := c.in.header(c.msize)
	if err != nil {
		return err
	}
	body, err := c.in.body(make([]byte, 0, 64), h.rest)
	if err != nil {
		return err
	}
	d := p9srv.NewDecoder(body)
	msize, version := d.U32(), d.String()
	switch {
	case h.typ != p9srv.Tversion+1 || h.tag != p9srv.NoTag || d.Bad():
		return fmt.Errorf("%w: %v", errReply, h.typ)
	case version != "9P2000.L":
		return fmt.Errorf("server speaks %q", version)
	case msize < 256 || msize > c.msize:
		return fmt.Errorf("server grants a message size of %d", msize)
	}
	c.msize = msize
	return nil
}

// run is the life of the connection: the reader, and the writer beside it.
func (c *Conn) run() {
	defer close(c.ended)
	var writer sync.WaitGroup
	writer.Go(c.write)
	err := c.read()
	c.fail(err)
	writer.Wait()
	c.abort()
}

// write sends what callers append, until the connection fails.
func (c *Conn) write() {
	var spare []byte
	for {
		c.mu.Lock()
		for len(c.out) == 0 && c.err == nil {
			c.work.Wait()
		}
		if c.err != nil {
			c.mu.Unlock()
			return
		}
		b := c.out
		c.out = spare[:0]
		c.wakeLocked()
		c.mu.Unlock()
		if _, err := c.nc.Write(b); err != nil {
			c.fail(fmt.Errorf("9P connection lost: %w", err))
			return
		}
		if spare = b; cap(b) > 4<<20 {
			spare = nil
		}
	}
}

// wakeLocked wakes the callers that wait for room; mu is held.
func (c *Conn) wakeLocked() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// fail ends the connection, once.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.stopped)
	c.nc.Close()
	c.work.Broadcast()
}

// abort completes all calls with the connection's error.
func (c *Conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.calls {
		if k != nil && k.owned {
			k.complete(c.err)
		}
	}
	c.calls = nil
}

// Msize is the message size that was agreed on, in bytes.
func (c *Conn) Msize() uint32 { return c.msize }

// Close ends the connection and waits for its goroutines. Calls at work
// fail with ErrClosed.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	<-c.ended
	return nil
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.stopped }

// Err is nil until Done is closed, and then says why.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
