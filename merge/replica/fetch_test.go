package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"bazil/store"
	"bazil/store/vol"
)

// fetchAll fetches what from has of d's content.
func fetchAll(tb testing.TB, d, from *device) Result {
	tb.Helper()
	r, err := d.Fetch(ctx, from.source(), Options{})
	check(tb, err)
	return r
}

// TestFetchBesideMalformed: a file that a peer has made up keeps no other's
// content away, and is told of.
func TestFetchBesideMalformed(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	for i, name := range []string{"before", "bad", "behind"} {
		a.write(name, noise(uint64(i), 1<<20))
	}
	src := a.source()
	src.lie = func(d *vol.DirState) {
		for i := range d.Entries {
			if v := d.Entries[i].Versions; d.Entries[i].Name == "bad" {
				body := []byte(v[0].Content)
				body[len(body)-65] = 5 // its level
				v[0].Content = string(body)
			}
		}
	}
	if _, err := b.Pull(ctx, src, Options{}); err != nil {
		t.Fatal(err)
	}
	r, err := b.Fetch(ctx, a.source(), Options{})
	if !errors.Is(err, vol.ErrBody) || !strings.Contains(err.Error(), `"bad"`) || r.Missing != 1 || r.Files != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if b.read("before") != noise(0, 1<<20) || b.read("behind") != noise(2, 1<<20) {
		t.Error("what is whole differs")
	}
}

func TestFetch(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	sizes := []int{0, 1, 4096, 4097, 65536, 65537, 3 << 20, 24 << 20}
	for i, n := range sizes {
		a.write(fmt.Sprint("f", i), noise(uint64(i), n))
	}
	b.pull(a)
	told := 0
	r, err := b.Fetch(ctx, a.source(), Options{Progress: func(r Result) { told = r.Chunks }})
	check(t, err)
	if r.Missing != 0 || r.Chunks == 0 || told != r.Chunks {
		t.Fatalf("%+v, told %d", r, told)
	}
	for i, n := range sizes {
		if b.read(fmt.Sprint("f", i)) != noise(uint64(i), n) {
			t.Fatalf("file of %d bytes differs", n)
		}
	}
	if r := fetchAll(t, b, a); r.Chunks != 0 || r.Files != 0 {
		t.Fatalf("fetched again: %+v", r)
	}
}

// TestFetchFromSeveral: what one peer does not have is left for another.
func TestFetchFromSeveral(t *testing.T) {
	ds := newDevices(t, 3)
	a, b, c := ds[0], ds[1], ds[2]
	a.write("f", noise(1, 1<<20))
	b.pull(a)
	b.write("g", noise(2, 1<<20))
	c.pull(b)
	if r := fetchAll(t, c, b); r.Missing != 1 || r.Files != 1 {
		t.Fatalf("%+v", r)
	}
	if r := fetchAll(t, c, a); r.Missing != 0 || r.Files != 1 {
		t.Fatalf("%+v", r)
	}
	if c.read("f") != noise(1, 1<<20) || c.read("g") != noise(2, 1<<20) {
		t.Fatal("differs")
	}
}

// TestInterruptedFetchGoesOn: chunks that came are not asked for again.
func TestInterruptedFetchGoesOn(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.write("f", noise(3, 8<<20))
	b.pull(a)
	src := &cutChunks{source: a.source()}
	src.left.Store(10)
	r, err := b.Fetch(ctx, src, Options{})
	if !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	second := fetchAll(t, b, a)
	if r.Chunks == 0 || second.Chunks == 0 || second.Missing != 0 {
		t.Fatalf("%+v, then %+v", r, second)
	}
	if b.read("f") != noise(3, 8<<20) {
		t.Fatal("differs")
	}
}

// cutChunks is a source whose connection breaks after some chunks.
type cutChunks struct {
	*source
	left atomic.Int64
}

func (s *cutChunks) Chunks(ctx context.Context, ids []store.ID, got func(int, []byte) error) error {
	return s.source.Chunks(ctx, ids, func(i int, sealed []byte) error {
		if s.left.Add(-1) < 0 {
			return errCut
		}
		return got(i, sealed)
	})
}
