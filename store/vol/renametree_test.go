package vol

import (
	"path/filepath"
	"testing"

	"bazil/merge"
	"bazil/store"
)

// TestRenameReadsBefore: a directory is moved with what was read before, though
// the place that it moves to has names that no longer exist, and a count that
// is wrong: it cannot stop half way.
func TestRenameReadsBefore(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	dir := mkdir(t, v.Root(), "from")
	writeFile(t, dir, "new", "new")
	writeFile(t, mkdir(t, dir, "sub"), "f", "content")
	to := mkdir(t, v.Root(), "to")
	writeFile(t, mkdir(t, to, "sub"), "f", "old")
	ok(t, to.removeAll(ctx))
	ok(t, v.Sync(ctx))
	v.mu.Lock()
	from, target := v.root.children["from"], v.root.children["to"]
	target.sub.records += 2
	src, err := v.readMove(from, target)
	ok(t, err)
	db := v.db
	v.db = must[*store.Bolt](t)(store.OpenBolt(filepath.Join(t.TempDir(), "closed"), nil))
	ok(t, v.db.Close()) // no read succeeds
	err = v.moveDir(from, target, v.inodeOf(from), v.inodeOf(target), src)
	v.db = db
	v.mu.Unlock()
	ok(t, err)
	moved := must[*Node](t)(must[*Node](t)(v.Root().Lookup(ctx, "to")).Lookup(ctx, "sub"))
	if moved.Kind() != merge.KindDir || readFile(t, moved, "f") != "content" {
		t.Error("not everything was moved")
	}
}
