package export

import (
	"context"
	"math/rand"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// lockOn asks for a lock and says how it was answered.
func lockOn(t *testing.T, f *client.Fid, typ p9srv.LockType, start, length uint64, proc uint32) p9srv.LockStatus {
	t.Helper()
	st, err := f.Lock(t.Context(), p9srv.LockRequest{Type: typ, Flags: 1, Start: start, Length: length, ProcID: proc, Client: "host"})
	must(t, err)
	return st
}

// TestLocksAcrossExports has the locks of one client keep out those of another
// export, until they are given up in one of the ways there are.
func TestLocksAcrossExports(t *testing.T) {
	ctx := t.Context()
	m, sock, root := volumeRoot(t)
	create(t, root, "f", "x", 0o644).Clunk(ctx)
	other, err := attach(t, serve(t, m, "second"), "files", 0)
	must(t, err)
	g := open(t, other, syscall.O_RDWR, "f")
	for what, giveUp := range map[string]func(c *client.Conn, f *client.Fid){
		"unlocked":        func(_ *client.Conn, f *client.Fid) { lockOn(t, f, p9srv.LockUnlock, 0, 0, 1) },
		"clunked":         func(_ *client.Conn, f *client.Fid) { must(t, f.Clunk(ctx)) },
		"connection lost": func(c *client.Conn, _ *client.Fid) { c.Close() },
	} {
		c := connect(t, sock)
		top, err := c.Attach(ctx, "", "", 0)
		must(t, err)
		f := open(t, top, syscall.O_RDWR, "f")
		if st := lockOn(t, f, p9srv.LockWrite, 10, 10, 1); st != p9srv.LockOK {
			t.Fatalf("%s: the first lock: %v", what, st)
		}
		if st := lockOn(t, g, p9srv.LockRead, 19, 1, 1); st != p9srv.LockBlocked {
			t.Errorf("%s: a lock in its way: %v", what, st)
		}
		if l, err := g.GetLock(ctx, p9srv.LockRequest{Type: p9srv.LockRead, Client: "g"}); err != nil || l.Type != p9srv.LockWrite || l.Start != 10 || l.Length != 10 || l.ProcID != 1 {
			t.Errorf("%s: what is in the way: %+v, %v", what, l, err)
		}
		if st := lockOn(t, g, p9srv.LockWrite, 20, 0, 1); st != p9srv.LockOK {
			t.Errorf("%s: a lock beside it: %v", what, st)
		}
		lockOn(t, g, p9srv.LockUnlock, 0, 0, 1)
		// who waits asks again and again, as v9fs and the FUSE bridge do
		granted := make(chan struct{})
		go func() {
			defer close(granted)
			for {
				st, err := g.Lock(ctx, p9srv.LockRequest{Type: p9srv.LockWrite, Flags: 1, ProcID: 2, Client: "host"})
				if err != nil || st == p9srv.LockOK {
					return
				}
			}
		}()
		giveUp(c, f)
		<-granted
		if st := lockOn(t, g, p9srv.LockUnlock, 0, 0, 2); st != p9srv.LockOK {
			t.Errorf("%s: %v", what, st)
		}
	}
}

// TestLockRanges compares random locks of three owners with a table of bytes.
func TestLockRanges(t *testing.T) {
	const bytes, owners = 40, 3
	_, _, root := volumeRoot(t)
	create(t, root, "f", "x", 0o644).Clunk(t.Context())
	f := open(t, root, syscall.O_RDWR, "f")
	var held [bytes][owners]p9srv.LockType
	for i := range held {
		held[i] = [owners]p9srv.LockType{p9srv.LockUnlock, p9srv.LockUnlock, p9srv.LockUnlock}
	}
	r := rand.New(rand.NewSource(1))
	for range 5000 {
		start, who, typ := r.Intn(bytes), r.Intn(owners), p9srv.LockType(r.Intn(3))
		length := 1 + r.Intn(bytes-start)
		free := true
		for i := start; i < start+length; i++ {
			for o, h := range held[i] {
				if o != who && h != p9srv.LockUnlock && typ != p9srv.LockUnlock && (h == p9srv.LockWrite || typ == p9srv.LockWrite) {
					free = false
				}
			}
		}
		got := lockOn(t, f, typ, uint64(start), uint64(length), uint32(who))
		if (got == p9srv.LockOK) != free {
			t.Fatalf("lock %d of %d+%d by %d: %v; held: %v", typ, start, length, who, got, held)
		}
		for i := start; free && i < start+length; i++ {
			held[i][who] = typ
		}
	}
}

// TestLockNeedsTheMode is refused as fcntl(2) does.
func TestLockNeedsTheMode(t *testing.T) {
	ctx := context.Background()
	_, _, root := volumeRoot(t)
	create(t, root, "f", "x", 0o644).Clunk(ctx)
	_, err := open(t, root, syscall.O_RDONLY, "f").Lock(ctx, p9srv.LockRequest{Type: p9srv.LockWrite})
	want(t, "lock for writing", err, syscall.EBADF)
	_, err = open(t, root, syscall.O_WRONLY, "f").Lock(ctx, p9srv.LockRequest{Type: p9srv.LockRead})
	want(t, "lock for reading", err, syscall.EBADF)
}
