package p9srv_test

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"

	"bazil/p9srv"

	"9fans.net/go/plan9"
	plan9client "9fans.net/go/plan9/client"
)

// turningTree has a file f that gets another version as soon as it is opened;
// who has it open goes on with the one before.
type turningTree struct {
	*memNode
	version atomic.Uint32
}

func (t *turningTree) Attach(context.Context, p9srv.User, string) (p9srv.Node, error) { return t, nil }
func (t *turningTree) Release()                                                       {}

func (t *turningTree) Walk(context.Context, string) (p9srv.Node, error) { return turningFile{t}, nil }

func (t *turningTree) Create(context.Context, string, uint32, uint32, uint32) (p9srv.Node, p9srv.File, error) {
	return nil, nil, syscall.EEXIST
}

type turningFile struct{ t *turningTree }

func (n turningFile) QID() p9srv.QID { return p9srv.QID{Version: n.t.version.Load(), Path: 99} }
func (n turningFile) Release()       {}

func (n turningFile) Attr(context.Context) (p9srv.Attr, error) {
	return p9srv.Attr{Mode: 0o100644}, nil
}

func (n turningFile) Walk(context.Context, string) (p9srv.Node, error) { return nil, syscall.ENOTDIR }

func (n turningFile) Open(context.Context, uint32) (p9srv.File, error) {
	return turnedFile{version: n.t.version.Add(1) - 1}, nil
}

type turnedFile struct {
	memFile
	version uint32
}

func (f turnedFile) Version() uint32 { return f.version }
func (f turnedFile) Close() error    { return nil }

// TestOpenTellsWhatWasOpened: the QID of an open has the version that was
// opened, though the file has become another since.
func TestOpenTellsWhatWasOpened(t *testing.T) {
	tree := &turningTree{memNode: newMemTree().root}
	tree.version.Store(7)
	sock := listen(t, &p9srv.Server{Tree: tree})
	ctx := t.Context()
	_, root := attach(t, sock)
	opened, err := root.Walk(ctx, "f")
	check(t, err)
	check(t, opened.Open(ctx, syscall.O_RDONLY))
	created, err := root.Walk(ctx)
	check(t, err)
	check(t, created.Create(ctx, "f", syscall.O_RDONLY, 0o644, 0))
	c, err := plan9client.NewConn(dial(t, sock))
	check(t, err)
	defer c.Close()
	fs, err := c.Attach(nil, "me", "")
	check(t, err)
	plain, err := fs.Open("f", plan9.OREAD)
	check(t, err)
	got := [3]uint32{opened.QID().Version, created.QID().Version, plain.Qid().Vers}
	if got != [3]uint32{7, 8, 9} {
		t.Errorf("told %v, want 7, 8 and 9", got)
	}
}
