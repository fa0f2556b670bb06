package p9srv_test

import (
	"context"
	"syscall"
	"testing"

	"bazil/p9srv"

	"9fans.net/go/plan9"
	plan9client "9fans.net/go/plan9/client"
)

// racedTree has a file f whose attributes cannot be set, and where somebody else
// makes another f while that is tried.
type racedTree struct{ *memTree }

func (t racedTree) Attach(context.Context, p9srv.User, string) (p9srv.Node, error) {
	return racedDir{t.root.use()}, nil
}

type racedDir struct{ *memNode }

func (d racedDir) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	n, err := d.memNode.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	return racedFile{n.(*memNode)}, nil
}

type racedFile struct{ *memNode }

func (f racedFile) SetAttr(context.Context, p9srv.SetAttr) error {
	n, err := f.t.root.add("f", syscall.S_IFREG|0o600)
	if err == nil {
		n.Release()
		err = syscall.EFBIG
	}
	return err
}

// TestNameTakenMeanwhile: a new name that is to be taken back, as the rest of a
// Twstat failed, stays where that would replace what another client has made.
func TestNameTakenMeanwhile(t *testing.T) {
	tree := newMemTree()
	n, err := tree.root.add("f", syscall.S_IFREG|0o644)
	check(t, err)
	n.Release()
	c, err := plan9client.NewConn(dial(t, listen(t, &p9srv.Server{Tree: racedTree{tree}})))
	check(t, err)
	defer c.Close()
	fs, err := c.Attach(nil, "me", "")
	check(t, err)
	d := plan9.Dir{}
	d.Null()
	d.Name, d.Mode = "g", 0o600
	if err := fs.Wstat("f", &d); err == nil || err.Error() != "File too large" {
		t.Fatal(err)
	}
	tree.mu.RLock()
	defer tree.mu.RUnlock()
	if f := tree.root.kids["f"]; f == nil || f == n || tree.root.kids["g"] != n {
		t.Errorf("f is %p, g is %p, and what was renamed %p", f, tree.root.kids["g"], n)
	}
}
