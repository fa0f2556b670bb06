package replica

import (
	"slices"
	"testing"
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
