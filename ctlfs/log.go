package ctlfs

import (
	"context"
	"strconv"
	"sync"
	"syscall"
	"time"

	"bazil/p9srv"
)

// logKept is how many events a Log holds.
const logKept = 1024

// Log is the last events of the server, for any number of readers, each with
// a place of its own. The zero value is ready.
type Log struct {
	mu   sync.Mutex // guards what follows
	ring [logKept]Record
	next uint64        // number of the next event; the ring holds those below it
	wake chan struct{} // closed when there is an event; nil without a waiter
}

// Add appends an event and puts its number and time before it.
func (l *Log) Add(event Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Rec("seq", strconv.FormatUint(l.next, 10), "time", time.Now().UTC().Format(time.RFC3339Nano))
	l.ring[l.next%logKept] = append(r, event...)
	l.next++
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// Next waits for the first event at place or behind it for which want is
// true (nil: any), and returns it with the place behind it. A reader that was
// too slow first gets a record that says how many events it lost.
func (l *Log) Next(ctx context.Context, place uint64, want func(Record) bool) (Record, uint64, error) {
	for {
		r, next, wake := l.scan(place, want)
		if r != nil {
			return r, next, nil
		}
		place = next
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, place, ctx.Err()
		}
	}
}

// scan looks through the events at place and behind it.
func (l *Log) scan(place uint64, want func(Record) bool) (Record, uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next > logKept && place < l.next-logKept {
		first := l.next - logKept
		if place > 0 {
			return Rec("event", "lost", "count", strconv.FormatUint(first-place, 10)), first, nil
		}
		place = first
	}
	for ; place < l.next; place++ {
		if r := l.ring[place%logKept]; want == nil || want(r) {
			return r, place + 1, nil
		}
	}
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	return nil, place, l.wake
}

// logFile is a file that gives one event a read.
type logFile struct {
	base
	want func(Record) bool
}

func (b *base) log(want func(Record) bool) p9srv.Node {
	return &logFile{base: b.under("log"), want: want}
}

// QID says that it is a file.
func (f *logFile) QID() p9srv.QID { return f.qid(p9srv.QTFile) }

// Attr gives its mode and owner.
func (f *logFile) Attr(context.Context) (p9srv.Attr, error) {
	return f.attr(syscall.S_IFREG | 0o400), nil
}

// Walk finds nothing in a file.
func (f *logFile) Walk(context.Context, string) (p9srv.Node, error) { return nil, syscall.ENOTDIR }

// Open opens it for reading, at the oldest event that is kept.
func (f *logFile) Open(_ context.Context, flags uint32) (p9srv.File, error) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0 {
		return nil, syscall.EACCES
	}
	return &openLog{log: f.fs.o.Log, want: f.want, turn: make(chan struct{}, 1)}, nil
}

// Remove is refused.
func (f *logFile) Remove(context.Context) error { return syscall.EPERM }

// Move is refused.
func (f *logFile) Move(context.Context, p9srv.Node, string) error { return syscall.EPERM }

// openLog is an opened log.
type openLog struct {
	log   *Log
	want  func(Record) bool
	turn  chan struct{} // held by the one read that may touch what follows
	place uint64
	rest  []byte // of a record that was longer than the read
}

// IsStream is true: each read waits for one event.
func (o *openLog) IsStream() bool { return true }

// ReadAt waits for an event. One that is longer than p goes on in the next
// read.
func (o *openLog) ReadAt(ctx context.Context, p []byte, _ int64) (int, error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if len(o.rest) == 0 {
		r, place, err := o.log.Next(ctx, o.place, o.want)
		o.place = place
		if err != nil {
			return 0, err
		}
		o.rest = lines([]Record{r})
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

func (o *openLog) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EBADF }
func (o *openLog) Sync(context.Context, bool) error                    { return nil }
func (o *openLog) Close() error                                        { return nil }
