package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"bazil/p9srv"
)

// errReply is a reply that no 9P server sends.
var errReply = errors.New("bad 9P reply")

// input takes replies off the connection.
type input struct {
	nc   net.Conn
	buf  []byte
	r, w int
}

const inputSize = 64 << 10

// header is what every reply begins with; rest bytes follow.
type header struct {
	typ  p9srv.MsgType
	tag  uint16
	rest int
}

// fill reads until n bytes stand in the buffer.
func (in *input) fill(n int) error {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.r+n > len(in.buf) {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	for in.w-in.r < n {
		m, err := in.nc.Read(in.buf[in.w:])
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

// header takes a header of a message of at most limit bytes.
func (in *input) header(limit uint32) (header, error) {
	if err := in.fill(p9srv.HeaderSize); err != nil {
		return header{}, err
	}
	p := in.buf[in.r:]
	n := binary.LittleEndian.Uint32(p)
	if n < p9srv.HeaderSize || n > limit {
		return header{}, fmt.Errorf("%w: size %d", errReply, n)
	}
	in.r += p9srv.HeaderSize
	return header{p9srv.MsgType(p[4]), binary.LittleEndian.Uint16(p[5:]), int(n) - p9srv.HeaderSize}, nil
}

// u32 takes four bytes.
func (in *input) u32() (uint32, error) {
	if err := in.fill(4); err != nil {
		return 0, err
	}
	v := binary.LittleEndian.Uint32(in.buf[in.r:])
	in.r += 4
	return v, nil
}

// full takes len(p) bytes.
func (in *input) full(p []byte) error {
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	_, err := io.ReadFull(in.nc, p[n:])
	return err
}

// body takes n bytes into the memory of dst, or more of it.
func (in *input) body(dst []byte, n int) ([]byte, error) {
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	return dst, in.full(dst)
}
