package ctlfs

import (
	"context"
	"strconv"
	"sync"
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

// reader is a log's place in an open file.
type reader struct {
	log   *Log
	want  func(Record) bool
	place uint64
}

// next waits for an event and renders it.
func (r *reader) next(ctx context.Context) ([]byte, error) {
	event, place, err := r.log.Next(ctx, r.place, r.want)
	r.place = place
	if err != nil {
		return nil, err
	}
	return lines([]Record{event}), nil
}

func (r *reader) close() error { return nil }

// log is a file of the events for which want is true (nil: all). Each open
// file begins with the oldest that is kept.
func (b *base) log(want func(Record) bool) p9srv.Node {
	return b.stream("log", func(context.Context) (nexter, error) {
		return &reader{log: b.fs.o.Log, want: want}, nil
	})
}
