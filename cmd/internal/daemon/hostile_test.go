package daemon

import (
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"bazil/p9srv"
	"bazil/p9srv/p9test"
)

// TestHostileConnections has clients that read no replies, that flood, that
// block all their requests, and that hold all they can, at once. Others are
// served meanwhile, and nothing is left of them when their connections die.
func TestHostileConnections(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v")
	root := attach(t, d, "v")
	f := created(t, attach(t, d, ""), "v", "big")
	if _, err := f.WriteAt(t.Context(), make([]byte, 4<<20), 0); err != nil {
		t.Fatal(err)
	}
	before := held(t, d)
	goroutines := runtime.NumGoroutine()
	bad := []net.Conn{deafClient(t, d), flooder(t, d), blocker(t, d), hoarder(t, d)}
	eventually(t, "files and nodes held by them", func() bool { return held(t, d).Refs > before.Refs+1000 })
	var took []time.Duration
	for range 200 {
		start := time.Now()
		if _, err := root.Attr(t.Context()); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("beside %d hostile clients a getattr takes %v, nine of ten at most %v", len(bad), took[len(took)/2], took[len(took)*9/10])
	if took[0] > 10*time.Millisecond {
		t.Errorf("a getattr takes %v at best", took[0])
	}
	write(t, d, "v/beside", "them")
	wantFile(t, d, "v/beside", "them")
	if l, err := f.Lock(t.Context(), p9srv.LockRequest{Type: p9srv.LockWrite, Client: "good"}); err != nil || l != p9srv.LockBlocked {
		t.Errorf("a lock in the way of theirs: %v, %v", l, err)
	}
	for _, c := range bad {
		c.Close()
	}
	const ours = 4 // what write, wantFile and their connections hold since
	eventually(t, "nothing held of them", func() bool {
		s := held(t, d)
		return s.Refs <= before.Refs+ours && s.Handles <= before.Handles+ours
	})
	eventually(t, "their goroutines ended", func() bool { return runtime.NumGoroutine() <= goroutines+4*ours })
	if l, err := f.Lock(t.Context(), p9srv.LockRequest{Type: p9srv.LockWrite, Client: "good"}); err != nil || l != p9srv.LockOK {
		t.Errorf("a lock where theirs was: %v, %v", l, err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	t.Logf("%d MiB in use in the end", m.HeapAlloc>>20)
	if m.HeapAlloc > 512<<20 {
		t.Errorf("%d MiB in use", m.HeapAlloc>>20)
	}
}

type holding struct{ Handles, Refs int64 }

// held is what clients hold of the volume v.
func held(t *testing.T, d *Daemon) holding {
	t.Helper()
	s, err := d.volumes.get("v").vol.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return holding{s.Handles, s.Refs}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("not: ", what)
		}
	}
}

// rawClient is a connection with the volume's root as fid 0, the whole tree's
// as fid 1 and the opened big file as fid 2.
func rawClient(t *testing.T, d *Daemon) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(d.store.Dir(), SocketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	p9test.Say(t, c, "Tversion tag=notag version=9P2000.L msize=1048576", "Rversion")
	p9test.Say(t, c, `Tattach fid=0 uname=u aname=v n_uname=0`, "Rattach")
	p9test.Say(t, c, `Tattach fid=1 uname=u aname="" n_uname=0`, "Rattach")
	p9test.Say(t, c, "Twalk fid=0 newfid=2 names=big", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=2 flags=2", "Rlopen")
	c.SetReadDeadline(time.Time{})
	return c
}

// send writes messages until the server takes no more, or ends the connection.
func send(c net.Conn, forever bool, message func(i int) string) {
	go func() {
		for i := 0; forever || i < 60000; i++ {
			msg, err := p9test.Encode(message(i), "9P2000.L")
			if err != nil {
				panic(err)
			}
			if _, err := c.Write(msg); err != nil {
				return
			}
		}
	}()
}

// drain reads replies and forgets them.
func drain(c net.Conn) {
	go func() {
		buf := make([]byte, 1<<16)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
}

// deafClient asks for megabytes and reads nothing.
func deafClient(t *testing.T, d *Daemon) net.Conn {
	c := rawClient(t, d)
	send(c, true, func(i int) string { return "Tread fid=2 offset=0 count=1000000 tag=" + strconv.Itoa(i%60000) })
	return c
}

// flooder asks as fast as it can.
func flooder(t *testing.T, d *Daemon) net.Conn {
	c := rawClient(t, d)
	drain(c)
	send(c, true, func(i int) string {
		return []string{"Tgetattr fid=0 mask=0x7ff", "Tread fid=2 offset=0 count=4096", "Twalk fid=0 newfid=9 names=none", "Tstatfs fid=0"}[i%4] + " tag=" + strconv.Itoa(i%60000)
	})
	return c
}

// blocker has more reads of the log wait than a connection may have.
func blocker(t *testing.T, d *Daemon) net.Conn {
	c := rawClient(t, d)
	p9test.Say(t, c, "Twalk fid=1 newfid=3 names=ctl,log", "Rwalk")
	p9test.Say(t, c, "Tlopen fid=3 flags=0", "Rlopen")
	c.SetReadDeadline(time.Time{})
	drain(c)
	send(c, false, func(i int) string { return "Tread fid=3 offset=0 count=4096 tag=" + strconv.Itoa(i) })
	return c
}

// hoarder takes fids, open files, locks and attributes.
func hoarder(t *testing.T, d *Daemon) net.Conn {
	c := rawClient(t, d)
	drain(c)
	send(c, false, func(i int) string {
		n := strconv.Itoa(i)
		switch i % 4 {
		case 0:
			return "Twalk fid=0 newfid=" + strconv.Itoa(100+i) + " names=big tag=" + n
		case 1:
			return "Tlopen flags=2 fid=" + strconv.Itoa(100+i-1) + " tag=" + n
		case 2:
			return "Tlock fid=2 type=1 flags=0 start=" + strconv.Itoa(2*i) + " length=1 proc=1 client=bad tag=" + n
		}
		return "Txattrcreate name=user.x size=65536 flags=0 fid=" + strconv.Itoa(100+i-3) + " tag=" + n
	})
	return c
}
