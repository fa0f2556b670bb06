package noiseconn

import (
	"fmt"
	"net"
	"sync"
)

const (
	// maxBatch is how many sealed bytes go into one system call.
	maxBatch = 4 * maxRecord
	// gatherBelow is the length below which WriteBuffers copies a buffer into
	// a record together with its neighbours.
	gatherBelow = 8 << 10
)

// writer is the sending direction of a Conn.
type writer struct {
	raw net.Conn
	out half

	mu   sync.Mutex // guards all below and out
	buf  []byte     // records, sealed and not yet sent
	open int        // where in buf an unsealed record's payload starts; 0 none
	held int        // payload bytes in buf
	sent int64      // payload bytes of this call that were sent
	err  error      // why nothing can be written any more
}

// Write sends p, in as few records and system calls as it fits. After an error
// n bytes may have reached the other side, and all later Writes fail.
func (c *Conn) Write(p []byte) (n int, err error) {
	sent, err := c.write.write(p)
	return int(sent), err
}

// WriteBuffers sends the buffers one after the other as Write would, small
// ones together, all in as few system calls as they fit. It does not change
// bufs and does not keep them.
func (c *Conn) WriteBuffers(bufs [][]byte) (n int64, err error) {
	return c.write.write(bufs...)
}

func (w *writer) write(bufs ...[]byte) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, fmt.Errorf("noise: write after the connection ended: %w", w.err)
	}
	w.sent = 0
	if err := w.writeAll(bufs); err != nil {
		w.err = err
		return w.sent, err
	}
	return w.sent, nil
}

func (w *writer) writeAll(bufs [][]byte) error {
	for i, p := range bufs {
		add := w.seal
		if len(p) < gatherBelow && len(bufs) > 1 && (i > 0 || len(bufs[1]) < gatherBelow) {
			add = w.gather
		}
		for len(p) > 0 {
			n, err := add(p)
			if err != nil {
				return err
			}
			p = p[n:]
		}
	}
	return w.flush()
}

// seal appends a record with the first n bytes of p, as many as fit one.
func (w *writer) seal(p []byte) (n int, err error) {
	if err := w.finish(); err != nil {
		return 0, err
	}
	n = min(len(p), maxPayload)
	if err := w.reserve(headerLen + n + tagLen); err != nil {
		return 0, err
	}
	w.buf, err = w.out.seal(w.buf, p[:n])
	w.held += n
	return n, err
}

// gather adds the first n bytes of p to the record being gathered.
func (w *writer) gather(p []byte) (n int, err error) {
	if w.open == 0 {
		if err := w.reserve(headerLen + gatherBelow + tagLen); err != nil {
			return 0, err
		}
		w.buf = append(w.buf, make([]byte, headerLen)...)
		w.open = len(w.buf)
	}
	room := min(w.open+maxPayload, maxBatch-tagLen) - len(w.buf)
	if room == 0 {
		return 0, w.finish()
	}
	n = min(len(p), room)
	w.buf = append(w.buf, p[:n]...)
	w.held += n
	return n, nil
}

// finish seals the record being gathered, in place.
func (w *writer) finish() (err error) {
	if w.open == 0 {
		return nil
	}
	payload, start := w.buf[w.open:], w.open-headerLen
	w.open = 0
	w.buf, err = w.out.seal(w.buf[:start], payload)
	return err
}

// reserve makes place for n more bytes, by sending what is there if it must.
func (w *writer) reserve(n int) error {
	if len(w.buf)+n > maxBatch {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if need := len(w.buf) + n; need > cap(w.buf) {
		buf := make([]byte, len(w.buf), min(maxBatch, max(2*cap(w.buf), need)))
		copy(buf, w.buf)
		w.buf = buf
	}
	return nil
}

// flush sends what was sealed.
func (w *writer) flush() error {
	if err := w.finish(); err != nil {
		return err
	}
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.raw.Write(w.buf)
	if err == nil {
		w.sent += int64(w.held)
	}
	w.buf, w.held = w.buf[:0], 0
	return err
}

// bare sends a record without payload.
func (w *writer) bare(t recordType) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = w.bareLocked(t)
	}
	return w.err
}

func (w *writer) bareLocked(t recordType) (err error) {
	if w.buf, err = w.out.sealBare(w.buf, t); err != nil {
		return err
	}
	return w.flush()
}

// close sends the close record if the direction still works, and ends it.
func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.bareLocked(recordClose) // a failure means the peer sees a cut stream
		w.err = net.ErrClosed
	}
	w.buf = nil
}
