package noiseconn

import (
	"net"
	"sync"
	"time"
)

// closeWait is how long Close waits for a Write in progress and for the close
// record to leave.
const closeWait = time.Second

// Conn is one end of a finished connection. It is a net.Conn: all methods may
// be called at once, also several Reads or Writes.
type Conn struct {
	raw    net.Conn
	remote PublicKey
	role   Role

	read  reader
	write writer

	dmu    sync.Mutex // guards closed, and the write deadline against Close
	closed bool
}

func newConn(raw net.Conn, remote PublicKey, role Role, in, out half) *Conn {
	c := &Conn{raw: raw, remote: remote, role: role}
	c.read.raw, c.read.in = raw, in
	c.write.raw, c.write.out = raw, out
	return c
}

// RemoteKey returns the public key the other side has proved to hold.
func (c *Conn) RemoteKey() PublicKey { return c.remote }

// Role returns the role of the connection's dialer.
func (c *Conn) Role() Role { return c.role }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when Reads fail with os.ErrDeadlineExceeded. Nothing is
// lost by that: a later Read goes on where the stream stood.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline sets when Writes fail with os.ErrDeadlineExceeded. A Write
// that failed so was the last one of the connection.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.dmu.Lock()
	defer c.dmu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return c.raw.SetWriteDeadline(t)
}

// Close sends the close record and ends the connection. Reads and Writes in
// progress fail; a Write whose data does not leave is given a second. Close
// may be called more than once.
func (c *Conn) Close() error {
	if !c.beginClose() {
		return nil
	}
	c.write.close()
	return c.raw.Close()
}

func (c *Conn) beginClose() bool {
	c.dmu.Lock()
	defer c.dmu.Unlock()
	if c.closed {
		return false
	}
	c.closed = true
	c.raw.SetWriteDeadline(time.Now().Add(closeWait))
	return true
}
