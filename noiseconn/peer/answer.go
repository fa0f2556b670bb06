package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"syscall"

	"bazil/p9srv"
)

// answers makes the answer to a question. The error is an in-band one.
type answers func(ctx context.Context, question []byte) (producer, error)

// producer appends the next records of an answer to dst. After the last ones
// it returns io.EOF; any other error ends the answer with an 'e' record. When
// ctx ends, or on needsRoom, it may be called again. A call's records are all or
// nothing.
type producer func(ctx context.Context, dst []byte) ([]byte, error)

// needsRoom is the error of a producer whose next record is large, and for which
// dst would have to grow: how many bytes it takes.
type needsRoom int

func (n needsRoom) Error() string { return fmt.Sprintf("%d bytes do not fit", int(n)) }

// offsetBits is how many bits of an offset count bytes of an answer.
const offsetBits = 40

// asked is a file that was opened: it takes questions and gives answers.
type asked struct {
	answers answers
	log     *slog.Logger
	close   func()

	mu     sync.Mutex    // guards all below
	change chan struct{} // closed and replaced when anything below changes
	number int64         // of the question; -1: none yet
	busy   bool          // a read is at work on what is below
	given  int64         // where what the last read gave ends
	asked  int64         // where what it asked for ends
	next   producer      // nil: the rest of the answer is in made
	made   []byte        // made[from:] is not read yet
	from   int
}

func newAsked(a answers, log *slog.Logger, close func()) *asked {
	return &asked{answers: a, log: log, close: close, number: -1, change: make(chan struct{})}
}

// keptBuffer is the largest buffer an answered file keeps.
const keptBuffer = 512 << 10

// WriteAt takes a question.
func (f *asked) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	number := off >> offsetBits
	if len(p) > maxQuestion {
		return 0, syscall.EMSGSIZE
	}
	if off != number<<offsetBits {
		return 0, syscall.EINVAL
	}
	question := append([]byte(nil), p...)
	if err := f.ask(ctx, number, question); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ask makes question the one to be answered. Reads that still work at the
// answer before are waited for.
func (f *asked) ask(ctx context.Context, number int64, question []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.busy {
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	if number <= f.number {
		return syscall.EINVAL
	}
	f.number, f.given, f.asked = number, 0, 0
	f.made, f.from = f.made[:0], 0
	f.next = f.begin(question)
	f.changed()
	return nil
}

// begin returns a producer that looks at the question when it is read for the
// first time.
func (f *asked) begin(question []byte) producer {
	var p producer
	return func(ctx context.Context, dst []byte) ([]byte, error) {
		if p == nil {
			var err error
			if p, err = f.answers(ctx, question); err != nil {
				return dst, err
			}
		}
		return p(ctx, dst)
	}
}

// ReadAt gives the next bytes of the answer, fewer than len(p) at its end and
// before a large record that would not fit whole.
func (f *asked) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	ended, err := f.turn(ctx, off)
	if ended || err != nil {
		return 0, err
	}
	n, err := f.make(ctx, p)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = false
	f.changed()
	if err == nil {
		at := off & (1<<offsetBits - 1)
		f.given, f.asked = at+int64(n), at+int64(len(p))
	}
	return n, err
}

// turn waits until off is where the answer stands, and makes the caller the
// one that reads. ended: there is nothing at off.
func (f *asked) turn(ctx context.Context, off int64) (ended bool, err error) {
	number, at := off>>offsetBits, off&(1<<offsetBits-1)
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case number < f.number || number == f.number && at < f.given:
			return false, syscall.ESPIPE
		case number == f.number && !f.busy && f.next == nil && f.from == len(f.made):
			return true, nil
		case number == f.number && !f.busy && at <= f.asked:
			f.busy = true
			return false, nil
		}
		if err := f.wait(ctx); err != nil {
			return false, err
		}
	}
}

// wait waits for a change; mu is held, but not meanwhile.
func (f *asked) wait(ctx context.Context) error {
	change := f.change
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case <-change:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// changed wakes those who wait; mu is held.
func (f *asked) changed() {
	close(f.change)
	f.change = make(chan struct{})
}

// make makes answer until p is full, no more comes or a large record would not
// fit, straight into p but for what is left over. The caller has set busy. The only error is that of an
// ended ctx, after which it goes on where it was.
func (f *asked) make(ctx context.Context, p []byte) (n int, err error) {
	n = copy(p, f.made[f.from:])
	f.from += n
	for n < len(p) && f.next != nil { // then all of made is used up
		made, err := f.records(ctx, p[n:n:len(p)])
		var need needsRoom
		if errors.As(err, &need) && n > 0 {
			break // the next read begins with it: nobody copies it
		}
		if errors.As(err, &need) {
			made, err = f.records(ctx, slices.Grow(f.made[:0], int(need)))
		}
		if err != nil {
			f.made, f.from = append(f.made[:0], p[:n]...), 0
			return 0, err
		}
		m := copy(p[n:], made) // onto itself, as a rule
		if n += m; m < len(made) {
			f.made, f.from = made, m
		}
	}
	f.release()
	return n, nil
}

// release forgets a large buffer that is used up.
func (f *asked) release() {
	if f.next == nil && f.from == len(f.made) && cap(f.made) > keptBuffer {
		f.made, f.from = nil, 0
	}
}

// records appends the next records, the ending one too. The errors are that of
// an ended ctx and needsRoom.
func (f *asked) records(ctx context.Context, dst []byte) ([]byte, error) {
	made, err := f.next(ctx, dst)
	var need needsRoom
	if err == nil || errors.As(err, &need) {
		return made, err
	}
	return f.finish(ctx, made[:len(dst)], err)
}

// finish appends the record that ends the answer because of err.
func (f *asked) finish(ctx context.Context, made []byte, err error) ([]byte, error) {
	if err == io.EOF {
		f.next = nil
		return endRecord(beginRecord(made, kindEnd), len(made)), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	f.next = nil
	fail := newFailure(err)
	if fail.Code == codeFailed {
		f.log.Error("answering a peer", "err", err)
	}
	return appendRecord(made, kindError, fail)
}

// Sync has nothing to do.
func (f *asked) Sync(context.Context, bool) error { return nil }

// Close ends the file.
func (f *asked) Close() error {
	f.close()
	return nil
}

var _ p9srv.File = (*asked)(nil)
