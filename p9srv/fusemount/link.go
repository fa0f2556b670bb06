package fusemount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"bazil/p9srv/client"
)

// errAway is what requests get when the server has been away for too long.
const errAway = syscall.EIO

const (
	dialTimeout = 10 * time.Second        // for one attempt: dial, version, attach
	dialFirst   = 20 * time.Millisecond   // pause after the first failed attempt
	dialMost    = 1000 * time.Millisecond // longest pause between attempts
	maxAttempts = 8                       // lost connections that one request survives
	maxRestores = 16                      // open files that are opened again at once
)

// session is one connection and the roots attached over it. Fids belong to a
// session and end with it.
type session struct {
	conn *client.Conn
	root *client.Fid // of the user who mounted

	mu      sync.Mutex             // guards what follows
	roots   map[uint32]*client.Fid // of other users, by number
	atWork  int                    // requests that may change something
	leaving chan struct{}          // not nil: none begins any more; closed when none is at work
}

// lost says that err came from the end of the connection. What the server
// says is a syscall.Errno and nothing around it; the error of a connection
// may wrap one.
func (s *session) lost(err error) bool {
	if _, said := err.(syscall.Errno); err == nil || said || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return s.ended()
}

func (s *session) ended() bool {
	select {
	case <-s.conn.Done():
		return true
	default:
		return false
	}
}

// link keeps one session with the server. run owns the reconnecting.
type link struct {
	dial     func(ctx context.Context) (net.Conn, error)
	aname    string
	uname    string
	uid      uint32
	msize    uint32
	patience time.Duration
	log      *slog.Logger

	mu      sync.Mutex    // guards the rest
	cur     *session      // nil while there is none
	lostAt  time.Time     // since when there is none
	changed chan struct{} // closed and made anew when cur is set
}

// connect makes a session; it is not the current one yet.
func (l *link) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := l.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("dialling the server: %w", err)
	}
	conn, err := client.New(ctx, nc, client.Options{Msize: l.msize})
	if err != nil {
		return nil, fmt.Errorf("greeting the server: %w", err)
	}
	root, err := conn.Attach(ctx, l.uname, l.aname, l.uid)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("attaching %q as %s: %w", l.aname, l.uname, err)
	}
	return &session{conn: conn, root: root, roots: make(map[uint32]*client.Fid)}, nil
}

// reconnect tries until there is a session or ctx ends.
func (l *link) reconnect(ctx context.Context) (*session, error) {
	pause := dialFirst
	for said := false; ; pause = min(2*pause, dialMost) {
		s, err := l.connect(ctx)
		if err == nil {
			return s, nil
		}
		if !said {
			l.log.Warn("fusemount: the server is away", "err", err)
			said = true
		}
		if !sleep(ctx, pause) {
			return nil, ctx.Err()
		}
	}
}

// sleep waits for d; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// run replaces sessions that end, until ctx ends. restore is called with each
// new session before requests get it.
func (l *link) run(ctx context.Context, restore func(ctx context.Context, s *session)) {
	for s := l.session(); ; {
		select {
		case <-s.conn.Done():
		case <-ctx.Done():
			l.drop(s) // it may have been left
			return
		}
		l.log.Info("fusemount: lost the server", "err", s.conn.Err())
		l.drop(s)
		next, err := l.reconnect(ctx)
		if err != nil {
			return
		}
		restore(ctx, next)
		l.set(next)
		l.log.Info("fusemount: connected again")
		s = next
	}
}

// session is the current one; nil while there is none.
func (l *link) session() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cur
}

func (l *link) set(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur = s
	if l.changed != nil {
		close(l.changed)
	}
	l.changed = make(chan struct{})
}

func (l *link) drop(s *session) {
	s.conn.Close()
	l.lost(s)
}

// lost notes that s is of no use any more.
func (l *link) lost(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur == s {
		l.cur, l.lostAt = nil, time.Now()
	}
}

// close ends the current session for good.
func (l *link) close() {
	if s := l.session(); s != nil {
		l.drop(s)
	}
}

// get returns a session that has not ended as far as we know. It waits for
// one until ctx ends (its error) or the server was away for the whole of the
// patience (errAway).
func (l *link) get(ctx context.Context) (*session, error) {
	for {
		s, changed, left := l.state()
		if s != nil {
			return s, nil
		}
		if left <= 0 {
			return nil, errAway
		}
		if err := await(ctx, changed, left); err != nil {
			return nil, err
		}
	}
}

// state is the session, or what to wait for and how long.
func (l *link) state() (*session, <-chan struct{}, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur != nil && l.cur.ended() {
		l.cur, l.lostAt = nil, time.Now()
	}
	if l.cur != nil {
		return l.cur, nil, 0
	}
	return nil, l.changed, l.patience - time.Since(l.lostAt)
}

// await returns nil when changed is closed or d is over.
func await(ctx context.Context, changed <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// call runs fn with the session, and again with the next one when the
// connection was lost under it.
func (l *link) call(ctx context.Context, fn func(s *session) error) error {
	for range maxAttempts {
		s, err := l.get(ctx)
		if err != nil {
			return err
		}
		counts := !waits(ctx)
		if counts && !s.begin() {
			continue
		}
		err = fn(s)
		if counts {
			s.finish()
		}
		if !s.lost(err) {
			return err
		}
		l.log.Debug("fusemount: a request lost its connection", "err", err)
	}
	return errAway
}

// rootOf is the root as the user with that number sees it.
func (l *link) rootOf(ctx context.Context, s *session, uid uint32) (*client.Fid, error) {
	if uid == l.uid {
		return s.root, nil
	}
	s.mu.Lock()
	root := s.roots[uid]
	s.mu.Unlock()
	if root != nil {
		return root, nil
	}
	root, err := s.conn.Attach(ctx, "", l.aname, uid)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	first := s.roots[uid]
	if first == nil {
		s.roots[uid] = root
	}
	s.mu.Unlock()
	if first != nil {
		return first, root.Clunk(ctx)
	}
	return root, nil
}
