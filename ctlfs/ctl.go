package ctlfs

import (
	"context"
	"strings"
	"sync"
	"syscall"

	"bazil/p9srv"
)

// ctl is a file that takes commands.
type ctl struct {
	base
	scope  scope
	config func(ctx context.Context) ([][]string, error)
}

func (b *base) ctl(s scope, config func(ctx context.Context) ([][]string, error)) p9srv.Node {
	return &ctl{base: b.under("ctl"), scope: s, config: config}
}

// QID says that it is a file.
func (c *ctl) QID() p9srv.QID { return c.qid(p9srv.QTFile) }

// Attr gives its mode and owner.
func (c *ctl) Attr(context.Context) (p9srv.Attr, error) { return c.attr(syscall.S_IFREG | 0o600), nil }

// SetAttr lets be what a shell's > and >> do on their way.
func (c *ctl) SetAttr(_ context.Context, a p9srv.SetAttr) error { return harmless(a) }

// harmless accepts truncation and times, which mean nothing here.
func harmless(a p9srv.SetAttr) error {
	if a.Valid&(p9srv.SetMode|p9srv.SetUID|p9srv.SetGID) != 0 {
		return syscall.EPERM
	}
	return nil
}

// Walk finds nothing in a file.
func (c *ctl) Walk(context.Context, string) (p9srv.Node, error) { return nil, syscall.ENOTDIR }

// Open opens it.
func (c *ctl) Open(context.Context, uint32) (p9srv.File, error) {
	return &openCtl{ctl: c, config: openText{render: c.render}}, nil
}

// Remove is refused.
func (c *ctl) Remove(context.Context) error { return syscall.EPERM }

// Move is refused.
func (c *ctl) Move(context.Context, p9srv.Node, string) error { return syscall.EPERM }

// render makes the configuration as lines.
func (c *ctl) render(ctx context.Context) ([]byte, error) {
	commands, err := c.config(ctx)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, tokens := range commands {
		if len(tokens) == 1 && strings.HasPrefix(tokens[0], "#") {
			b.WriteString(tokens[0])
		} else {
			b.WriteString(Join(tokens))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String()), nil
}

// openCtl is an opened ctl file. Before the first command it reads as the
// configuration, then as the last command's answer.
type openCtl struct {
	ctl    *ctl
	config openText
	answer answer
}

// WriteAt runs one command and returns when it is done.
func (o *openCtl) WriteAt(ctx context.Context, p []byte, _ int64) (int, error) {
	out, err := o.ctl.fs.run(ctx, o.ctl.who, o.ctl.scope, string(p))
	if err != nil {
		o.answer.set(pagesOf(err.Error() + "\n"))
		return 0, err
	}
	o.answer.set(append(pages{}, out...))
	return len(p), nil
}

// ReadAt reads the answer of the last command, or the configuration.
func (o *openCtl) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if n, ok := o.answer.readAt(p, off); ok {
		return n, nil
	}
	return o.config.ReadAt(ctx, p, off)
}

func (o *openCtl) Sync(context.Context, bool) error { return nil }
func (o *openCtl) Close() error                     { return nil }

// answer is what an open file reads as behind a write. A client may go on
// reading at the offset where its write ended, or seek first: the answer
// begins wherever the first read behind the write is.
type answer struct {
	mu      sync.Mutex // guards what follows
	text    pages      // nil: there is none
	origin  int64      // the offset of the first byte
	settled bool       // origin is known
}

func (a *answer) set(text pages) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text, a.settled = text, false
}

// readAt is false if there is no answer.
func (a *answer) readAt(p []byte, off int64) (int, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.text == nil {
		return 0, false
	}
	if !a.settled || off < a.origin {
		a.origin, a.settled = off, true
	}
	return a.text.readAt(p, off-a.origin), true
}
