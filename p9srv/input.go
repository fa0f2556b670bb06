package p9srv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// input takes messages off a connection. It belongs to the holder of the
// baton.
type input struct {
	nc   net.Conn
	buf  *buffer
	r, w int // what was read and not taken yet
}

// inputSize is the size of the read buffer. A longer message gets a buffer
// of its own, once this one is full of it.
const inputSize = 32 << 10

var errFrame = errors.New("no 9P message")

func (in *input) start(nc net.Conn) {
	in.nc, in.buf = nc, newBuffer(inputSize)
}

// fill reads until n bytes stand in the buffer.
func (in *input) fill(n int) error {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.r+n > len(in.buf.b) {
		in.w = copy(in.buf.b, in.buf.b[in.r:in.w])
		in.r = 0
	}
	for in.w-in.r < n {
		m, err := in.nc.Read(in.buf.b[in.w:])
		in.w += m
		if err != nil && in.w-in.r < n {
			if err == io.EOF && in.w > in.r {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// size is that of the next message, once its first four bytes are there.
func (in *input) size() uint32 { return binary.LittleEndian.Uint32(in.buf.b[in.r:]) }

// next takes one message of at most limit bytes. It stands in own, or, if
// that is nil, in the read buffer until the next call.
func (in *input) next(limit uint32) (msg []byte, own *buffer, err error) {
	if err := in.fill(4); err != nil {
		return nil, nil, err
	}
	n := in.size()
	if n < HeaderSize || n > limit {
		return nil, nil, fmt.Errorf("%w: size %d", errFrame, n)
	}
	if int(n) > len(in.buf.b) {
		return in.long(int(n))
	}
	if err := in.fill(int(n)); err != nil {
		return nil, nil, err
	}
	msg = in.buf.b[in.r : in.r+int(n)]
	in.r += int(n)
	return msg, nil, nil
}

// long takes a message that does not fit the read buffer.
func (in *input) long(n int) ([]byte, *buffer, error) {
	if err := in.fill(min(n, len(in.buf.b))); err != nil {
		return nil, nil, err
	}
	own := newBuffer(n)
	m := copy(own.b, in.buf.b[in.r:in.w])
	in.r += m
	if _, err := io.ReadFull(in.nc, own.b[m:]); err != nil {
		own.release()
		return nil, nil, err
	}
	return own.b, own, nil
}

// ready is true when the next message is already here as a whole.
func (in *input) ready() bool {
	return in.w-in.r >= 4 && uint32(in.w-in.r) >= in.size()
}

// swap leaves the read buffer to the message that was taken last, and goes
// on with another.
func (in *input) swap() *buffer {
	old := in.buf
	in.buf = newBuffer(inputSize)
	in.w = copy(in.buf.b, old.b[in.r:in.w])
	in.r = 0
	return old
}

func (in *input) stop() {
	in.buf.release()
	in.buf = nil
}
