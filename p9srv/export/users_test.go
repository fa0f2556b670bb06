package export

import (
	"os"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

const alice, bob = 70001, 70002 // nobody has these here

// usersOf attaches several users by one connection, as access=client of v9fs
// does, to a directory that all may write.
func usersOf(t *testing.T) (root, hers, his *client.Fid) {
	t.Helper()
	m := newManager(t)
	c := connect(t, serve(t, m, "all", "volume=files"))
	var fids [3]*client.Fid
	for i, uid := range []uint32{0, alice, bob} {
		f, err := c.Attach(t.Context(), "", "", uid)
		must(t, err)
		fids[i] = f
	}
	chmod(t, fids[0], 0o777)
	return fids[0], fids[1], fids[2]
}

func TestOwnersAreKept(t *testing.T) {
	ctx := t.Context()
	root, hers, his := usersOf(t)
	if a := attr(t, create(t, hers, "hers", "x", 0o644)); a.UID != alice {
		t.Errorf("her file is %d's", a.UID)
	}
	f := walk(t, his)
	must(t, f.Create(ctx, "his", syscall.O_RDWR, 0o640, 4321))
	if a := attr(t, f); a.UID != bob || a.GID != 4321 || a.Mode&0o7777 != 0o640 {
		t.Errorf("his file is %d:%d %o", a.UID, a.GID, a.Mode)
	}
	must(t, walk(t, root, "his").SetAttr(ctx, chown(alice, 99)))
	if a := attr(t, f); a.UID != alice || a.GID != 99 {
		t.Errorf("given away, it is %d:%d's", a.UID, a.GID)
	}
}

// TestModesOfEveryOperation tries each with every mode that forbids it.
func TestModesOfEveryOperation(t *testing.T) {
	ctx := t.Context()
	_, hers, his := usersOf(t)
	closed := mkdir(t, hers, "closed", 0o700)
	create(t, closed, "f", "x", 0o666)
	shown := mkdir(t, hers, "shown", 0o755)
	create(t, shown, "f", "x", 0o644)
	create(t, shown, "secret", "x", 0o600)
	mkdir(t, shown, "sub", 0o777)
	onlyR := mkdir(t, hers, "listed", 0o744)
	create(t, onlyR, "f", "x", 0o666)
	_, err := his.Walk(ctx, "closed", "f")
	want(t, "walk into a closed directory", err, syscall.EACCES)
	want(t, "list it", walk(t, his, "closed").Open(ctx, syscall.O_RDONLY), syscall.EACCES)
	listed(t, walk(t, his, "listed"), 4096, nil)
	_, err = his.Walk(ctx, "listed", "f")
	want(t, "walk in a directory without x", err, syscall.EACCES)
	dir, f := walk(t, his, "shown"), walk(t, his, "shown", "f")
	for what, err := range map[string]error{
		"open to write":   walk(t, f).Open(ctx, syscall.O_WRONLY),
		"cut when opened": walk(t, f).Open(ctx, syscall.O_RDONLY|syscall.O_TRUNC),
		"open a secret":   walk(t, his, "shown", "secret").Open(ctx, syscall.O_RDONLY),
		"truncate":        f.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize}),
		"touch":           f.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetMTime | p9srv.SetATime}),
		"set an xattr":    f.SetXattr(ctx, "user.x", []byte("y"), 0),
		"create":          walk(t, dir).Create(ctx, "new", syscall.O_RDWR, 0o644, 0),
		"mkdir":           second(dir.Mkdir(ctx, "new", 0o755, 0)),
		"symlink":         second(dir.Symlink(ctx, "new", "x", 0)),
		"mkfifo":          second(dir.Mknod(ctx, "new", syscall.S_IFIFO|0o644, 0, 0, 0)),
		"unlink":          dir.UnlinkAt(ctx, "f", 0),
		"rmdir":           dir.UnlinkAt(ctx, "sub", 0x200),
		"rename":          dir.RenameAt(ctx, "f", dir, "g"),
		"move out":        dir.RenameAt(ctx, "f", his, "g"),
		"remove":          walk(t, f).Remove(ctx),
	} {
		want(t, what, err, syscall.EACCES)
	}
	_, err = walk(t, his, "shown", "secret").GetXattr(ctx, "user.x")
	want(t, "read an xattr", err, syscall.EACCES)
	for what, s := range map[string]p9srv.SetAttr{
		"chmod": {Valid: p9srv.SetMode, Mode: 0o777}, "take it": {Valid: p9srv.SetUID, UID: bob},
		"chgrp": {Valid: p9srv.SetGID, GID: 5}, "backdate": {Valid: p9srv.SetMTime | p9srv.SetMTimeValue},
	} {
		want(t, what, f.SetAttr(ctx, s), syscall.EPERM)
	}
	want(t, "give her file away herself", walk(t, hers, "shown", "f").SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetUID, UID: bob}), syscall.EPERM)
	_, err = hers.Mknod(ctx, "dev", syscall.S_IFCHR|0o600, 1, 3, 0)
	want(t, "make a device", err, syscall.EPERM)
	must(t, hers.RenameAt(ctx, "shown", hers, "seen"))
	// a directory that is not his to write cannot get another parent
	mkdir(t, his, "home", 0o777)
	want(t, "move her directory", his.RenameAt(ctx, "seen", walk(t, his, "home"), "x"), syscall.EACCES)
	// an owner without permission: the mode counts, and can be changed
	own := create(t, his, "own", "x", 0o400)
	_, err = own.WriteAt(ctx, []byte("y"), 0)
	must(t, err) // opened when it was made
	want(t, "open his own read-only file", walk(t, his, "own").Open(ctx, syscall.O_RDWR), syscall.EACCES)
	want(t, "truncate it, with its times", walk(t, his, "own").SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize | p9srv.SetMTime}), syscall.EACCES)
	must(t, own.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize}))
	chmod(t, own, 0o600)
	open(t, his, syscall.O_RDWR, "own")
}

func second[T any](_ T, err error) error { return err }

func TestStickyDirectory(t *testing.T) {
	ctx := t.Context()
	root, hers, his := usersOf(t)
	chmod(t, root, 0o1777)
	create(t, hers, "f", "x", 0o666)
	create(t, his, "g", "y", 0o666)
	mkdir(t, hers, "d", 0o777)
	want(t, "unlink her file", his.UnlinkAt(ctx, "f", 0), syscall.EPERM)
	want(t, "rmdir her directory", his.UnlinkAt(ctx, "d", 0x200), syscall.EPERM)
	want(t, "rename her file", his.RenameAt(ctx, "f", his, "x"), syscall.EPERM)
	want(t, "rename over her file", his.RenameAt(ctx, "g", his, "f"), syscall.EPERM)
	want(t, "remove her file", walk(t, his, "f").Remove(ctx), syscall.EPERM)
	want(t, "set an xattr of it", his.SetXattr(ctx, "user.x", nil, 0), syscall.EPERM)
	must(t, his.RenameAt(ctx, "g", his, "h"))
	must(t, his.UnlinkAt(ctx, "h", 0))
	// the owner of the directory may
	hall := mkdir(t, hers, "hall", 0o777)
	chmod(t, hall, 0o1777)
	create(t, walk(t, his, "hall"), "z", "", 0o644)
	must(t, hall.UnlinkAt(ctx, "z", 0))
	must(t, root.UnlinkAt(ctx, "f", 0))
}

// TestSetIDBits go when others could gain by them, and come with directories.
func TestSetIDBits(t *testing.T) {
	ctx := t.Context()
	root, hers, his := usersOf(t)
	mode := func(f *client.Fid) uint32 { return attr(t, f).Mode & 0o7777 }
	f := create(t, hers, "f", "x", 0o777)
	w := open(t, his, syscall.O_WRONLY, "f")
	for what, change := range map[string]func() error{
		"write":    func() error { return second(w.WriteAt(ctx, []byte("y"), 0)) },
		"truncate": func() error { return w.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize, Size: 5}) },
		"chown":    func() error { return walk(t, root, "f").SetAttr(ctx, chown(alice, attr(t, f).GID+1)) },
	} {
		// without x for the group, its bit asks for locking and stays
		for before, after := range map[uint32]uint32{0o6777: 0o777, 0o4711: 0o711, 0o2747: 0o2747} {
			must(t, walk(t, root, "f").SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetSize, Size: 9}))
			chmod(t, walk(t, root, "f"), before)
			must(t, change())
			if got := mode(f); got != after {
				t.Errorf("%s makes %o of %o, want %o", what, got, before, after)
			}
		}
	}
	d := mkdir(t, root, "shared", 0o777)
	must(t, d.SetAttr(ctx, chown(0, 555)))
	chmod(t, d, 0o2777)
	inside := walk(t, hers, "shared")
	if a := attr(t, create(t, inside, "f", "", 0o644)); a.GID != 555 || a.Mode&0o2000 != 0 {
		t.Errorf("a file in it is of group %d, %o", a.GID, a.Mode)
	}
	if a := attr(t, mkdir(t, inside, "sub", 0o755)); a.GID != 555 || a.Mode&0o7777 != 0o2755 {
		t.Errorf("a directory in it is of group %d, %o", a.GID, a.Mode)
	}
}

// TestOwnerMapping lets a guest's users be the server's, and no two of them one.
func TestOwnerMapping(t *testing.T) {
	ctx := t.Context()
	m := newManager(t)
	c := connect(t, serve(t, m, "vm", "volume=files", "owner=1234:1235"))
	guest, err := c.Attach(ctx, "", "", 1234)
	must(t, err)
	f := create(t, guest, "f", "x", 0o600)
	if a := attr(t, f); a.UID != 1234 || a.GID != 1235 {
		t.Errorf("the guest sees owner %d:%d", a.UID, a.GID)
	}
	host, err := attach(t, serve(t, m, "host", "volume=files"), "", 0)
	must(t, err)
	if a := attr(t, walk(t, host, "f")); a.UID != uint32(os.Getuid()) || a.GID != uint32(os.Getgid()) {
		t.Errorf("the host sees owner %d:%d", a.UID, a.GID)
	}
	// the guest's root is above modes, and the files it gives away go to whom it says
	guestRoot, err := c.Attach(ctx, "", "", 0)
	must(t, err)
	g := create(t, guestRoot, "g", "x", 0o600)
	must(t, g.SetAttr(ctx, chown(4321, 4321)))
	if a := attr(t, walk(t, host, "g")); a.UID != 4321 || a.GID != 4321 {
		t.Errorf("the host sees owner %d:%d of what the guest gave away", a.UID, a.GID)
	}
	open(t, guestRoot, syscall.O_RDWR, "f")
	// a user of the guest with the number of the server's own is another
	twin, err := c.Attach(ctx, "", "", serverUID)
	must(t, err)
	if serverUID != 0 {
		want(t, "open another's file", walk(t, twin, "f").Open(ctx, syscall.O_RDONLY), syscall.EACCES)
	}
	h := create(t, guestRoot, "h", "x", 0o600)
	must(t, h.SetAttr(ctx, chown(serverUID, serverGID)))
	if a := attr(t, h); a.UID != serverUID || a.GID != serverGID {
		t.Errorf("the guest sees owner %d:%d of its user %d", a.UID, a.GID, serverUID)
	}
	if a := attr(t, walk(t, host, "h")); a.UID != 1234 {
		t.Errorf("the host takes it for %d's", a.UID)
	}
}
