package vol

import (
	"syscall"
	"testing"
)

// TestRemoveNodeIsThatOne: RemoveNode leaves alone what has the name of a file
// that was removed or moved.
func TestRemoveNodeIsThatOne(t *testing.T) {
	root := testVolume(t).Root()
	f := writeFile(t, root, "f", "old")
	there := mkdir(t, root, "d")
	ok(t, root.Rename(ctx, "f", there, "f"))
	writeFile(t, root, "f", "new")
	fails(t, root.RemoveNode(ctx, f), syscall.ENOENT)
	if got := readFile(t, root, "f"); got != "new" {
		t.Error(got)
	}
	ok(t, there.RemoveNode(ctx, f))
	fails(t, there.RemoveNode(ctx, f), syscall.ENOENT)
	fails(t, there.RenameNode(ctx, f, root, "g"), syscall.ENOENT)
}

// TestSizeAndTime: a change of the size and the time in one leaves the time that
// was asked for, also when the bytes are durable.
func TestSizeAndTime(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	f := writeFile(t, v.Root(), "f", "hello")
	size, when := int64(3), int64(123456789)
	ok(t, f.SetAttr(ctx, SetAttr{Size: &size, MTime: &when}))
	check := func(f *Node) {
		t.Helper()
		if a := attr(t, f); a.Size != size || a.MTime != when {
			t.Errorf("%d bytes of %d", a.Size, a.MTime)
		}
	}
	check(f)
	ok(t, v.Close())
	check(must[*Node](t)(find(d.open(), "f")))
}

// TestRenameTouchesBoth: a name that moves changes the times of both directories.
func TestRenameTouchesBoth(t *testing.T) {
	root := testVolume(t).Root()
	a, b := mkdir(t, root, "a"), mkdir(t, root, "b")
	writeFile(t, a, "f", "x")
	wasA, wasB := attr(t, a), attr(t, b)
	ok(t, a.Rename(ctx, "f", b, "f"))
	if attr(t, a).MTime == wasA.MTime || attr(t, b).MTime == wasB.MTime {
		t.Error("a directory has its old time")
	}
}
