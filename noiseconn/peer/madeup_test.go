package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"bazil/merge"
	"bazil/merge/replica"
	"bazil/noiseconn"
	"bazil/p9srv"
	"bazil/store/vol"
)

// madeUp is a device's tree in which each directory of a volume has many others.
type madeUp struct {
	p9srv.Tree
	told atomic.Uint64 // directories
	next atomic.Uint64 // number of the last one that was made up
}

func (t *madeUp) Attach(ctx context.Context, who p9srv.User, aname string) (p9srv.Node, error) {
	n, err := t.Tree.Attach(ctx, who, aname)
	return &madeUpNode{n, t}, err
}

type madeUpNode struct {
	p9srv.Node
	tree *madeUp
}

func (n *madeUpNode) Walk(ctx context.Context, name string) (p9srv.Node, error) {
	to, err := n.Node.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	return &madeUpNode{to, n.tree}, nil
}

func (n *madeUpNode) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	if of, ok := n.Node.(*node); ok && of.place == pull {
		return newAsked(n.tree.pull, of.tree.log, func() {}), nil
	}
	return n.Node.Open(ctx, flags)
}

// pull answers for each directory that it has 8 with news in them.
func (t *madeUp) pull(_ context.Context, question []byte) (producer, error) {
	reqs, err := parseDirs(question)
	return func(_ context.Context, dst []byte) ([]byte, error) {
		if len(reqs) == 0 {
			return dst, io.EOF
		}
		dot := merge.Dot{Replica: 98, N: t.told.Add(1)}
		d := vol.DirState{Dir: max(reqs[0].Dir, 1), View: merge.View{Max: merge.Context{dot}}}
		for i := range 8 {
			d.Entries = append(d.Entries, vol.NamedEntry{
				Name: fmt.Sprintf("made up %d", i), Sub: t.next.Add(1) + 1, SubView: merge.View{Max: merge.Context{dot}},
			})
		}
		reqs = reqs[1:]
		dst, err := appendHead(dst, &d)
		if err == nil {
			dst, _, err = appendNames(dst, d.Entries)
		}
		return dst, err
	}, err
}

// TestDirectoriesWithoutEnd: a device makes up directories for as long as it is
// asked. The pull ends by its bounds, says what it was, and shows nothing of it;
// what an honest device has comes in as before.
func TestDirectoriesWithoutEnd(t *testing.T) {
	s := serve(t)
	write(t, s.volume, s.volume.Root(), "honest", []byte("news"))
	liar := &madeUp{Tree: NewTree(s.grants, noiseconn.PublicKey{}, nil)}
	d := newDevice(t, s.secret, "", func(noiseconn.PublicKey) p9srv.Tree { return liar })
	client := New(func(ctx context.Context) (net.Conn, error) { return d.dialer(s.asker)(ctx) }, Options{})
	t.Cleanup(func() { client.Close() })

	here := newHome(t, s.volume.ID(), nil)
	write(t, here.volume, here.volume.Root(), "mine", []byte("kept"))
	r := replica.Replica{Volume: here.volume, Chunks: here.store.Chunks()}
	const most = 1000
	for range 2 {
		liar.told.Store(0)
		got, err := r.Pull(soon(t), client.Volume("v"), replica.Options{MaxWaiting: 300, MaxDirs: most})
		if !errors.Is(err, replica.ErrWide) || got.Complete {
			t.Fatalf("%+v, %v", got, err)
		}
		if n := liar.told.Load(); n < 300 || n > most+1 {
			t.Errorf("%d directories were asked for, with %d at most", n, most)
		}
		wantNames(t, here.volume, "mine")
	}
	if _, err := r.Pull(soon(t), s.client.Volume("v"), replica.Options{}); err != nil {
		t.Fatal(err)
	}
	wantNames(t, here.volume, "honest", "mine")
}

// wantNames checks what a volume's root shows.
func wantNames(t *testing.T, v *vol.Volume, want ...string) {
	t.Helper()
	list, err := v.Root().List(t.Context())
	if err != nil || len(list) != len(want) {
		t.Fatalf("%d names, %v", len(list), err)
	}
	for i, e := range list {
		if e.Name != want[i] {
			t.Errorf("%q in place of %q", e.Name, want[i])
		}
	}
}
