package p9srv_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/p9srv"
)

// brokenTree panics when it is asked for "broken", and when a file that is so
// called is read or let go.
type brokenTree struct{ *memTree }

func (t brokenTree) Attach(ctx context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	n, err := t.memTree.Attach(ctx, who, aname)
	return brokenNode{n.(*memNode), aname}, err
}

type brokenNode struct {
	*memNode
	name string
}

func (n brokenNode) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	if name == "broken" {
		panic("walked")
	}
	k, err := n.memNode.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	return brokenNode{k.(*memNode), name}, nil
}

func (n brokenNode) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	f, err := n.memNode.Open(ctx, flags)
	return brokenFile{f.(memFile)}, err
}

type brokenFile struct{ memFile }

func (brokenFile) ReadAt(context.Context, []byte, int64) (int, error) { panic("read") }
func (brokenFile) Close() error                                       { panic("closed") }

// TestPanic answers a request that panics with EIO, logs where that was, and
// goes on, on the same connection and on others; also when a connection ends.
func TestPanic(t *testing.T) {
	var log lockedBuffer
	tree := brokenTree{newMemTree()}
	tree.root.add("f", syscall.S_IFREG|0o644)
	tree.root.add("g", syscall.S_IFREG|0o644)
	path := listen(t, &p9srv.Server{Tree: tree, Log: slog.New(slog.NewTextHandler(&log, nil))})
	c, root := attach(t, path)
	_, other := attach(t, path)
	ctx := t.Context()
	_, walked := root.Walk(ctx, "broken")
	f := openFid(t, root, "f")
	_, readErr := f.ReadAt(ctx, make([]byte, 10), 0)
	for what, err := range map[string]error{"walk": walked, "read": readErr, "clunk": f.Clunk(ctx)} {
		if err != syscall.EIO {
			t.Errorf("%s: %v", what, err)
		}
	}
	openFid(t, root, "g") // let go with the connection
	_, err := root.Attr(ctx)
	check(t, err)
	check(t, c.Close())
	eventually(t, "all panics logged", func() bool { return strings.Count(log.String(), "panic_test.go") >= 4 })
	_, err = other.Attr(ctx)
	check(t, err)
	_, third := attach(t, path)
	_, err = third.Attr(ctx)
	check(t, err)
}

// lockedBuffer is a buffer that a log is written to.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
