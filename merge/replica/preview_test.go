package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestPreview: what a preview says is what the pull then does, and the preview
// does nothing.
func TestPreview(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := &history{rand: rand.New(rand.NewPCG(seed, 11)), ds: newDevices(t, 3)}
			for range 25 {
				for range 1 + h.rand.IntN(5) {
					h.step(t)
				}
				h.preview(t)
			}
		})
	}
}

func (h *history) preview(t *testing.T) {
	i := h.rand.IntN(3)
	to, from := h.ds[i], h.ds[(i+1+h.rand.IntN(2))%3]
	check(t, to.v.Sync(ctx)) // what is equal is known to be
	before, inConflict := paths(to), conflictPaths(to)
	changes, err := to.Preview(ctx, from.source())
	check(t, err)
	if got := paths(to); !slices.Equal(got, before) || !slices.Equal(conflictPaths(to), inConflict) {
		t.Fatalf("the preview made %q of %q", got, before)
	}
	to.pull(from)
	check(t, to.v.Sync(ctx)) // what was being written lets go of its name
	told := map[string][]string{}
	for _, c := range changes {
		told[c.What] = append(told[c.What], c.Path)
	}
	after := paths(to)
	if want := minus(after, before); !slices.Equal(told["add"], want) {
		t.Fatalf("it told to add %q, the pull added %q to %q: %+v", told["add"], want, before, changes)
	}
	if want := minus(before, after); !slices.Equal(told["delete"], want) {
		t.Fatalf("it told to delete %q, the pull deleted %q", told["delete"], want)
	}
	if fresh := minus(conflictPaths(to), inConflict); len(minus(told["conflict"], fresh)) > 0 {
		t.Fatalf("it told of conflicts at %q, the pull made some at %q", told["conflict"], fresh)
	} else if missed := minus(minus(fresh, told["conflict"]), told["add"]); len(missed) > 0 {
		t.Fatalf("it did not tell of conflicts at %q", missed)
	}
}

// paths are those of all names, sorted.
func paths(d *device) []string {
	all := strings.Fields(d.tree())
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], "/")
	}
	slices.Sort(all)
	return all
}

func conflictPaths(d *device) (all []string) {
	for _, c := range d.conflicts() {
		all = append(all, c.Path)
	}
	return all
}

// minus are the elements of a that b does not have; both are sorted.
func minus(a, b []string) (out []string) {
	for _, s := range a {
		if _, ok := slices.BinarySearch(b, s); !ok {
			out = append(out, s)
		}
	}
	return out
}
