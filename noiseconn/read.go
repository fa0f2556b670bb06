package noiseconn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
)

// The read buffer's sizes: it grows when a read fills it.
const (
	minReadBuf = 4 << 10
	maxReadBuf = 4 * maxRecord
)

// reader is the receiving direction of a Conn.
type reader struct {
	raw net.Conn
	in  half

	mu    sync.Mutex // guards all below and in
	buf   []byte     // sealed bytes received and not yet opened: buf[r:w]
	r, w  int
	plain []byte // opened and not yet read; stands in buf, before r
	err   error  // why there is no more
}

// Read returns the next bytes of the stream, at least one. The error is io.EOF
// after a close record, io.ErrUnexpectedEOF when the stream was cut, and
// os.ErrDeadlineExceeded when the read deadline passed.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.read.read(p)
	if errors.Is(err, errRecord) {
		c.raw.Close() // who tampers with one direction does not get the other
	}
	return n, err
}

func (r *reader) read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.plain) == 0 {
		n, err := r.next(p)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			return n + r.more(p[n:]), nil
		}
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// more opens the records that are here already and fit p. What is wrong with
// them the next read will say.
func (r *reader) more(p []byte) (n int) {
	for {
		h, ok := r.peek()
		if !ok || h.kind != recordData || h.sealed-tagLen > len(p)-n {
			return n
		}
		m, err := r.next(p[n:])
		if err != nil {
			return n
		}
		n += m
	}
}

// next waits for a record and opens it: into p, n bytes, if it fits there,
// else into r.plain. Data is all it takes; a close record is io.EOF.
func (r *reader) next(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	kind, n, err := r.record(p)
	switch {
	case err == nil && kind == recordData:
		return n, nil
	case err == nil && kind == recordClose:
		err = io.EOF
	case err == nil:
		err = errRecord
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, err // the stream goes on here
	}
	r.err = err
	return 0, err
}

// record waits for one record, whatever its type, and opens it as next does.
func (r *reader) record(p []byte) (recordType, int, error) {
	if err := r.fill(headerLen); err != nil {
		return 0, 0, err
	}
	h, err := parseHeader(r.buf[r.r:])
	if err != nil {
		return 0, 0, err
	}
	if err := r.fill(headerLen + h.sealed); err != nil {
		return 0, 0, err
	}
	rec := r.buf[r.r : r.r+headerLen+h.sealed]
	r.r += len(rec)
	if n := h.sealed - tagLen; n <= len(p) {
		_, err := r.in.open(p[:0:n], rec)
		return h.kind, n, err
	}
	r.plain, err = r.in.open(rec[headerLen:headerLen], rec)
	return h.kind, 0, err
}

// peek returns the header of the next record if all of that is here.
func (r *reader) peek() (header, bool) {
	if r.err != nil || r.w-r.r < headerLen {
		return header{}, false
	}
	h, err := parseHeader(r.buf[r.r:])
	return h, err == nil && r.w-r.r >= headerLen+h.sealed
}

// fill reads until n sealed bytes are in the buffer.
func (r *reader) fill(n int) error {
	for r.w-r.r < n {
		r.room(n)
		m, err := r.raw.Read(r.buf[r.w:])
		r.w += m
		if m > 0 {
			continue
		}
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// room makes place for n bytes from r.r on, and for at least one more than
// are there.
func (r *reader) room(n int) {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	size := len(r.buf)
	if size == 0 {
		size = minReadBuf
	} else if r.w == size && size < maxReadBuf {
		size *= 4 // the last read filled it: more is waiting
	}
	size = min(max(size, n), maxReadBuf)
	switch {
	case size > len(r.buf):
		buf := make([]byte, size)
		r.w = copy(buf, r.buf[r.r:r.w])
		r.r, r.buf = 0, buf
	case r.r+n > len(r.buf) || r.w == len(r.buf):
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
}
