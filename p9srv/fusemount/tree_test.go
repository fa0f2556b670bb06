package fusemount

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"bazil/p9srv"
	"bazil/p9srv/p9test"
)

// diskTree serves a folder of the operating system, and what hooks have beside
// it.
type diskTree struct {
	p9test.OSTree
	lists  bool                   // cookies of the folder "counted" count names
	stream *stream                // the file "stream", whose reads wait; nil: none
	gate   *gate                  // nil: none
	aside  atomic.Pointer[string] // the folder that asideName leads to; nil: none
}

func newDiskTree(dir string) *diskTree {
	t := &diskTree{OSTree: p9test.OSTree{Dir: dir, Owned: true}}
	t.Look, t.Stat = t.look, t.stat
	return t
}

func (t *diskTree) look(uid uint32, name string) (p9srv.Node, error) {
	if name == "stream" && t.stream != nil {
		return t.stream, nil
	}
	if name == countedName && t.lists {
		path := filepath.Join(t.Dir, name)
		n, err := t.At(uid, path)
		return counted{n, path}, err
	}
	if aside := t.aside.Load(); name == asideName && aside != nil {
		return t.At(uid, *aside)
	}
	return nil, nil
}

func (t *diskTree) stat(ctx context.Context, name string) error {
	if name != "slow" || t.gate == nil {
		return nil
	}
	return t.gate.pass(ctx)
}

const asideName = "aside"

const countedName = "counted"

// counted is a folder whose cookies count the names as they were when the
// listing began, in their order, as those of a volume do.
type counted struct {
	p9srv.Node
	path string
}

func (c counted) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	f, err := c.Node.Open(ctx, flags)
	return &countedDir{File: f, path: c.path}, err
}

type countedDir struct {
	p9srv.File
	path string
	list []os.DirEntry
}

func (d *countedDir) ReadDir(_ context.Context, off uint64, yield func(p9srv.Dirent) bool) (err error) {
	if d.list == nil || off == 0 {
		d.list, err = os.ReadDir(d.path)
	}
	for i := int(off); i < len(d.list); i++ {
		if !yield(p9srv.Dirent{QID: p9srv.QID{Path: uint64(i) + 1}, Offset: uint64(i) + 1, Name: d.list[i].Name()}) {
			break
		}
	}
	return err
}

// gate holds up every stat of the file named "slow".
type gate struct {
	waiting chan struct{} // gets a value when a stat begins to wait
	flushed chan struct{} // gets a value when a stat that waits is cancelled
	open    chan struct{} // closed: stats go on
}

func newGate() *gate {
	return &gate{waiting: make(chan struct{}, 16), flushed: make(chan struct{}, 16), open: make(chan struct{})}
}

func (g *gate) pass(ctx context.Context) error {
	select {
	case <-g.open:
		return nil
	default:
	}
	g.waiting <- struct{}{}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		g.flushed <- struct{}{}
		return ctx.Err()
	}
}

// stream is a file like those of ctl: of version 0, and its reads wait.
type stream struct {
	records chan string
	waiting chan struct{} // gets a value when a read begins to wait
	flushed chan struct{} // gets a value when a read that waits is cancelled
}

func newStream() *stream {
	return &stream{records: make(chan string, 16), waiting: make(chan struct{}, 16), flushed: make(chan struct{}, 16)}
}

func (s *stream) QID() p9srv.QID { return p9srv.QID{Path: 1<<63 + 1} }

func (s *stream) Attr(context.Context) (p9srv.Attr, error) {
	return p9srv.Attr{Mode: syscall.S_IFREG | 0o666, NLink: 1}, nil
}

func (s *stream) Walk(context.Context, string) (p9srv.Node, error) { return nil, syscall.ENOTDIR }

func (s *stream) Open(context.Context, uint32) (p9srv.File, error) { return s, nil }

func (s *stream) Release() {}

func (s *stream) IsStream() bool { return true }

func (s *stream) ReadAt(ctx context.Context, p []byte, _ int64) (int, error) {
	s.waiting <- struct{}{}
	select {
	case r := <-s.records:
		return copy(p, r), nil
	case <-ctx.Done():
		s.flushed <- struct{}{}
		return 0, ctx.Err()
	}
}

func (s *stream) WriteAt(_ context.Context, p []byte, _ int64) (int, error) {
	s.records <- string(p)
	return len(p), nil
}

func (s *stream) Sync(context.Context, bool) error { return nil }

func (s *stream) Close() error { return nil }
