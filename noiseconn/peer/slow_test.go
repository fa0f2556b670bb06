package peer

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"bazil/noiseconn"
	"bazil/p9srv"
)

// slowTree takes its time to walk and to open.
type slowTree struct {
	p9srv.Tree
	walk, open time.Duration
}

func (t *slowTree) Attach(ctx context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	n, err := t.Tree.Attach(ctx, who, aname)
	return &slowNode{n, t}, err
}

type slowNode struct {
	p9srv.Node
	tree *slowTree
}

func (n *slowNode) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	time.Sleep(n.tree.walk)
	to, err := n.Node.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	return &slowNode{to, n.tree}, nil
}

func (n *slowNode) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	time.Sleep(n.tree.open)
	return n.Node.Open(ctx, flags)
}

// What was sent ahead reaches a slow device before that which it depends on, and
// is answered with EBADF: nobody who asks sees anything of it.
func TestSlowDevice(t *testing.T) {
	for _, c := range []struct {
		name       string
		walk, open time.Duration
	}{
		{"walks", 15 * time.Millisecond, 0},
		{"opens", 0, 15 * time.Millisecond},
		{"both", 10 * time.Millisecond, 15 * time.Millisecond},
		{"hardly", 0, time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t)
			ids := s.put(t, 30, 100<<10)
			d := newDevice(t, s.secret, "", func(key noiseconn.PublicKey) p9srv.Tree {
				return &slowTree{NewTree(s.grants, key, nil), c.walk, c.open}
			})
			for range 4 {
				client := New(func(ctx context.Context) (net.Conn, error) { return d.dialer(s.asker)(ctx) }, Options{})
				var asking sync.WaitGroup
				for range 6 {
					asking.Go(func() {
						var mu sync.Mutex
						seen := map[int]bool{}
						err := client.Volume("v").Chunks(soon(t), ids, func(i int, sealed []byte) error {
							want, err := s.store.Chunks().Get(t.Context(), ids[i], nil)
							if err == nil && !bytes.Equal(sealed, want) {
								t.Errorf("chunk %d is another", i)
							}
							mu.Lock()
							defer mu.Unlock()
							seen[i] = true
							return err
						})
						if err != nil || len(seen) != len(ids) {
							t.Errorf("%d chunks of %d, %v", len(seen), len(ids), err)
						}
						if _, err := client.VolumeInfo(soon(t), "v"); err != nil {
							t.Error(err)
						}
					})
				}
				asking.Wait()
				client.Close()
			}
		})
	}
}
