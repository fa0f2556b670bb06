package vol

import (
	"errors"
	"syscall"
	"testing"

	"bazil/merge"
	"bazil/store"
)

// pull takes to everything that from has, as far as its budget of directories
// goes; -1 is enough for all.
func pull(tb testing.TB, to, from *Volume, budget int) (applied int) {
	tb.Helper()
	return pullCounted(tb, to, from, budget).applied
}

func pullCounted(tb testing.TB, to, from *Volume, budget int) *puller {
	tb.Helper()
	return pullBetween(tb, to, from, budget, nil)
}

func pullBetween(tb testing.TB, to, from *Volume, budget int, between func()) *puller {
	tb.Helper()
	ok(tb, from.Sync(ctx))
	p := &puller{tb: tb, to: to, from: from, budget: budget, between: between}
	p.dir(0, 0, nil)
	ok(tb, to.Sync(ctx))
	return p
}

type puller struct {
	tb       testing.TB
	to, from *Volume
	budget   int
	between  func() // what happens before each directory, or piece, is asked for
	applied  int
	names    int // that the sender listed
	whole    int // full listings
	pieced   int // pieces that were applied
}

func (p *puller) dir(local, remote uint64, lack *DirState) bool {
	p.tb.Helper()
	if p.budget == 0 {
		return false
	}
	p.budget--
	if p.between != nil {
		p.between()
	}
	var s DirState
	if lack != nil {
		s = *lack
	} else {
		view, err := p.to.View(local)
		if errors.Is(err, syscall.ESTALE) {
			return false
		}
		ok(p.tb, err)
		if s, err = p.from.DirState(ctx, DirRequest{Dir: remote, Known: view.Ctx}); errors.Is(err, syscall.ESTALE) {
			return false
		}
		ok(p.tb, err)
	}
	done := true
	if !s.Same {
		p.applied++
		if !s.Partial {
			p.whole++
		}
		done = p.pieces(local, remote, s)
	}
	if done {
		if err := p.to.Finish(ctx, local, s.View); !errors.Is(err, syscall.ESTALE) {
			ok(p.tb, err)
		}
	}
	return done
}

// pieces applies a directory, whose first piece is s, and all below it.
func (p *puller) pieces(local, remote uint64, s DirState) bool {
	for done := true; ; {
		p.names += len(s.Entries)
		p.pieced++
		subs, _, err := p.to.Apply(ctx, local, s)
		if errors.Is(err, syscall.ESTALE) {
			return false
		}
		ok(p.tb, err)
		for _, sub := range subs {
			done = p.dir(sub.Local, sub.Remote, sub.Lack) && done
		}
		if s.To == "" {
			return done
		}
		if p.budget == 0 {
			return false
		}
		p.budget--
		if p.between != nil {
			p.between()
		}
		if s, err = p.from.DirState(ctx, DirRequest{Dir: remote, After: s.To}); errors.Is(err, syscall.ESTALE) {
			return false
		}
		ok(p.tb, err)
	}
}

// replicas are empty volumes of one ID that share their chunks.
func replicas(tb testing.TB, n int) []*Volume {
	tb.Helper()
	chunks, sealer := testStore(tb)
	return replicasOn(tb, chunks, sealer, n)
}

func replicasOn(tb testing.TB, chunks *store.Chunks, sealer *store.Sealer, n int) (vs []*Volume) {
	tb.Helper()
	id := NewID()
	for range n {
		vs = append(vs, newDiskOn(tb, chunks, sealer, id).open())
	}
	return vs
}

func TestPull(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	dir := mkdir(t, a.Root(), "dir")
	writeFile(t, dir, "f", "hello")
	writeFile(t, a.Root(), "top", string(randomBytes(3, 100000)))
	pull(t, b, a, -1)
	if readFile(t, must[*Node](t)(b.Root().Lookup(ctx, "dir")), "f") != "hello" {
		t.Fatal("not here")
	}
	if n := pull(t, b, a, -1); n != 0 {
		t.Fatalf("nothing was changed, yet %d directories were applied", n)
	}
	if n := pull(t, a, b, -1); n != 0 {
		t.Fatalf("b changed nothing, yet %d directories were applied", n)
	}
	bdir := must[*Node](t)(b.Root().Lookup(ctx, "dir"))
	writeFile(t, bdir, "f", "again")
	mkdir(t, bdir, "new")
	ok(t, b.Root().Unlink(ctx, "top"))
	pull(t, a, b, -1)
	if readFile(t, dir, "f") != "again" || names(t, dir) != "f new " || names(t, a.Root()) != "dir " {
		t.Fatal(names(t, dir), names(t, a.Root()))
	}
	ok(t, a.Root().Rename(ctx, "dir", a.Root(), "moved"))
	pull(t, b, a, -1)
	if names(t, b.Root()) != "moved " {
		t.Fatal(names(t, b.Root()))
	}
	moved := must[*Node](t)(b.Root().Lookup(ctx, "moved"))
	if readFile(t, moved, "f") != "again" || names(t, moved) != "f new " {
		t.Fatal(names(t, moved))
	}
}

func TestPullConflict(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	writeFile(t, a.Root(), "f", "base")
	pull(t, b, a, -1)
	writeFile(t, a.Root(), "f", "mine")
	writeFile(t, b.Root(), "f", "theirs")
	pull(t, b, a, -1)
	pull(t, a, b, -1)
	if readFile(t, a.Root(), "f") != "mine" || readFile(t, b.Root(), "f") != "theirs" {
		t.Fatal("what was shown changed")
	}
	cs := must[[]Conflict](t)(a.Conflicts(ctx))
	if len(cs) != 1 || cs[0].Path != "f" || len(cs[0].Siblings) != 2 {
		t.Fatalf("%+v", cs)
	}
	var other merge.Dot
	for _, s := range cs[0].Siblings {
		h := must[*Handle](t)(a.OpenSibling(ctx, "f", s.Dot))
		if got := readHandle(t, h); got != map[bool]string{true: "mine", false: "theirs"}[s.Shown] {
			t.Fatal(got)
		}
		ok(t, h.Close())
		if !s.Shown {
			other = s.Dot
		}
	}
	ok(t, a.Resolve(ctx, "f", cs[0].Dots(), other))
	if readFile(t, a.Root(), "f") != "theirs" || len(must[[]Conflict](t)(a.Conflicts(ctx))) != 0 {
		t.Fatal("not resolved")
	}
	pull(t, b, a, -1)
	if len(must[[]Conflict](t)(b.Conflicts(ctx))) != 0 || readFile(t, b.Root(), "f") != "theirs" {
		t.Fatal("not resolved there")
	}
}
