package vol

import "testing"

// TestSwapOfSiblings: two names have the same two versions, after two replicas
// have renamed one name to each. Then one renames the first to the second and
// the other the second to the first. All that either has seen is what the
// names show; what hides behind it must not be lost.
func TestSwapOfSiblings(t *testing.T) {
	chunks, sealer := testStore(t)
	id := NewID()
	var vs [3]*Volume
	for i := range vs {
		vs[i] = newDiskOn(t, chunks, sealer, id).open()
		t.Cleanup(func() { vs[i].Close() })
	}
	b, c := vs[1], vs[2]
	all := func() {
		for range 3 {
			for i := range vs {
				pull(t, vs[(i+1)%3], vs[i], -1)
			}
		}
	}
	rename := func(v *Volume, from, to string) { ok(t, v.Root().Rename(ctx, from, v.Root(), to)) }
	writeFile(t, b.Root(), "x", "from b")
	writeFile(t, c.Root(), "x", "from c")
	all()
	rename(b, "x", "y")
	rename(c, "x", "z")
	all()
	rename(b, "y", "z")
	rename(c, "z", "y")
	all()
	for i, v := range vs {
		have := contents(t, v)
		for _, want := range []string{"from b", "from c"} {
			if !have[want] {
				t.Errorf("replica %d lost what was written %q", i, want)
			}
		}
	}
}
