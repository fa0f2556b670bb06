package client

import (
	"context"
	"fmt"

	"bazil/p9srv"
)

// maxParallel is how many requests of one ReadAt or WriteAt are in flight.
const maxParallel = 16

// chunk is how much a large read or write moves with one message.
func (c *Conn) chunk() int {
	n := int(c.msize) - p9srv.WriteHeader - 1
	if n > 4096 {
		n &^= 4095
	}
	return n
}

// part is one message of a large read or write.
type part struct {
	k   *call
	p   []byte
	n   int
	err error
}

// ReadAt reads len(p) bytes at off. Fewer without an error mean that the file
// ends there. Large reads are cut into messages that are in flight together.
func (f *Fid) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) <= f.c.chunk() {
		return f.Read1(ctx, p, off)
	}
	return f.split(ctx, p, off, f.startRead, func(a *part) {
		a.n = a.k.n
	})
}

// ReadInto is Read1 of at most n bytes into memory that room gives, as much as
// came, when they have come: a read that is long under way costs none. It is
// called by the connection's reader and must not wait.
func (f *Fid) ReadInto(ctx context.Context, n int, off int64, room func(n int) []byte) (int, error) {
	n = min(n, int(f.c.msize)-p9srv.ReadHeader)
	k, err := f.c.startInto(ctx, f, p9srv.Tread, call{room: room, most: n}, f.encodeRead(off, n))
	if err != nil {
		return 0, err
	}
	defer k.recycle()
	if err := f.c.wait(ctx, k); err != nil {
		return 0, err
	}
	return k.n, nil
}

// encodeRead appends the body of a Tread.
func (f *Fid) encodeRead(off int64, n int) func([]byte) []byte {
	return func(b []byte) []byte { return put32(put64(put32(b, f.num), uint64(off)), uint32(n)) }
}

// Read1 reads with exactly one Tread, so at most the message size allows. On
// a stream it gives the next record.
func (f *Fid) Read1(ctx context.Context, p []byte, off int64) (int, error) {
	k, err := f.startRead(ctx, p[:min(len(p), int(f.c.msize)-p9srv.ReadHeader)], off)
	if err != nil {
		return 0, err
	}
	defer k.recycle()
	if err := f.c.wait(ctx, k); err != nil {
		return 0, err
	}
	return k.n, nil
}

func (f *Fid) startRead(ctx context.Context, p []byte, off int64) (*call, error) {
	if p == nil {
		p = []byte{}
	}
	return f.c.start(ctx, f, p9srv.Tread, p, f.encodeRead(off, len(p)))
}

// WriteAt writes all of p at off, or says why not and how much it wrote.
func (f *Fid) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) <= f.c.chunk() {
		return f.write1(ctx, p, off)
	}
	n, err := f.split(ctx, p, off, f.startWrite, func(a *part) {
		a.n, a.err = f.written(a.k, len(a.p))
	})
	return n, err
}

// write1 writes with exactly one Twrite.
func (f *Fid) write1(ctx context.Context, p []byte, off int64) (int, error) {
	k, err := f.startWrite(ctx, p, off)
	if err != nil {
		return 0, err
	}
	defer k.recycle()
	if err := f.c.wait(ctx, k); err != nil {
		return 0, err
	}
	return f.written(k, len(p))
}

// written takes the count of an Rwrite to a Twrite of want bytes.
func (f *Fid) written(k *call, want int) (int, error) {
	d := p9srv.NewDecoder(k.body)
	n := int(d.U32())
	if err := f.c.parsed(&d); err != nil {
		return 0, err
	}
	if n > want {
		f.c.fail(errReply)
		return 0, errReply
	}
	if n < want {
		return n, fmt.Errorf("9P server wrote %d bytes of %d", n, want)
	}
	return n, nil
}

func (f *Fid) startWrite(ctx context.Context, p []byte, off int64) (*call, error) {
	return f.c.start(ctx, f, p9srv.Twrite, nil, func(b []byte) []byte {
		return append(put32(put64(put32(b, f.num), uint64(off)), uint32(len(p))), p...)
	})
}

type startFunc func(ctx context.Context, p []byte, off int64) (*call, error)

// split cuts p into messages and keeps some of them in flight. It returns how
// many bytes were moved up to the first part that was short or failed; when it
// returns, no part is in flight any more.
func (f *Fid) split(ctx context.Context, p []byte, off int64, start startFunc, got func(*part)) (int, error) {
	var ring [maxParallel]part
	total, sent, taken := 0, 0, 0
	var end bool
	var err error
	for rest := p; ; {
		for !end && sent-taken < maxParallel && (len(rest) > 0 || sent == 0) {
			a := &ring[sent%maxParallel]
			n := min(len(rest), f.c.chunk())
			*a = part{p: rest[:n]}
			a.k, a.err = start(ctx, a.p, off+int64(len(p)-len(rest)))
			rest = rest[n:]
			sent++
		}
		if taken == sent {
			return total, err
		}
		a := &ring[taken%maxParallel]
		taken++
		f.c.finishPart(ctx, a, got)
		if end {
			continue
		}
		total += a.n
		err = a.err
		end = err != nil || a.n < len(a.p)
	}
}

// finishPart waits for a part.
func (c *Conn) finishPart(ctx context.Context, a *part, got func(*part)) {
	if a.err != nil {
		return
	}
	if a.err = c.wait(ctx, a.k); a.err == nil {
		got(a)
	}
	a.k.recycle()
}

// ReadDir returns entries of the open directory behind the cookie off, which
// is 0 or an entry's Offset, in count bytes of the protocol's form at most. No
// entries mean the end. "." and ".." are among them.
func (f *Fid) ReadDir(ctx context.Context, off uint64, count uint32) ([]p9srv.Dirent, error) {
	count = min(count, f.c.msize-p9srv.ReadHeader)
	k, err := f.call(ctx, p9srv.Treaddir, func(b []byte) []byte { return put32(put64(b, off), count) })
	if err != nil {
		return nil, err
	}
	defer k.recycle()
	d := p9srv.NewDecoder(k.body)
	entries := d.Bytes(int(d.U32()))
	if err := f.c.parsed(&d); err != nil {
		return nil, err
	}
	d = p9srv.NewDecoder(entries)
	var list []p9srv.Dirent
	for d.Len() > 0 {
		e := p9srv.Dirent{QID: d.QID(), Offset: d.U64(), Type: d.U8(), Name: d.String()}
		if err := f.c.parsed(&d); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}
