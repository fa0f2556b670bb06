package p9srv

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Server serves a Tree over 9P connections. Its fields are set before the
// first use and not changed afterwards; zero values work, but for Tree. It
// must not be copied after the first use.
type Server struct {
	Tree         Tree
	MaxMsize     uint32        // largest message agreed to, in bytes; 0: 1 MiB; at most 16 MiB
	MaxRequests  int           // requests of one connection at work at once; 0: 256
	MaxMemory    int64         // bytes that all connections hold together, see Account; 0: DefaultMemory
	MaxFids      int           // fids of one connection; 0: 65536
	WriteTimeout time.Duration // how long a client may leave replies unread before its connection is ended; 0: for ever
	Users        UserNames     // names in 9P2000; nil: the system's
	Locks        *LockTable    // shared with other servers of the same tree; nil: its own
	Log          *slog.Logger  // nil: silent

	lastConn atomic.Uint64
	used     atomic.Int64 // bytes of memory that connections hold
	agreed   atomic.Int64 // of these, bytes for messages
	watch    watchdog
	ownLocks LockTable
	names    systemNames
}

// Bounds of the message size.
const (
	DefaultMsize  = 1 << 20
	LargestMsize  = 16 << 20
	SmallestMsize = 4 << 10
	firstMsize    = 8 << 10 // before Tversion
)

func (s *Server) maxMsize() uint32 {
	if s.MaxMsize == 0 {
		return DefaultMsize
	}
	return min(max(s.MaxMsize, SmallestMsize), LargestMsize)
}

func (s *Server) maxRequests() int {
	if s.MaxRequests <= 0 {
		return 256
	}
	return s.MaxRequests
}

func (s *Server) maxFids() int {
	if s.MaxFids <= 0 {
		return 1 << 16
	}
	return s.MaxFids
}

func (s *Server) maxMemory() int64 {
	if s.MaxMemory <= 0 {
		return DefaultMemory
	}
	return s.MaxMemory
}

func (s *Server) locks() *LockTable {
	if s.Locks == nil {
		return &s.ownLocks
	}
	return s.Locks
}

func (s *Server) users() UserNames {
	if s.Users == nil {
		return &s.names
	}
	return s.Users
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// ServeConn serves c until the connection ends or ctx does, and closes it.
// When it returns, every fid is clunked, every lock released and every
// goroutine of the connection over. The error is nil when the client closed
// the connection between two messages, or ctx ended.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn := newConn(ctx, s, c)
	s.watch.add(conn)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	conn.wg.Add(1)
	conn.hold()
	conn.wg.Wait()
	conn.memory.close()
	stop()
	s.watch.remove(conn)
	return conn.result()
}

// Serve accepts connections until ctx ends or l is closed and waits for them.
// It closes l. The error is nil unless accepting failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := accept(ctx, l)
		if err != nil {
			cancel()
			return err
		}
		if c == nil {
			return nil
		}
		conns.Go(func() {
			if err := s.ServeConn(ctx, c); err != nil {
				s.log().Info("9p connection ended", "remote", c.RemoteAddr().String(), "err", err)
			}
		})
	}
}

// accept takes the next connection; nil: there will be none. It waits while
// the process or the system is out of descriptors.
func accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		c, err := l.Accept()
		switch {
		case err == nil:
			return c, nil
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil, nil
		case !passes(err):
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// passes is true for the errors of accept(2) that do not last.
func passes(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
