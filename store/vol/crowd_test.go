package vol

import (
	"fmt"
	"strings"
	"testing"
)

// quarrel makes n names with two versions each, of which b's are hidden at a.
func quarrel(t *testing.T, n int) (d *disk, a, b *Volume) {
	chunks, sealer := testStore(t)
	id := NewID()
	d = newDiskOn(t, chunks, sealer, id)
	a, b = d.open(), newDiskOn(t, chunks, sealer, id).open()
	for i := range n {
		writeFile(t, a.Root(), fmt.Sprint("n", i), fmt.Sprint("a-", i))
		writeFile(t, b.Root(), fmt.Sprint("n", i), fmt.Sprint("b-", i))
	}
	meet(t, a, b)
	return d, a, b
}

// TestRenamesGatherVersions: renames carry the hidden versions of many names to
// one. None is lost, and what the name has can be read by the next process.
func TestRenamesGatherVersions(t *testing.T) {
	const n = 1100
	d, a, b := quarrel(t, n)
	for i := range n {
		ok(t, a.Root().Rename(ctx, fmt.Sprint("n", i), a.Root(), "x"))
	}
	ok(t, a.Close())
	a = d.open()
	pull(t, b, a, -1)
	for _, v := range []*Volume{a, b} {
		have := contents(t, v)
		for i := range n {
			if s := fmt.Sprint("b-", i); !have[s] {
				t.Fatalf("%s is lost: there are %d contents", s, len(have))
			}
		}
		checkConflicts(t, v)
	}
}

// TestPullGathersVersions: two devices have gathered different versions at one
// name. Both hear of the other's, and of all that is beside it.
func TestPullGathersVersions(t *testing.T) {
	const n = 600
	_, a, b := quarrel(t, n)
	for i := range n / 2 {
		ok(t, a.Root().Rename(ctx, fmt.Sprint("n", i), a.Root(), "x"))
		ok(t, b.Root().Rename(ctx, fmt.Sprint("n", n/2+i), b.Root(), "x"))
	}
	writeFile(t, a.Root(), "beside", "something else")
	meet(t, a, b)
	for _, v := range []*Volume{a, b} {
		have := contents(t, v)
		for i := range n / 2 {
			if x, y := fmt.Sprint("b-", i), fmt.Sprint("a-", n/2+i); !have[x] || !have[y] {
				t.Fatalf("%s or %s is lost: there are %d contents", x, y, len(have))
			}
		}
		if got := readFile(t, v.Root(), "beside"); got != "something else" {
			t.Fatalf("beside it is %q", got)
		}
		if c := conflictAt(t, v, "x"); len(c.Siblings) > defaultMaxVersions {
			t.Fatalf("x has %d versions", len(c.Siblings))
		}
		checkConflicts(t, v)
	}
	if names(t, a.Root()) != names(t, b.Root()) {
		t.Fatalf("one has\n%s\nthe other\n%s", names(t, a.Root()), names(t, b.Root()))
	}
	if !strings.Contains(names(t, a.Root()), "x.conflict-") {
		t.Fatal("nothing was put beside x")
	}
}
