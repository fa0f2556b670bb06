package ctlfs

import (
	"context"
	"syscall"

	"bazil/p9srv"
)

// nexter gives the records of an open stream, one at a time.
type nexter interface {
	// next waits for a record.
	next(ctx context.Context) ([]byte, error)
	// close comes when the file is closed.
	close() error
}

// stream is a file of which each read waits for a record.
type stream struct {
	base
	start func(ctx context.Context) (nexter, error) // for each open file
}

func (b *base) stream(name string, start func(ctx context.Context) (nexter, error)) p9srv.Node {
	return &stream{base: b.under(name), start: start}
}

// QID says that it is a file.
func (s *stream) QID() p9srv.QID { return s.qid(p9srv.QTFile) }

// Attr gives its mode and owner.
func (s *stream) Attr(context.Context) (p9srv.Attr, error) {
	return s.attr(syscall.S_IFREG | 0o400), nil
}

// Walk finds nothing in a file.
func (s *stream) Walk(context.Context, string) (p9srv.Node, error) { return nil, syscall.ENOTDIR }

// Open opens it for reading.
func (s *stream) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0 {
		return nil, syscall.EACCES
	}
	n, err := s.start(ctx)
	if err != nil {
		return nil, asError(err)
	}
	return &openStream{from: n, turn: make(chan struct{}, 1)}, nil
}

// Remove is refused.
func (s *stream) Remove(context.Context) error { return syscall.EPERM }

// Move is refused.
func (s *stream) Move(context.Context, p9srv.Node, string) error { return syscall.EPERM }

// openStream is an opened stream.
type openStream struct {
	turn chan struct{} // held by the one read that may touch what follows
	from nexter
	rest []byte // of a record that was longer than the read
}

// IsStream is true: each read waits for one record.
func (o *openStream) IsStream() bool { return true }

// ReadAt waits for a record. One that is longer than p goes on in the next
// read.
func (o *openStream) ReadAt(ctx context.Context, p []byte, _ int64) (int, error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if len(o.rest) == 0 {
		rest, err := o.from.next(ctx)
		if err != nil {
			return 0, asError(err)
		}
		o.rest = rest
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

func (o *openStream) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EBADF }
func (o *openStream) Sync(context.Context, bool) error                    { return nil }
func (o *openStream) Close() error                                        { return o.from.close() }
