package vol

import (
	"slices"
	"syscall"
	"testing"
)

// TestFlags keeps them beside the attributes that clients see, over renames,
// restarts and a pull.
func TestFlags(t *testing.T) {
	vs := replicas(t, 2)
	root := vs[0].Root()
	f := writeFile(t, root, "f", "x")
	flagsAre(t, f, 0)
	ok(t, f.SetFlags(ctx, FlagAppend|FlagExclusive))
	ok(t, f.SetXattr(ctx, "user.x", []byte("y"), 0))
	flagsAre(t, f, FlagAppend|FlagExclusive)
	if got := must[[]string](t)(f.ListXattr()); !slices.Equal(got, []string{"user.x"}) {
		t.Errorf("listed: %q", got)
	}
	_, err := f.GetXattr(flagsName)
	fails(t, err, syscall.ENODATA)
	fails(t, f.RemoveXattr(ctx, flagsName), syscall.ENODATA)
	fails(t, f.SetXattr(ctx, flagsName, []byte{1}, 0), syscall.EOPNOTSUPP)
	fails(t, mkdir(t, root, "d").SetFlags(ctx, FlagAppend), syscall.EPERM)
	mode := uint32(0o600)
	ok(t, f.SetAttr(ctx, SetAttr{Mode: &mode}))
	ok(t, root.Rename(ctx, "f", root, "g"))
	pull(t, vs[1], vs[0], -1)
	theirs := must[*Node](t)(vs[1].Root().Lookup(ctx, "g"))
	flagsAre(t, theirs, FlagAppend|FlagExclusive)
	ok(t, theirs.SetFlags(ctx, FlagTemporary))
	pull(t, vs[0], vs[1], -1)
	flagsAre(t, f, FlagTemporary)
	ok(t, f.SetFlags(ctx, 0))
	flagsAre(t, f, 0)
	if attrs := must[map[string][]byte](t)(f.xattrs()); len(attrs) != 1 {
		t.Errorf("left: %q", attrs)
	}
}

func flagsAre(t *testing.T, n *Node, want Flags) {
	t.Helper()
	if _, got := n.Identity(); got != want {
		t.Errorf("flags are %b, want %b", got, want)
	}
}
