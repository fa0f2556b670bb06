package export

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv/client"
)

const xattrCreate, xattrReplace = 1, 2

func TestXattrs(t *testing.T) {
	ctx := t.Context()
	big := bytes.Repeat([]byte("v"), 64<<10)
	long := "user." + strings.Repeat("n", 250)
	reopened(t, func(m *Manager, root *client.Fid) {
		f := create(t, root, "f", "x", 0o644)
		want(t, "replace what is not there", f2(t, f).SetXattr(ctx, "user.a", []byte("1"), xattrReplace), syscall.ENODATA)
		must(t, f2(t, f).SetXattr(ctx, "user.a", []byte("1"), xattrCreate))
		want(t, "create what is there", f2(t, f).SetXattr(ctx, "user.a", []byte("2"), xattrCreate), syscall.EEXIST)
		must(t, f2(t, f).SetXattr(ctx, "user.a", []byte("3"), xattrReplace))
		must(t, f2(t, f).SetXattr(ctx, "user.empty", nil, 0))
		must(t, f2(t, f).SetXattr(ctx, "user.big", big, 0))
		must(t, f2(t, f).SetXattr(ctx, long, []byte("\x00\xff"), 0))
		must(t, f2(t, f).SetXattr(ctx, "user.gone", []byte("x"), 0))
		must(t, f2(t, f).RemoveXattr(ctx, "user.gone"))
		want(t, "remove it again", f2(t, f).RemoveXattr(ctx, "user.gone"), syscall.ENODATA)
		want(t, "a long name", f2(t, f).SetXattr(ctx, long+"n", []byte("x"), 0), syscall.ERANGE)
		want(t, "a large value", f2(t, f).SetXattr(ctx, "user.x", append(big, 'v'), 0), syscall.E2BIG)
		want(t, "both flags", f2(t, f).SetXattr(ctx, "user.a", []byte("x"), xattrCreate|xattrReplace), syscall.EEXIST)
		for _, name := range []string{"trusted.x", "security.x", "system.posix_acl_access", "bazil.flags", "x"} {
			want(t, "set "+name, f2(t, f).SetXattr(ctx, name, []byte("x"), 0), syscall.EOPNOTSUPP)
		}
		_, err := root.Symlink(ctx, "s", "f", 0)
		must(t, err)
		want(t, "of a symlink", walk(t, root, "s").SetXattr(ctx, "user.x", []byte("x"), 0), syscall.EPERM)
		_, err = root.Mknod(ctx, "fifo", syscall.S_IFIFO|0o644, 0, 0, 0)
		must(t, err)
		want(t, "of a fifo", walk(t, root, "fifo").SetXattr(ctx, "user.x", []byte("x"), 0), syscall.EPERM)
		must(t, walk(t, root).SetXattr(ctx, "user.dir", []byte("d"), 0))
		must(t, root.RenameAt(ctx, "f", root, "g"))
	}, func(m *Manager, root *client.Fid) {
		f := walk(t, root, "g")
		all, err := f.ListXattr(ctx)
		must(t, err)
		slices.Sort(all)
		if want := []string{"user.a", "user.big", "user.empty", long}; !slices.Equal(all, want) {
			t.Errorf("listed: %q", all)
		}
		for name, want := range map[string]string{"user.a": "3", "user.big": string(big), "user.empty": "", long: "\x00\xff"} {
			if v, err := f.GetXattr(ctx, name); err != nil || string(v) != want {
				t.Errorf("%.20s: %d bytes, %v", name, len(v), err)
			}
		}
		if v, err := root.GetXattr(ctx, "user.dir"); err != nil || string(v) != "d" {
			t.Errorf("of the root: %q, %v", v, err)
		}
		_, err = f.GetXattr(ctx, "user.gone")
		want(t, "what is not there", err, syscall.ENODATA)
		for i := 0; err == nil || err == syscall.ENODATA; i++ {
			if i > 20 {
				t.Fatal("a file takes any number of large attributes")
			}
			err = f2(t, f).SetXattr(ctx, fmt.Sprint("user.more", i), big, 0)
		}
		want(t, "more than fits", err, syscall.ENOSPC)
	})
}

// f2 is another fid of the file of f: an open one takes no new attribute.
func f2(t *testing.T, f *client.Fid) *client.Fid { return walk(t, f) }

// TestOtherXattrs: names outside of user.* are not supported, whatever has
// them; cp copies a fifo's access control list and takes no other error.
func TestOtherXattrs(t *testing.T) {
	ctx := t.Context()
	refused := func(_ *Manager, root *client.Fid) {
		for name, why := range map[string]syscall.Errno{
			"system.posix_acl_access": syscall.EOPNOTSUPP,
			"security.capability":     syscall.EOPNOTSUPP,
			"user.x":                  syscall.EPERM,
		} {
			want(t, name, walk(t, root, "fifo").SetXattr(ctx, name, []byte("x"), 0), why)
		}
	}
	reopened(t, func(m *Manager, root *client.Fid) {
		_, err := root.Mknod(ctx, "fifo", syscall.S_IFIFO|0o644, 0, 0, 0)
		must(t, err)
		refused(m, root)
	}, refused)
}
