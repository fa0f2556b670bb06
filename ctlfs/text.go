package ctlfs

import (
	"context"
	"sync"
	"syscall"

	"bazil/p9srv"
)

// render makes a file's content.
type render func(ctx context.Context) ([]byte, error)

// text is a file that is made when it is read.
type text struct {
	base
	render render
}

func (b *base) text(name string, r render) p9srv.Node {
	return &text{base: b.under(name), render: r}
}

// QID says that it is a file.
func (t *text) QID() p9srv.QID { return t.qid(p9srv.QTFile) }

// Attr gives its mode and owner.
func (t *text) Attr(context.Context) (p9srv.Attr, error) {
	return t.attr(syscall.S_IFREG | 0o444), nil
}

// Walk finds nothing in a file.
func (t *text) Walk(context.Context, string) (p9srv.Node, error) { return nil, syscall.ENOTDIR }

// Open opens it for reading.
func (t *text) Open(_ context.Context, flags uint32) (p9srv.File, error) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0 {
		return nil, syscall.EACCES
	}
	return &openText{render: t.render}, nil
}

// Remove is refused.
func (t *text) Remove(context.Context) error { return syscall.EPERM }

// Move is refused.
func (t *text) Move(context.Context, p9srv.Node, string) error { return syscall.EPERM }

// openText is an opened text. A read at 0 makes the content anew.
type openText struct {
	render  render
	mu      sync.Mutex // guards content
	content []byte
}

// ReadAt reads the content as it was made last.
func (o *openText) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	content, err := o.at(ctx, off)
	if err != nil {
		return 0, asError(err)
	}
	return readAt(content, p, off), nil
}

func (o *openText) at(ctx context.Context, off int64) ([]byte, error) {
	o.mu.Lock()
	content := o.content
	o.mu.Unlock()
	if off != 0 && content != nil {
		return content, nil
	}
	content, err := o.render(ctx)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.content = content
	o.mu.Unlock()
	return content, nil
}

// readAt copies what content holds at off.
func readAt(content, p []byte, off int64) int {
	if off < 0 || off >= int64(len(content)) {
		return 0
	}
	return copy(p, content[off:])
}

func (o *openText) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EBADF }
func (o *openText) Sync(context.Context, bool) error                    { return nil }
func (o *openText) Close() error                                        { return nil }
