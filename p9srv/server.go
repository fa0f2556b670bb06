package p9srv

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// Server serves a Tree over 9P connections. Its fields are set before the
// first use and not changed afterwards; zero values work, but for Tree.
type Server struct {
	Tree        Tree
	MaxMsize    uint32       // largest message agreed to, in bytes; 0: 1 MiB
	MaxRequests int          // requests of one connection at work at once; 0: 256
	MaxFids     int          // fids of one connection; 0: 65536
	Locks       *LockTable   // shared with other servers of the same tree; nil: its own
	Log         *slog.Logger // nil: silent
}

// ServeConn serves c until the connection ends or ctx does, and closes it.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) error {
	return errors.ErrUnsupported
}

// Serve accepts connections until ctx ends or l is closed and waits for them.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return errors.ErrUnsupported
}
