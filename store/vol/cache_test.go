package vol

import "testing"

// TestWhatLeavesMemory: no name leaves memory of which something would be lost:
// what is not durable, in the present group or in the one on its way, what is
// held or open, and directories of which that is so.
func TestWhatLeavesMemory(t *testing.T) {
	v := testVolume(t)
	d := mkdir(t, v.Root(), "d")
	f := writeFile(t, d, "f", "x")
	may := func(when, path string, want bool) {
		t.Helper()
		n := must[*Node](t)(find(v, path))
		v.mu.Lock()
		defer v.unlock()
		in := must[*inode](t)(v.inodeByNumber(n.num))
		if v.idle(in.at) != want {
			t.Errorf("%s: %s may leave memory: %v", when, path, !want)
		}
	}
	may("changed", "d/f", false)
	ok(t, v.Sync(ctx))
	may("durable", "d/f", true)
	may("with a name in memory", "d", false)

	f.Ref()
	may("held", "d/f", false)
	f.Unref()
	may("held no more", "d/f", true)
	h := must[*Handle](t)(f.Open(ctx, false))
	may("open", "d/f", false)
	ok(t, h.Close())
	may("closed", "d/f", true)

	ok(t, f.SetXattr(ctx, "user.x", []byte("y"), 0))
	v.mu.Lock()
	g := v.freeze()
	v.mu.Unlock()
	may("in a group on its way", "d/f", false)
	v.mu.Lock()
	v.finish(g, nil)
	v.unlock()
	may("after that", "d/f", true)

	v.mu.Lock()
	v.evict(v.root.children["d"].sub.children["f"])
	v.mu.Unlock()
	may("empty in memory", "d", true)
	v.mu.Lock()
	v.markDir(v.root.children["d"].sub)
	v.mu.Unlock()
	may("with a place that changed", "d", false)
}
