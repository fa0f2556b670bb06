package vol

import (
	"maps"
	"syscall"
	"testing"
)

// TestSnapshotBesideChange: a directory that changes while its tree is made has
// another in the next snapshot: the change is in a group that was closed before,
// or is durable before the tree is kept.
func TestSnapshotBesideChange(t *testing.T) {
	v := testVolume(t)
	d := mkdir(t, v.Root(), "d")
	writeFile(t, d, "f", "1")
	v.mu.Lock()
	g := v.freeze()
	v.mu.Unlock()
	v.noteStale()
	if !v.stale.has(rootDir) || len(g.dirs) == 0 || !v.stale.has(g.dirs[len(g.dirs)-1].num) {
		t.Error("what the group in flight changes is not noted")
	}
	v.stale.end()
	v.mu.Lock()
	v.finish(g, syscall.EIO)
	v.unlock()

	ok(t, v.Sync(ctx))
	v.noteStale()
	info, made, err := v.buildSnapshot(ctx, "before")
	ok(t, err)
	writeFile(t, d, "g", "2")
	ok(t, v.Sync(ctx))
	ok(t, v.saveSnapshot(&info, made))
	v.stale.end()
	must[SnapshotInfo](t)(v.Snapshot(ctx, "after"))
	for name, want := range map[string]map[string]string{"before": {"d/f": "1"}, "after": {"d/f": "1", "d/g": "2"}} {
		if got := snapTreeOf(t, must[*SnapNode](t)(v.OpenSnapshot(ctx, name))); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
