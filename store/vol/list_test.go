package vol

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bazil/merge"
)

// What List remembers is what it would find anew, whatever was changed: each
// change must show in the names, numbers, kinds or versions listed.
func TestListAfterEveryChange(t *testing.T) {
	v := testVolume(t)
	d := mkdir(t, v.Root(), "d")
	other := mkdir(t, v.Root(), "other")
	before := must[[]DirEntry](t)(d.List(ctx))
	mode := uint32(0o600)
	var h *Handle
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"create", func() { writeFile(t, d, "a", "x") }},
		{"mkdir", func() { mkdir(t, d, "sub") }},
		{"mode", func() { ok(t, must[*Node](t)(d.Lookup(ctx, "a")).SetAttr(ctx, SetAttr{Mode: &mode})) }},
		{"open and write", func() {
			h = must[*Handle](t)(must[*Node](t)(d.Lookup(ctx, "a")).Open(ctx, true))
			must[int](t)(h.WriteAt(ctx, []byte("more"), 0))
		}},
		{"write more in one group", func() {
			must[int](t)(h.WriteAt(ctx, []byte("more"), 4))
			before = must[[]DirEntry](t)(d.List(ctx))
			must[int](t)(h.WriteAt(ctx, []byte("more"), 8))
		}},
		{"truncate", func() { ok(t, h.Truncate(ctx, 1)); h.Close() }},
		{"rename within", func() { ok(t, d.Rename(ctx, "a", d, "b")) }},
		{"rename in", func() { writeFile(t, other, "in", ""); ok(t, other.Rename(ctx, "in", d, "in")) }},
		{"rename over", func() { ok(t, d.Rename(ctx, "in", d, "b")) }},
		{"rename out", func() { ok(t, d.Rename(ctx, "b", other, "out")) }},
		{"rmdir", func() { ok(t, d.Rmdir(ctx, "sub")) }},
		{"create after sync", func() { ok(t, v.Sync(ctx)); writeFile(t, d, "a", "") }},
		{"unlink", func() { ok(t, d.Unlink(ctx, "a")) }},
	} {
		step.do()
		after := must[[]DirEntry](t)(d.List(ctx))
		if slices.Equal(before, after) {
			t.Errorf("%s: List still says %v", step.what, after)
		}
		if d.in.at.sub.list == nil {
			t.Errorf("%s: List does not remember", step.what)
		}
		for range 2 {
			if stored := listStored(t, v, d); !slices.Equal(stored, after) {
				t.Errorf("%s: List says %v, the volume's file with what was changed since %v", step.what, after, stored)
			}
			ok(t, v.Sync(ctx))
			d.in.at.sub.list = nil
			if before = must[[]DirEntry](t)(d.List(ctx)); !slices.Equal(before, after) {
				t.Errorf("%s: List says %v, anew %v", step.what, after, before)
			}
		}
	}
}

// listStored lists d as List does where not all names are in memory.
func listStored(t *testing.T, v *Volume, n *Node) []DirEntry {
	v.mu.Lock()
	d := must[*dir](t)(n.dir())
	l := lister{v: v, dir: d.num, changed: v.unsaved(d)}
	v.unlock()
	return must[[]DirEntry](t)(l.list())
}

// The memory that remembered lists take is bounded.
func TestListingsBound(t *testing.T) {
	var l listings
	for i := range 1000 {
		d := &dir{num: uint64(i)}
		l.keep(d, make([]DirEntry, i), 0)
		l.keep(d, make([]DirEntry, i/2), 0)
		sum := 0
		for _, d := range l.dirs {
			sum += len(d.list) + listedCost
		}
		if sum != l.cost || sum > maxListed {
			t.Fatalf("%d directories: cost %d, counted %d of at most %d", i+1, l.cost, sum, maxListed)
		}
		if d.list == nil {
			t.Fatalf("list of %d not kept", i)
		}
	}
	big := &dir{}
	if l.keep(big, make([]DirEntry, maxListed), 0); big.list != nil {
		t.Error("a list larger than half of the bound is kept")
	}
}

func TestSortEntries(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		prefix := strings.Repeat("p", r.IntN(12))
		var list []DirEntry
		for i := range n {
			list = append(list, DirEntry{Name: prefix + fmt.Sprint(r.IntN(1<<r.IntN(60)+1)), Kind: merge.KindFile, Ino: uint64(i)})
		}
		want := slices.Clone(list)
		slices.SortFunc(want, func(a, b DirEntry) int { return strings.Compare(a.Name, b.Name) })
		got := sortEntries(list)
		if !slices.EqualFunc(got, want, func(a, b DirEntry) bool { return a.Name == b.Name }) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	}
}
