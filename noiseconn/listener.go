package noiseconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Listener is a net.Listener whose connections are *Conn with a finished
// handshake. It works from its first Accept on until it is closed.
type Listener struct {
	inner net.Listener
	cfg   Config
	half  halfOpen
	ready chan *Conn // finished handshakes

	start  sync.Once
	wg     sync.WaitGroup // the accepting goroutine and the handshakes
	ctx    context.Context
	cancel context.CancelCauseFunc // its cause is what Accept returns
}

// Listen listens on the TCP address addr (host:port, as net.Listen takes it).
func Listen(cfg Config, addr string) (*Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive()}
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("noise: %w", err)
	}
	return NewListener(cfg, l), nil
}

// NewListener shakes hands on the connections of l, which it owns.
func NewListener(cfg Config, l net.Listener) *Listener {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Listener{
		inner:  l,
		cfg:    cfg,
		half:   halfOpen{max: cfg.handshakes()},
		ready:  make(chan *Conn, cfg.handshakes()),
		ctx:    ctx,
		cancel: cancel,
	}
}

// Addr returns the address l listens on.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept returns the next connection of a peer, a *Conn. After Close its error
// is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptPeer()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptPeer is Accept with the connection's own type.
func (l *Listener) AcceptPeer() (*Conn, error) {
	l.start.Do(l.run)
	select {
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	case c := <-l.ready:
		return c, nil
	}
}

// Close ends listening, all unfinished handshakes, and the connections that
// nobody accepted. It returns when they have ended.
func (l *Listener) Close() error {
	l.start.Do(func() {}) // an Accept from now on starts nothing
	l.cancel(net.ErrClosed)
	err := l.inner.Close()
	l.half.closeAll()
	l.wg.Wait()
	for {
		select {
		case c := <-l.ready:
			c.Close()
		default:
			return err
		}
	}
}

func (l *Listener) run() {
	l.wg.Go(l.acceptAll)
}

func (l *Listener) acceptAll() {
	var wait time.Duration
	for {
		raw, err := l.inner.Accept()
		if err == nil {
			wait = 0
			l.begin(raw)
			continue
		}
		if l.ctx.Err() != nil || !isTransient(err) {
			l.cancel(fmt.Errorf("noise: %w", err))
			return
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		l.cfg.log().Warn("accepting a connection", "err", err, "retry", wait)
		select {
		case <-l.ctx.Done():
		case <-time.After(wait):
		}
	}
}

// isTransient is true for errors that closing other connections ends, such as
// too many open files.
func isTransient(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// begin starts the handshake on raw.
func (l *Listener) begin(raw net.Conn) {
	bound(raw)
	raw.SetDeadline(time.Now().Add(l.cfg.timeout()))
	if !l.half.add(raw) {
		raw.Close()
		return
	}
	l.wg.Go(func() { l.handshake(raw) })
}

func (l *Listener) handshake(raw net.Conn) {
	c, err := respond(raw, l.cfg, fastSuites())
	if !l.half.remove(raw) && err == nil {
		err = net.ErrClosed
	}
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err == nil {
		err = l.deliver(c)
	}
	if err != nil {
		raw.Close()
		l.report(raw, err)
	}
}

var errBusy = errors.New("too many connections wait to be accepted")

func (l *Listener) deliver(c *Conn) error {
	select {
	case l.ready <- c:
		return nil
	default:
		return errBusy
	}
}

func (l *Listener) report(raw net.Conn, err error) {
	log := l.cfg.log().With("addr", raw.RemoteAddr())
	var s *strangerError
	switch {
	case l.ctx.Err() != nil:
	case errors.As(err, &s):
		log.Warn("refused a key that is no peer's", "key", s.key.String())
	default:
		log.Log(l.ctx, slog.LevelInfo, "handshake failed", "err", err)
	}
}
