package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bazil/store/vol"
)

func TestGreeting(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.write("hello.txt", "hello")
	if r := b.pull(a); r.Changed != 1 || r.Names != 1 {
		t.Fatalf("%+v", r)
	}
	b.wantTree("hello.txt")
}

func TestPullAgainTransfersNothing(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.mkdir("d")
	a.write("d/f", "x")
	b.pull(a)
	for _, way := range [][2]*device{{b, a}, {a, b}, {b, a}} {
		if r := way[0].pull(way[1]); r.Names != 0 || r.Changed != 0 {
			t.Fatalf("%+v", r)
		}
	}
}

// TestOtherVolume: of another volume nothing is joined, though it tells of its
// root before it tells which it is.
func TestOtherVolume(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.write("theirs", "x")
	b.write("ours", "y")
	src := &otherID{a.source(), make(chan struct{})}
	if _, err := b.Pull(ctx, src, Options{}); !errors.Is(err, ErrOtherVolume) {
		t.Fatal(err)
	}
	b.wantTree("ours")
}

// otherID tells which volume it is when it has told of its root.
type otherID struct {
	*source
	told chan struct{}
}

func (s *otherID) Info(ctx context.Context) (vol.Info, error) {
	<-s.told
	in, err := s.source.Info(ctx)
	in.ID[0]++
	return in, err
}

func (s *otherID) Dirs(ctx context.Context, reqs []vol.DirRequest, got func(int, vol.DirState) error) error {
	return s.source.Dirs(ctx, reqs, func(i int, d vol.DirState) error {
		close(s.told)
		return got(i, d)
	})
}

// TestOneNameOfMany: of a directory of many names a pull gets one, if one has
// changed, and none if the other side had the change from here.
func TestOneNameOfMany(t *testing.T) {
	const many = 3000
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.mkdir("d")
	for i := range many {
		a.write(fmt.Sprint("d/", i), "x")
	}
	if r := b.pull(a); r.Names != 1+many {
		t.Fatalf("%+v", r)
	}
	for i := range 5 {
		a.write(fmt.Sprint("d/", i), "changed")
		b.remove(fmt.Sprint("d/", 9+i))
		if r := b.pull(a); r.Names != 2 || r.Dirs != 2 {
			t.Errorf("%+v", r)
		}
		if r := a.pull(b); r.Names != 2 || r.Dirs != 2 {
			t.Errorf("%+v", r)
		}
	}
	b.wantTree(a.tree())
}

func TestSubdirectoriesAreSkippedUnlessChanged(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	for i := range 20 {
		a.mkdir(fmt.Sprint("d", i))
		a.write(fmt.Sprint("d", i, "/f"), fmt.Sprint(i))
	}
	if r := b.pull(a); r.Dirs != 21 {
		t.Fatalf("%+v", r)
	}
	a.write("d7/f", "changed")
	if r := b.pull(a); r.Dirs != 2 {
		t.Fatalf("%+v", r)
	}
	b.wantSame(a)
}

// wantSame compares the trees of two devices, conflicts and all.
func (d *device) wantSame(o *device) {
	d.tb.Helper()
	if d.tree() != o.tree() {
		d.tb.Fatalf("trees differ:\n%s\n%s", d.tree(), o.tree())
	}
	if a, b := len(d.conflicts()), len(o.conflicts()); a != b {
		d.tb.Fatalf("%d and %d conflicts", a, b)
	}
}

func TestDeletionTravels(t *testing.T) {
	ds := newDevices(t, 3)
	a, b, c := ds[0], ds[1], ds[2]
	a.mkdir("d")
	a.write("d/f", "x")
	a.write("g", "y")
	b.pull(a)
	c.pull(b)
	c.remove("d/f")
	c.remove("d")
	c.remove("g")
	b.pull(c)
	b.wantTree("")
	a.pull(b)
	a.wantTree("")
	b.pull(a)
	b.wantTree("")
}

func TestRenameOfADirectory(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.mkdir("d")
	a.mkdir("d/e")
	a.write("d/e/f", "deep")
	b.pull(a)
	b.rename("d", "moved")
	a.pull(b)
	a.wantTree("moved/ moved/e/ moved/e/f")
	fetchAll(t, a, b)
	if got := a.read("moved/e/f"); got != "deep" {
		t.Fatal(got)
	}
	b.pull(a)
	b.wantSame(a)
}

func TestEditsOfBothConflict(t *testing.T) {
	ds := newDevices(t, 3)
	a, b, c := ds[0], ds[1], ds[2]
	a.write("f", "base")
	b.pull(a)
	c.pull(a)
	a.write("f", "from a")
	b.write("f", "from b")
	gossip(ds)
	for _, d := range ds {
		if n := len(d.conflicts()); n != 1 {
			t.Fatalf("%d conflicts", n)
		}
		fetchAll(t, d, a)
		fetchAll(t, d, b)
	}
	if a.read("f") != "from a" || b.read("f") != "from b" {
		t.Fatal("what is shown changed where it was written")
	}
	conflict := c.conflicts()[0]
	check(t, c.v.Resolve(ctx, "f", conflict.Dots(), conflict.Siblings[0].Dot))
	gossip(ds)
	for _, d := range ds {
		if n := len(d.conflicts()); n != 0 || d.read("f") != c.read("f") {
			t.Fatalf("%d conflicts", n)
		}
	}
}

func TestEqualEditsDoNotConflict(t *testing.T) {
	ds := newDevices(t, 3)
	for _, d := range ds {
		d.mkdir("d")
		d.write("d/f", "the same everywhere")
	}
	gossip(ds)
	for _, d := range ds {
		d.wantTree("d/ d/f")
		if len(d.conflicts()) != 0 {
			t.Fatal("conflict")
		}
		if r := d.pull(ds[0]); d != ds[0] && r.Names != 0 {
			t.Fatalf("%+v", r)
		}
	}
	ds[1].remove("d/f")
	gossip(ds)
	ds[0].wantTree("d/")
	ds[2].wantTree("d/")
}

func TestEditSurvivesDeletion(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.mkdir("d")
	a.write("d/f", "x")
	b.pull(a)
	a.remove("d/f")
	a.remove("d")
	b.write("d/f", "edited")
	gossip(ds)
	a.wantTree("d/ d/f")
	b.wantSame(a)
}

// TestInterruptedPullKeepsWhatItHas cuts a pull after every number of
// directories; the next goes on and nothing is asked for twice for nothing.
func TestInterruptedPullKeepsWhatItHas(t *testing.T) {
	a := newDevice(t)
	for i := range 3 {
		a.mkdir(fmt.Sprint(i))
		for j := range 3 {
			a.mkdir(fmt.Sprint(i, "/", j))
			a.write(fmt.Sprint(i, "/", j, "/f"), fmt.Sprint(i, j))
		}
	}
	a.v.Sync(ctx)
	for cut := int64(1); cut < 13; cut++ {
		b := newDevice(t)
		src := a.source()
		src.cutAfter = cut
		r, err := b.Pull(ctx, src, Options{})
		if !errors.Is(err, errCut) || r.Complete || int64(r.Dirs) > cut || r.Dirs == 0 {
			t.Fatalf("cut %d: %+v %v", cut, r, err)
		}
		second := b.pull(a)
		if second.Dirs > 13-r.Dirs+4 {
			t.Fatalf("cut %d: %d directories, then %d", cut, r.Dirs, second.Dirs)
		}
		b.wantSame(a)
		if third := b.pull(a); third.Names != 0 {
			t.Fatalf("%+v", third)
		}
	}
}

func TestPullIsCancelled(t *testing.T) {
	ds := newDevices(t, 2)
	ds[0].write("f", "x")
	ctx, cancel := context.WithCancel(ctx)
	src := ds[0].source()
	src.lie = func(*vol.DirState) { cancel() }
	if _, err := ds[1].Pull(ctx, src, Options{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestLongWay: 601 directories must not take anything like 601 ways to the peer
// and back. The clock is one that only waiting moves.
func TestLongWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := newDevices(t, 2)
		a, b := ds[0], ds[1]
		for i := range 300 {
			a.mkdir(fmt.Sprint(i))
			a.mkdir(fmt.Sprint(i, "/sub"))
			a.write(fmt.Sprint(i, "/sub/f"), fmt.Sprint(i))
		}
		start := time.Now()
		_, err := b.Pull(ctx, &distant{a.source()}, Options{})
		check(t, err)
		took := time.Since(start)
		b.wantSame(a)
		if took > 10*longWay {
			t.Errorf("it took %v", took)
		}
	})
}

const longWay = 20 * time.Millisecond

// distant is a source that far away.
type distant struct{ *source }

func (s *distant) Dirs(ctx context.Context, reqs []vol.DirRequest, got func(int, vol.DirState) error) error {
	time.Sleep(longWay)
	return s.source.Dirs(ctx, reqs, got)
}

func TestRestoredBackupTakesANewID(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.write("f", "one")
	backup := a.copyFile()
	a.write("f", "two")
	a.write("g", "only the peer has it")
	b.pull(a)
	a.restore(backup)
	a.wantTree("f")
	old := a.v.Replica()
	a.pull(b)
	if a.v.Replica() == old {
		t.Fatal("goes on under its old ID")
	}
	a.wantTree("f g")
	a.write("h", "new")
	b.pull(a)
	b.wantTree("f g h")
	fetchAll(t, a, b)
	if a.read("f") != "two" || len(a.conflicts())+len(b.conflicts()) != 0 {
		t.Fatal(a.read("f"))
	}
}

func TestCloneTakesANewID(t *testing.T) {
	a := newDevice(t)
	a.write("f", "x")
	backup := a.copyFile()
	b := newDevice(t)
	b.restore(backup)
	if a.v.Replica() == b.v.Replica() {
		b.pull(a)
	}
	if a.v.Replica() == b.v.Replica() {
		t.Fatal("two replicas with one ID")
	}
	a.write("a", "1")
	b.write("b", "2")
	gossip([]*device{a, b})
	a.wantTree("a b f")
	b.wantSame(a)
}
