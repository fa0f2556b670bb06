package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// Dialer makes a connection to the other device, which must be one that its
// key is known of, such as a *noiseconn.Conn.
type Dialer func(ctx context.Context) (net.Conn, error)

// How many bytes an Rread carries: few where small answers must not wait long
// behind large ones, many where content moves, so that nearly each chunk stands
// whole in one: messages of 1 MiB are what a device grants.
const (
	readSize = 128 << 10
	bulkRead = 1<<20 - messageRoom
)

// messageRoom is for what a message has beside the data.
const messageRoom = 64

// maxInFlight is how many bytes of one answer are asked for ahead.
const maxInFlight = 2 << 20

// farInFlight is maxInFlight where a round trip takes farTrip or more, with
// which all of that is asked for at once: a read that turns out to have nothing
// left to read costs less than the wait for an answer that shows that there is
// more.
const (
	farInFlight = 4 << 20
	farTrip     = 5 * time.Millisecond
)

// link is a connection to the other device that is there or can be made.
type link struct {
	dial     Dialer
	readSize int

	turn chan struct{} // holds one token: the right to dial

	ctx context.Context // until it is closed
	end context.CancelFunc

	mu      sync.Mutex // guards current, and against its being replaced after end
	current *session   // the last one made
}

func newLink(d Dialer, readSize int) *link {
	l := &link{dial: d, readSize: readSize, turn: make(chan struct{}, 1)}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.turn <- struct{}{}
	return l
}

// session returns the session that works, or a new one, unless ctx ends or the
// link is closed meanwhile.
func (l *link) session(ctx context.Context) (s *session, fresh bool, err error) {
	if s, err := l.working(); s != nil || err != nil {
		return s, false, err
	}
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-l.ctx.Done():
		return nil, false, errClosed
	}
	if s, err := l.working(); s != nil || err != nil {
		return s, false, err
	}
	making, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	s, err = newSession(making, l.dial, l.readSize)
	switch {
	case err == nil:
		return s, true, l.install(s)
	case l.ctx.Err() != nil:
		return nil, false, errClosed
	}
	return nil, false, err
}

// working returns the session, nil if there is none that works.
func (l *link) working() (*session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, errClosed
	}
	if l.current == nil || l.current.ended() {
		return nil, nil
	}
	return l.current, nil
}

// install makes s the session, in the place of one that has ended.
func (l *link) install(s *session) error {
	l.mu.Lock()
	old, closed := l.current, l.ctx.Err() != nil
	l.current = s
	l.mu.Unlock()
	if old != nil {
		old.close()
	}
	if closed {
		s.close()
		return errClosed
	}
	return nil
}

// close ends the session for ever.
func (l *link) close() {
	l.mu.Lock()
	s := l.current
	l.end()
	l.mu.Unlock()
	if s != nil {
		s.close()
	}
}

var errClosed = errors.New("the connection to the peer was closed here")

// session is one 9P connection, and its files that are open and idle.
type session struct {
	conn *client.Conn
	root *client.Fid
	trip time.Duration // a round trip took
	read int           // bytes in a read
	bufs *sync.Pool    // of *[]byte, as large

	mu   sync.Mutex         // guards all below, and wg.Go against close
	idle map[string][]*file // by name
	over bool
	wg   sync.WaitGroup // of what is done behind
}

// behind does what a question leaves to be done, while its caller goes on.
func (s *session) behind(fn func()) {
	s.mu.Lock()
	over := s.over
	if !over {
		s.wg.Go(fn)
	}
	s.mu.Unlock()
	if over {
		fn()
	}
}

// await runs fn behind and returns its error, or that of ctx as soon as this
// ends: a device that is silent does not answer a Tflush either.
func (s *session) await(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	s.behind(func() { done <- fn() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the connection, and waits for what is done behind.
func (s *session) close() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.conn.Close()
	s.wg.Wait()
}

// dialError is what a Dialer returned: no answer of the other device.
type dialError struct{ error }

// Unwrap is the Dialer's error.
func (e *dialError) Unwrap() error { return e.error }

func newSession(ctx context.Context, dial Dialer, readSize int) (*session, error) {
	msize := uint32(readSize + messageRoom)
	nc, err := dial(ctx)
	if err != nil {
		return nil, &dialError{err}
	}
	c, err := client.New(ctx, nc, client.Options{Msize: msize})
	if err != nil {
		return nil, err
	}
	if c.Msize() < msize {
		c.Close()
		return nil, fmt.Errorf("%w: it grants messages of %d bytes only", ErrLied, c.Msize())
	}
	began := time.Now()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	root, err := c.Attach(ctx, "", "", p9srv.NoUID)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("attaching to the peer: %w", err)
	}
	return &session{conn: c, root: root, trip: time.Since(began), read: readSize, bufs: newBufs(readSize), idle: map[string][]*file{}}, nil
}

func (s *session) ended() bool {
	select {
	case <-s.conn.Done():
		return true
	default:
		return false
	}
}

// file is an open file of the other device's tree, for one question at a time.
type file struct {
	fid     *client.Fid
	opening *client.Opening // nil: it is open
	number  int64           // of the next question
}

// maxIdle is how many idle files of one name are kept open.
const maxIdle = 8

// lastNumber is the last question put to a file before it is opened anew.
const lastNumber = 1 << 22

// open returns an idle file of that name, or one that is being opened.
func (s *session) open(ctx context.Context, path []string) (*file, error) {
	if f := s.take(path); f != nil {
		return f, nil
	}
	o, err := s.root.WalkOpen(ctx, syscall.O_RDWR, path...)
	if err != nil {
		return nil, err
	}
	return &file{fid: o.Fid, opening: o}, nil
}

// openFirst opens a file before anything is sent to it.
func (s *session) openFirst(ctx context.Context, path []string) (*file, error) {
	for {
		if f := s.take(path); f != nil {
			return f, nil
		}
		if err := s.await(ctx, func() error { return s.openIdle(ctx, path) }); err != nil {
			return nil, err
		}
	}
}

// openIdle opens a file and puts it with those that are idle.
func (s *session) openIdle(ctx context.Context, path []string) error {
	fid, err := s.root.Walk(ctx, path...)
	if err != nil {
		return err
	}
	if err := fid.Open(ctx, syscall.O_RDWR); err != nil {
		fid.Clunk(context.WithoutCancel(ctx))
		return err
	}
	s.put(path, &file{fid: fid})
	return nil
}

func (s *session) take(path []string) *file {
	key := strings.Join(path, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.idle[key]
	if len(list) == 0 {
		return nil
	}
	f := list[len(list)-1]
	s.idle[key] = list[:len(list)-1]
	return f
}

// put keeps a file that nothing is in flight for.
func (s *session) put(path []string, f *file) {
	key := strings.Join(path, "/")
	s.mu.Lock()
	keep := len(s.idle[key]) < maxIdle && f.number <= lastNumber
	if keep {
		s.idle[key] = append(s.idle[key], f)
	}
	s.mu.Unlock()
	if !keep {
		s.behind(func() { f.fid.Clunk(context.Background()) })
	}
}
