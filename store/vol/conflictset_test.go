package vol

import (
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
)

// checkConflicts holds what a volume knows of its conflicts against the records
// of all its names, all of which are durable.
func checkConflicts(tb testing.TB, v *Volume) {
	tb.Helper()
	want := make(conflictSet)
	ok(tb, v.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNames).ForEach(func(k, value []byte) error {
			num, name := splitKey(k)
			rec := must[*record](tb)(readRecord(tx, num, string(name)))
			if len(name) > 0 && rec.conflict() {
				want.set(readWay(tx, make(map[uint64]step), step{num, string(name)}), true)
			}
			return nil
		})
	}))
	if !maps.EqualFunc(v.conflicts, want, maps.Equal[map[string]conflictMark, map[string]conflictMark]) {
		tb.Fatalf("the conflicts are kept as\n%v\nthe names have\n%v", v.conflicts, want)
	}
	paths := want.paths(nil, rootDir, "")
	slices.Sort(paths)
	all := must[[]Conflict](tb)(v.Conflicts(ctx))
	if n := must[Stats](tb)(v.Stats(ctx)).Conflicts; int(n) != len(paths) || len(all) != len(paths) {
		tb.Fatalf("%d conflicts counted, %d told, want %v", n, len(all), paths)
	}
	for i, p := range paths {
		if c, err := v.ConflictAt(p); err != nil || all[i].Path != p || !slices.Equal(c.Siblings, all[i].Siblings) {
			tb.Fatalf("at %s: %v, %v; in the list %v", p, c, err, all[i])
		}
		for at := p; ; at = path.Dir(at) {
			dir, name := path.Split(at)
			names := must[[]string](tb)(v.ConflictsIn(strings.TrimSuffix(dir, "/")))
			if is := must[bool](tb)(v.InConflict(at)); !is || !slices.Contains(names, name) {
				tb.Fatalf("%s leads to a conflict: %v, %q has %v", at, is, dir, names)
			}
			if dir == "" {
				break
			}
		}
	}
}

// TestConflictsAtOnce: a conflict shows where it is, and where it leads to, from
// the moment that it begins to the moment that it ends.
func TestConflictsAtOnce(t *testing.T) {
	a, b := pair(t)
	for _, v := range []*Volume{a, b} {
		deep := mkdir(t, mkdir(t, v.Root(), "deep"), "er")
		writeFile(t, deep, "f", v.Replica().String())
		writeFile(t, v.Root(), "same", "equal")
	}
	none := func(v *Volume, at string) {
		t.Helper()
		if _, err := v.ConflictAt(at); err != syscall.ENOENT || must[bool](t)(v.InConflict(at)) || len(must[[]string](t)(v.ConflictsIn(at))) > 0 {
			t.Errorf("%q: %v, in conflict", at, err)
		}
	}
	for _, at := range []string{"deep", "deep/er/f", "none/such", "same"} {
		none(a, at)
	}
	meet(t, a, b)
	for _, at := range []string{"same", "same/none", "deep/er/f/none", "deep/none", "none"} {
		none(a, at)
	}
	checkConflicts(t, a)
	c := must[Conflict](t)(a.ConflictAt("deep/er/f"))
	if _, err := a.ConflictAt("deep/er"); err != syscall.ENOENT {
		t.Errorf("a directory above: %v", err)
	}
	ok(t, a.Root().Rename(ctx, "deep", a.Root(), "moved"))
	none(a, "deep")
	if names := must[[]string](t)(a.ConflictsIn("moved/er")); !slices.Equal(names, []string{"f"}) {
		t.Errorf("after a rename of the directory: %v", names)
	}
	c = must[Conflict](t)(a.ConflictAt("moved/er/f"))
	mine, _ := c.shown()
	ok(t, a.Resolve(ctx, "moved/er/f", c.Dots(), mine))
	none(a, "moved/er/f")
	none(a, "moved")
	none(a, "")
	checkConflicts(t, a)
}

// TestConflictEndsAsBytesAreKnown: what is being written turns out to be what a
// peer wrote.
func TestConflictEndsAsBytesAreKnown(t *testing.T) {
	a, b := pair(t)
	writeFile(t, a.Root(), "f", "equal")
	h := must[*Handle](t)(writeFile(t, b.Root(), "f", "").Open(ctx, true))
	ok(t, b.Sync(ctx))
	pull(t, b, a, -1)
	_, err := h.WriteAt(ctx, []byte("equal"), 0)
	ok(t, err)
	if !must[bool](t)(b.InConflict("f")) {
		t.Error("what is being written is as what is not")
	}
	ok(t, h.Close())
	ok(t, b.Sync(ctx))
	checkConflicts(t, b)
	if n := conflicts(t, b); n != 0 {
		t.Errorf("%d conflicts of equal bytes", n)
	}
}

// TestResolveAll: what can be ended is, and stays so after a crash, though one
// among them cannot.
func TestResolveAll(t *testing.T) {
	chunks, sealer := testStore(t)
	id := NewID()
	d := newDiskOn(t, chunks, sealer, id)
	a, b := d.open(), newDiskOn(t, chunks, sealer, id).open()
	for _, v := range []*Volume{a, b} {
		for _, name := range []string{"one", "both", "stays"} {
			writeFile(t, v.Root(), name, v.Replica().String())
		}
	}
	meet(t, a, b)
	var ends []Ending
	for _, c := range must[[]Conflict](t)(a.Conflicts(ctx)) {
		mine, _ := c.shown()
		ends = append(ends, Ending{Path: c.Path, Seen: c.Dots(), Keep: mine, Both: c.Path == "both"})
	}
	ends[2].Keep.N += 1000
	ok(t, a.ResolveAll(ctx, ends))
	if !errors.Is(ends[2].Err, syscall.ENOENT) || ends[0].Err != nil || ends[1].Err != nil || len(ends[0].Names) != 1 {
		t.Errorf("ended: %+v", ends)
	}
	a.crash()
	a = d.open()
	checkConflicts(t, a)
	if all := must[[]Conflict](t)(a.Conflicts(ctx)); len(all) != 1 || all[0].Path != "stays" {
		t.Errorf("after a crash: %v", all)
	}
	if _, err := a.Root().Lookup(ctx, ends[0].Names[0]); err != nil {
		t.Errorf("%s: %v", ends[0].Names[0], err)
	}
}
