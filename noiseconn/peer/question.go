package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// got takes a record of an answer. The body is valid until it returns. Its
// error ends the question.
type got func(k kind, body []byte) error

// question is put to one file of the other device.
type question struct {
	path   []string
	text   []byte
	expect int // bytes that the answer is expected to have; 0: few
}

// ask puts a question and gives the records of the answer to got, but for the
// ending one. A connection that was there before and turns out to be gone is
// made anew, once, if nothing was got.
func (l *link) ask(ctx context.Context, q question, fn got) error {
	for {
		s, fresh, err := l.session(ctx)
		if err != nil {
			return err
		}
		n := 0
		err = s.ask(ctx, q, func(k kind, body []byte) error {
			n++
			return fn(k, body)
		})
		if err == nil || ctx.Err() != nil || fresh || n > 0 || !s.ended() || errors.Is(err, ErrLied) {
			return err
		}
	}
}

// ask puts a question to a file. One that is not open yet gets walk, open,
// question and reads at once. The other side runs them in that order unless one
// takes it long, and answers EBADF to what it comes to before the file is there:
// where that is the open itself, it is all done one by one, else what came too
// early is sent again.
func (s *session) ask(ctx context.Context, q question, fn got) error {
	f, err := s.open(ctx, q.path)
	if err != nil {
		return err
	}
	err = s.askFile(ctx, f, q, fn)
	var not *notOpened
	if !errors.As(err, &not) {
		return err
	}
	if not.error != syscall.EBADF {
		return not.error
	}
	if f, err = s.openFirst(ctx, q.path); err != nil {
		return err
	}
	return s.askFile(ctx, f, q, fn)
}

// notOpened is why there is no open file although requests were sent to it.
type notOpened struct{ error }

func (s *session) askFile(ctx context.Context, f *file, q question, fn got) error {
	ctx, cancel := context.WithCancel(ctx)
	a := &answer{ctx: ctx, file: f, ahead: f.opening != nil, base: f.number << offsetBits, read: s.read, bufs: s.bufs, most: maxInFlight / s.read}
	a.window = min(q.expect/s.read+1, a.most)
	if s.trip >= farTrip {
		a.most = farInFlight / s.read
		a.window = a.most
	}
	f.number++
	err := a.put(q.text)
	if a.ahead {
		if e := s.settle(a, q.path); e != nil {
			cancel()
			return e
		}
		if err == syscall.EBADF {
			err = a.put(q.text)
		}
	}
	if err == nil {
		err = a.records(fn)
	}
	if err != nil {
		cancel()
		s.behind(func() {
			a.close()
			s.put(q.path, f)
		})
	} else {
		// The reads behind the end are yet to be answered, with nothing. The
		// file can be asked again meanwhile.
		s.put(q.path, f)
		s.behind(func() {
			a.close()
			cancel()
		})
	}
	if errors.Is(err, ErrLied) {
		s.conn.Close()
	}
	return err
}

// settle waits until the file is open to which a question was sent ahead. After
// an error the caller has no file.
func (s *session) settle(a *answer, path []string) error {
	opened := make(chan error, 1)
	s.behind(func() { opened <- a.opened() })
	select {
	case err := <-opened:
		if err != nil {
			return &notOpened{err}
		}
		return nil
	case <-a.ctx.Done():
		s.behind(func() {
			if <-opened == nil {
				a.close()
				s.put(path, a.file)
			}
		})
		return a.ctx.Err()
	}
}

// answer is an answer as it is read: a window of reads in flight, in order.
// They reach the other side in order too, so that none waits there for another.
type answer struct {
	ctx    context.Context
	file   *file
	ahead  bool // it was not open when the question was sent
	base   int64
	read   int        // bytes in a read
	bufs   *sync.Pool // of *[]byte, as large
	window int        // how many reads may be in flight
	most   int        // of window
	asked  *pending   // the question
	flying []*part    // in the order of the answer
	off    int64      // of the next read
	ended  bool       // a read gave nothing: there is nothing behind it
	split  splitter
	last   *part // split has its bytes
}

// part is one read. It has a buffer from when its data comes.
type part struct {
	off     int64 // in the answer
	buf     *[]byte
	bufs    *sync.Pool
	pending *pending
}

// room gives the buffer for n bytes.
func (p *part) room(n int) []byte {
	if n == 0 {
		return nil
	}
	p.buf = p.bufs.Get().(*[]byte)
	return (*p.buf)[:n]
}

// free gives the buffer back.
func (p *part) free() {
	if p != nil && p.buf != nil {
		p.bufs.Put(p.buf)
		p.buf = nil
	}
}

// put sends the question, and the first reads along with it unless they are under
// way already: one that came before its file was open is put again.
func (a *answer) put(question []byte) error {
	a.asked = beginWrite(a.ctx, a.file.fid, question, a.base)
	a.fill()
	_, err := a.asked.wait(a.ctx)
	return err
}

// opened waits until the file is open. On an error there is no file, and nothing
// in flight for it.
func (a *answer) opened() error {
	o := a.file.opening
	err := o.Wait(a.ctx)
	if err != nil {
		a.close()
		o.Drop(a.ctx)
	}
	a.file.opening = nil
	return err
}

// fill sends reads until the window is full, which doubles with each full
// read, so that small answers cost few.
func (a *answer) fill() {
	for !a.ended && len(a.flying) < a.window {
		p := &part{off: a.off, bufs: a.bufs}
		a.begin(p)
		a.off += int64(a.read)
		a.flying = append(a.flying, p)
	}
}

func (a *answer) begin(p *part) {
	p.pending = beginRead(a.ctx, a.file.fid, a.read, a.base+p.off, p.room)
}

// newBufs returns a pool of buffers.
func newBufs(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}
}

// close waits for what is in flight, which nobody wants any more, and gives
// back all buffers.
func (a *answer) close() {
	<-a.asked.done
	for _, p := range a.flying {
		<-p.pending.done
		p.free()
	}
	a.flying = nil
	a.last.free()
}

// records gives the records to fn up to the ending one.
func (a *answer) records(fn got) error {
	for {
		k, body, err := a.next()
		switch {
		case err != nil:
			return err
		case k == kindEnd:
			return a.checkEnd(body)
		case k == kindError:
			return asLie(parseFailure(body))
		}
		if err := fn(k, body); err != nil {
			return err
		}
	}
}

// next waits for a record.
func (a *answer) next() (kind, []byte, error) {
	for {
		k, body, ok, err := a.split.next()
		if err != nil {
			return 0, nil, lied(err)
		}
		if ok {
			return k, body, nil
		}
		if err := a.more(); err != nil {
			return 0, nil, err
		}
	}
}

// more waits for the next read and gives it to split.
func (a *answer) more() error {
	if a.ended {
		return lied(io.ErrUnexpectedEOF)
	}
	a.last.free() // split is done with it
	a.fill()
	p := a.flying[0]
	n, err := p.pending.wait(a.ctx)
	if err == syscall.EBADF && a.ahead { // it came before the file was open
		a.begin(p)
		n, err = p.pending.wait(a.ctx)
	}
	if err != nil {
		return err
	}
	a.flying = a.flying[1:]
	a.last = p
	a.ended = n == 0
	a.window = min(2*a.window, a.most)
	if n > 0 {
		a.split.feed((*p.buf)[:n])
	}
	return nil
}

// checkEnd checks that nothing stands behind the ending record.
func (a *answer) checkEnd(body []byte) error {
	if len(body) > 0 || !a.split.empty() {
		return lied(errors.New("bytes behind the end of an answer"))
	}
	return nil
}

// lied marks err as a breach of the protocol.
func lied(err error) error { return fmt.Errorf("%w: %w", ErrLied, err) }

// asLie marks err so unless it is an answer.
func asLie(err error) error {
	var r *RemoteError
	if errors.As(err, &r) {
		return err
	}
	return lied(err)
}

// unexpected is the error of a record that is no answer to the question.
func unexpected(k kind) error {
	return lied(fmt.Errorf("a record of kind %q in an answer that has none", byte(k)))
}

// describe says what failed in words for a user.
func describe(err error, what string) error {
	var remote *RemoteError
	var dialed *dialError
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &remote), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &errno) && !errors.As(err, &dialed):
		return fmt.Errorf("%s: the peer answered: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
