package p9srv

import (
	"math"
	"syscall"
)

// opened finds the open file of a fid; both are held until the fid is put.
func (r *request) opened(num uint32) (*fid, *openFile, error) {
	f, err := r.fid(num)
	if err != nil {
		return nil, nil, err
	}
	o := f.file.Load()
	if o == nil {
		f.put()
		return nil, nil, syscall.EBADF
	}
	return f, o, nil
}

// setFile makes f the fid of an open file.
func (r *request) setFile(f *fid, o *openFile) error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if f.file.Load() != nil {
		return errOpen
	}
	if err := r.commit(); err != nil {
		return err
	}
	f.file.Store(o)
	return nil
}

// read answers Tread: fid[4] offset[8] count[4].
func read(r *request) error {
	num, off, count := r.in.U32(), r.in.U64(), r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	n := int(min(count, r.sess.msize-ReadHeader))
	o := f.file.Load()
	switch {
	case f.attr != nil:
		return r.readAttr(f.attr, off, n)
	case o == nil || !o.read:
		return syscall.EBADF
	case o.isDir:
		return r.readDirPlain(f, o, off, n)
	case o.stream:
		return r.readStream(o, off, n)
	case off > math.MaxInt64:
		return syscall.EINVAL
	}
	r.charge(n) // also of memory that is lent: it cannot be given up as long as the reply has it
	r.mayBeSlow()
	if n > copyLimit && o.lender != nil {
		return r.lend(o, int64(off), n)
	}
	_, err = r.readFile(o, int64(off), n)
	return err
}

// readFile reads up to n bytes into the reply.
func (r *request) readFile(o *openFile, off int64, n int) (int, error) {
	if n > copyLimit {
		return r.readLarge(o, off, n)
	}
	r.out = grow(put32(r.out, 0), n)
	at := len(r.out)
	got, err := o.ReadAt(&r.ctx, r.out[at:at+n], off)
	got = min(max(got, 0), n)
	if got == 0 && err != nil {
		return 0, err
	}
	r.out = r.out[:at+got]
	r.setCount(got)
	return got, nil
}

// readLarge reads into a buffer that goes out with the reply.
func (r *request) readLarge(o *openFile, off int64, n int) (int, error) {
	r.free = newBuffer(n)
	got, err := o.ReadAt(&r.ctx, r.free.b, off)
	got = min(max(got, 0), n)
	if got == 0 && err != nil {
		return 0, err
	}
	r.out = put32(r.out, uint32(got))
	if got > copyLimit {
		r.data = append(r.data, r.free.b[:got])
		return got, nil
	}
	r.out = append(r.out, r.free.b[:got]...)
	r.free.release()
	r.free = nil
	return got, nil
}

// lend makes the file's own memory the reply.
func (r *request) lend(o *openFile, off int64, n int) error {
	data, err := o.lender.ReadBuffers(&r.ctx, r.data[:0], off, n)
	if err != nil {
		clear(data)
		return err
	}
	r.data = trim(data, n)
	total := 0
	for _, p := range r.data {
		total += len(p)
	}
	r.out = put32(r.out, uint32(total))
	if total > copyLimit {
		return nil
	}
	for _, p := range r.data {
		r.out = append(r.out, p...)
	}
	clear(r.data)
	r.data = r.data[:0]
	return nil
}

// trim cuts the slices off behind n bytes.
func trim(data [][]byte, n int) [][]byte {
	for i, p := range data {
		if len(p) > n {
			data[i] = p[:n]
		}
		n -= len(data[i])
	}
	return data
}

// maxRecord is how long one record of a stream may be.
const maxRecord = 64 << 10

// readStream reads one record. In 9P2000.L, whose clients read on until the
// buffer is full or a read gives nothing, the read after a record that left
// room gives nothing.
func (r *request) readStream(o *openFile, off uint64, n int) error {
	if r.sess.dialect == dialectL && o.pause.Swap(false) {
		r.out = put32(r.out, 0)
		return nil
	}
	size := min(n, maxRecord)
	r.charge(size)
	r.mayWait()
	got, err := r.readFile(o, int64(off&math.MaxInt64), size)
	if r.sess.dialect == dialectL && got > 0 && got < n {
		o.pause.Store(true)
	}
	return err
}

// grow makes room for n more bytes behind b.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, len(b)+n), b...)
}

// setCount sets the count[4] that a reply begins with.
func (r *request) setCount(n int) {
	put32(r.out[:HeaderSize], uint32(n))
}

// write answers Twrite: fid[4] offset[8] count[4] data[count].
func write(r *request) error {
	num, off, count := r.in.U32(), r.in.U64(), r.in.U32()
	data := r.in.Bytes(int(count))
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	o := f.file.Load()
	switch {
	case f.attr != nil:
		err = r.writeAttr(f, off, data)
	case o == nil || !o.write:
		err = syscall.EBADF
	case off > math.MaxInt64-uint64(len(data)):
		err = syscall.EFBIG
	default:
		r.mayBeSlow()
		var n int
		if n, err = o.WriteAt(&r.ctx, data, int64(off)); n > 0 {
			err = nil
		}
		count = uint32(min(max(n, 0), len(data)))
	}
	if err != nil {
		return err
	}
	r.out = put32(r.out, count)
	return nil
}

// clunk answers Tclunk: fid[4].
func clunk(r *request) error {
	num := r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.take(num)
	if err != nil {
		return err
	}
	return f.put()
}

// remove answers Tremove: fid[4]. The fid is gone whatever happens.
func remove(r *request) error {
	num := r.in.U32()
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.take(num)
	if err != nil {
		return err
	}
	defer f.put()
	if f.attr != nil {
		return syscall.EBADF
	}
	return f.removeFile(&r.ctx)
}
