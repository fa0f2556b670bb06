package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"bazil/merge"
	"bazil/store/vol"
)

// during is a source that lets something happen between two answers.
type during struct {
	*source
	call int64 // before which call of Dirs
	do   func()
}

func (s *during) Dirs(ctx context.Context, reqs []vol.DirRequest, got func(int, vol.DirState) error) error {
	if s.calls.Load()+1 == s.call {
		s.do()
	}
	return s.source.Dirs(ctx, reqs, got)
}

// TestPullInsideAPull: a has deleted what c still has. While b pulls from a
// and has joined the root, it hears of the file from c; it must not believe
// then that a knows nothing against it.
func TestPullInsideAPull(t *testing.T) {
	ds := newDevices(t, 3)
	a, b, c := ds[0], ds[1], ds[2]
	c.write("x", "to be deleted")
	c.mkdir("gone")
	c.write("gone/y", "too")
	a.pull(c)
	a.remove("x")
	a.remove("gone/y")
	a.remove("gone")
	a.mkdir("d")
	a.write("d/f", "stays")
	src := &during{source: a.source(), call: 2, do: func() { b.pull(c) }}
	_, err := b.Pull(ctx, src, Options{})
	check(t, err)
	b.wantTree("d/ d/f")
	gossip(ds)
	for _, d := range ds {
		d.wantTree("d/ d/f")
	}
}

// TestPullsAtOnce: several pulls into each device, both directions at once.
func TestPullsAtOnce(t *testing.T) {
	ds := newDevices(t, 3)
	for i, d := range ds {
		d.mkdir("d")
		for j := range 20 {
			d.mkdir(fmt.Sprint("d/", i, "-", j))
			d.write(fmt.Sprint("d/", i, "-", j, "/f"), "x")
		}
		check(t, d.v.Sync(ctx))
	}
	var wg sync.WaitGroup
	for _, to := range ds {
		for _, from := range ds {
			if to == from {
				continue
			}
			wg.Go(func() {
				if _, err := to.Pull(ctx, &source{d: from}, Options{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	gossip(ds)
	ds[1].wantSame(ds[0])
	ds[2].wantSame(ds[0])
	if n := len(ds[0].conflicts()); n > 0 {
		t.Fatalf("%d conflicts", n)
	}
}

// TestRandomHistories does at random what users do, with pulls that are cut,
// on three devices; then all must agree, and nothing be left to transfer.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := &history{rand: rand.New(rand.NewPCG(seed, 7)), ds: newDevices(t, 3)}
			for range 60 {
				h.step(t)
			}
			h.rest(t)
		})
	}
}

type history struct {
	rand *rand.Rand
	ds   []*device
}

func (h *history) path() string {
	p := string(rune('a' + h.rand.IntN(3)))
	for h.rand.IntN(2) == 0 {
		p += "/" + string(rune('a'+h.rand.IntN(3)))
	}
	return p
}

func (h *history) step(t *testing.T) {
	d, p := h.ds[h.rand.IntN(3)], h.path()
	dir, name := d.split(p)
	if dir == nil || dir.Kind() != merge.KindDir {
		return
	}
	n := d.at(p)
	switch k := h.rand.IntN(10); {
	case k < 3:
		if n == nil || n.Kind() == merge.KindFile {
			d.write(p, fmt.Sprint(h.rand.IntN(3)))
		}
	case k < 5:
		if n == nil {
			d.mkdir(p)
		}
	case k == 5:
		if n != nil && n.Kind() == merge.KindDir {
			dir.Rmdir(ctx, name)
		} else if n != nil {
			d.remove(p)
		}
	case k == 6:
		toDir, toName := d.split(h.path())
		if n != nil && toDir != nil && toDir.Kind() == merge.KindDir {
			dir.Rename(ctx, name, toDir, toName) // may be refused
		}
	case k == 7:
		if cs := d.conflicts(); len(cs) > 0 {
			d.v.Resolve(ctx, cs[0].Path, cs[0].Dots(), cs[0].Siblings[h.rand.IntN(len(cs[0].Siblings))].Dot)
		}
	default:
		h.pull(t, d, h.ds[h.rand.IntN(3)])
	}
}

func (h *history) pull(t *testing.T, to, from *device) {
	if to == from {
		return
	}
	src := from.source()
	src.cutAfter = h.rand.Int64N(2) * h.rand.Int64N(6)
	if _, err := to.Pull(ctx, src, Options{}); err != nil && !errors.Is(err, errCut) {
		t.Fatal(err)
	}
}

func (h *history) rest(t *testing.T) {
	gossip(h.ds)
	for _, d := range h.ds[1:] {
		d.wantSame(h.ds[0])
	}
	for i, d := range h.ds {
		if r := d.pull(h.ds[(i+2)%3]); r.Names != 0 || r.Changed != 0 {
			t.Fatalf("a third ring: %+v", r)
		}
	}
}

// once is a source that lets something happen when it may, before a call.
type once struct {
	*source
	may  func() bool
	do   func()
	done bool
}

func (s *once) Dirs(ctx context.Context, reqs []vol.DirRequest, got func(int, vol.DirState) error) error {
	if !s.done && s.may() {
		s.done = true
		s.do()
	}
	return s.source.Dirs(ctx, reqs, got)
}

// TestPlaceMadeAgain: while b pulls from a, other pulls bring all there is, b's
// user removes a directory, so that its place is forgotten, and a puts a file
// there. The one above is joined anew then, which makes the place anew: no fault
// of the peer's.
func TestPlaceMadeAgain(t *testing.T) {
	ds := newDevices(t, 3)
	a, b, c := ds[0], ds[1], ds[2]
	a.mkdir("d")
	a.write("d/f", "seen and removed")
	deep := "e"
	a.mkdir(deep)
	for range 30 {
		deep += "/e"
		a.mkdir(deep)
	}
	a.write(deep+"/f", "stays")
	c.write("x", "of another")
	src := &once{source: a.source(), may: func() bool { return b.at("d/f") != nil }}
	src.do = func() {
		b.pull(c)
		b.pull(a)
		b.remove("d/f")
		b.remove("d")
		check(t, b.v.Sync(ctx))
		a.write("d/g", "new")
		check(t, a.v.Sync(ctx))
	}
	r, err := b.Pull(ctx, src, Options{})
	check(t, err)
	if !src.done || !r.Complete {
		t.Errorf("removed %v, all came %v", src.done, r.Complete)
	}
	gossip(ds)
	for _, d := range ds {
		if d.at("d/f") != nil || d.read("d/g") != "new" || d.read("x") != "of another" || d.read(deep+"/f") != "stays" {
			t.Fatal(d.tree())
		}
	}
}
