package replica

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"bazil/store/vol"
)

// What is known is divided between those who are idle, and all of it is taken.
func TestQueueDivides(t *testing.T) {
	take := func(nodes, most, takers int) (shares []int) {
		q := &queue{nodes: make([]*node, nodes)}
		for len(q.nodes) > 0 {
			shares = append(shares, len(q.take(most, takers)))
		}
		return shares
	}
	for _, c := range []struct {
		nodes, most, takers int
		want                []int
	}{
		{1, 128, 8, []int{1}},
		{100, 128, 8, []int{13, 13, 13, 13, 12, 12, 12, 12}},
		{1000, 128, 8, []int{125, 125, 125, 125, 125, 125, 125, 125}},
		{1100, 128, 8, []int{128, 128, 128, 128, 128, 128, 128, 128, 76}},
		{5, 2, 1, []int{2, 2, 1}},
	} {
		got := take(c.nodes, c.most, c.takers)
		if !slices.Equal(got, c.want) {
			t.Errorf("%d nodes, %d at most, %d takers: %v", c.nodes, c.most, c.takers, got)
		}
	}
}

// TestQueueOrder: up to broadMost those found first come first, beyond it those
// found last, and each comes once.
func TestQueueOrder(t *testing.T) {
	var q queue
	put := func(n int) {
		for range n {
			q.add(&node{local: uint64(len(q.nodes)) + 1})
		}
	}
	put(10)
	if got := q.take(4, 1); got[0].local != 1 || got[3].local != 4 {
		t.Errorf("the first: %d to %d", got[0].local, got[3].local)
	}
	q = queue{}
	put(broadMost + 10)
	seen := make(map[uint64]bool)
	for first := true; len(q.nodes) > 0; first = false {
		got := q.take(10, 1)
		if first && got[9].local != broadMost+10 {
			t.Errorf("of many the last was %d", got[9].local)
		}
		for _, n := range got {
			if seen[n.local] {
				t.Fatalf("%d came twice", n.local)
			}
			seen[n.local] = true
		}
		q.done()
	}
	if len(seen) != broadMost+10 {
		t.Errorf("%d came", len(seen))
	}
}

// TestWidePull: of a tree with more directories than may wait, each pull brings
// a part, says so, and never has more of them than that in memory.
func TestWidePull(t *testing.T) {
	const most = 8
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	for i := range 30 {
		a.mkdir(fmt.Sprint(i))
		for j := range 3 {
			a.mkdir(fmt.Sprintf("%d/%d", i, j))
			a.write(fmt.Sprintf("%d/%d/f", i, j), fmt.Sprint(i, j))
		}
	}
	check(t, a.v.Sync(ctx))
	src := a.source()
	src.lie = func(*vol.DirState) {
		for p := range b.pulls {
			if room := p.queue.room(most + 1); room < 1 {
				t.Error("more wait than may")
			}
		}
	}
	pulls := 0
	for ; ; pulls++ {
		r, err := b.Pull(ctx, src, Options{MaxWaiting: most})
		if err == nil {
			break
		}
		if !errors.Is(err, ErrWide) || r.Complete || r.Dirs < 2 || pulls > 60 {
			t.Fatalf("pull %d: %+v, %v", pulls, r, err)
		}
	}
	if pulls == 0 {
		t.Error("all came at once")
	}
	b.wantSame(a)
	if r := b.pull(a); r.Names != 0 {
		t.Errorf("after all came: %+v", r)
	}
}
