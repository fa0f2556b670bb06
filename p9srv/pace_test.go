package p9srv_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// paceTree is a memTree whose methods take from nothing to some milliseconds,
// so that requests change all the time between running as the holder of the
// baton and beside it.
type paceTree struct{ *memTree }

func (t paceTree) Attach(ctx context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	n, err := t.memTree.Attach(ctx, who, aname)
	if err != nil {
		return nil, err
	}
	return paceNode{n.(*memNode)}, nil
}

type paceNode struct{ *memNode }

func pace(ctx context.Context) error {
	if rand.Intn(3) == 0 {
		return nil
	}
	t := time.NewTimer(time.Duration(rand.Intn(4000)) * time.Microsecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n paceNode) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	if err := pace(ctx); err != nil {
		return nil, err
	}
	k, err := n.memNode.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	return paceNode{k.(*memNode)}, nil
}

func (n paceNode) Attr(ctx context.Context) (p9srv.Attr, error) {
	if err := pace(ctx); err != nil {
		return p9srv.Attr{}, err
	}
	return n.memNode.Attr(ctx)
}

// TestAllPaces has many goroutines ask over one connection, some of which
// lose patience.
func TestAllPaces(t *testing.T) {
	tree := paceTree{newMemTree()}
	for i := range 8 {
		tree.root.add(fmt.Sprint("f", i), syscall.S_IFREG|uint32(i))
		tree.nodes.Add(-1)
	}
	c, root := attach(t, listen(t, &p9srv.Server{Tree: tree, MaxRequests: 6}))
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 40 {
				ctx, cancel := t.Context(), func() {}
				if g%4 == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.Intn(6000))*time.Microsecond)
				}
				if err := askMode(ctx, root, (g+i)%8); err != nil && !errors.Is(err, ctx.Err()) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	check(t, c.Close())
	eventually(t, "everything released", func() bool { return tree.nodes.Load() == 0 && tree.files.Load() == 0 })
}

// askMode walks to a file and looks at its mode.
func askMode(ctx context.Context, root *client.Fid, i int) error {
	f, err := root.Walk(ctx, fmt.Sprint("f", i))
	if err != nil {
		return err
	}
	defer f.Clunk(context.Background())
	a, err := f.Attr(ctx)
	if err == nil && a.Mode != syscall.S_IFREG|uint32(i) {
		return fmt.Errorf("mode of file %d is %o", i, a.Mode)
	}
	return err
}
