package replica

import (
	"fmt"
	"testing"

	"bazil/store/vol"
)

// TestChangeBetweenPieces: while a large directory is told in pieces, something
// changes in a piece that has gone out, and in one that has not. The next pull
// brings what this one could not.
func TestChangeBetweenPieces(t *testing.T) {
	const n = 1300
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.mkdir("d")
	for i := range n {
		a.write(fmt.Sprintf("d/%06d", i), noise(uint64(i), 3500))
	}
	src := a.source()
	pieces := 0
	src.lie = func(d *vol.DirState) {
		if d.After != "" || d.To != "" {
			pieces++
		}
		if pieces == 1 {
			a.write("d/000000", "changed behind")
			a.write(fmt.Sprintf("d/%06d", n-1), "changed before")
			a.remove("d/000001")
			check(t, a.v.Sync(ctx))
		}
	}
	r, err := b.Pull(ctx, src, Options{})
	check(t, err)
	if pieces < 3 || !r.Complete || r.Dirs != 2 {
		t.Errorf("%d pieces, %+v", pieces, r)
	}
	if r, err = b.Pull(ctx, a.source(), Options{}); err != nil || r.Dirs != 2 || r.Names > 10 {
		t.Errorf("the next pull: %+v, %v", r, err)
	}
	if a.tree() != b.tree() {
		t.Error("trees differ")
	}
	if r, err = b.Pull(ctx, a.source(), Options{}); err != nil || r.Dirs != 0 {
		t.Errorf("the third pull: %+v, %v", r, err)
	}
}

// TestPiecesOfAnother: a peer whose pieces do not follow each other is refused.
func TestPiecesOfAnother(t *testing.T) {
	piece := func(dir uint64, after, to string) vol.DirState { return vol.DirState{Dir: dir, After: after, To: to} }
	for name, pieces := range map[string][]vol.DirState{
		"from the middle": {piece(1, "a", "")},
		"a gap":           {piece(1, "", "b"), piece(1, "c", "")},
		"back":            {piece(1, "", "b"), piece(1, "b", "a")},
		"the same":        {piece(1, "", "b"), piece(1, "b", "b")},
		"another":         {piece(1, "", "b"), piece(2, "b", "")},
		"partial":         {{Dir: 1, To: "b", Partial: true}},
		"then partial":    {piece(1, "", "b"), {Dir: 1, After: "b", Partial: true}},
		"no name":         {piece(1, "", "a/b")},
		"one too many":    {piece(1, "", ""), piece(1, "", "")},
		"no end":          {piece(1, "", "b")},
	} {
		order := answers{asked: 1}
		var err error
		for i := range pieces {
			if err == nil {
				err = order.take(0, &pieces[i])
			}
		}
		if err == nil {
			err = order.end()
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
