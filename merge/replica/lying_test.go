package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bazil/merge"
	"bazil/store"
	"bazil/store/vol"
)

// TestLyingPeer: whatever a peer says, a pull from it ends with an error that
// tells why, and changes nothing.
func TestLyingPeer(t *testing.T) {
	ds := newDevices(t, 2)
	ds[0].write("f", "x")
	ds[1].write("mine", "y")
	dot := merge.Dot{Replica: 99, N: 1}
	file := func(name string) vol.NamedEntry {
		return vol.NamedEntry{Name: name, Entry: merge.Entry{
			Versions: []merge.Version{{Dot: dot, Kind: merge.KindFile, MStamp: merge.Stamp{Time: 1, Dot: dot}}},
			Attrs:    []merge.Attr{{Dots: []merge.Dot{dot}, Mode: 0o644, Stamp: merge.Stamp{Time: 1, Dot: dot}}},
		}}
	}
	names := func(names ...string) func(d *vol.DirState) {
		return func(d *vol.DirState) {
			d.Entries = nil
			for _, n := range names {
				d.Entries = append(d.Entries, file(n))
			}
		}
	}
	entry := func(change func(e *merge.Entry)) func(d *vol.DirState) {
		return func(d *vol.DirState) {
			e := file("f")
			change(&e.Entry)
			d.Entries = []vol.NamedEntry{e}
		}
	}
	for name, lie := range map[string]func(d *vol.DirState){
		"slash":             names("a/b"),
		"dot":               names("."),
		"dot dot":           names(".."),
		"no name":           names(""),
		"NUL":               names("a\x00"),
		"long name":         names(strings.Repeat("n", 256)),
		"twice":             names("a", "a"),
		"out of order":      names("b", "a"),
		"zero dot":          entry(func(e *merge.Entry) { e.Versions[0].Dot = merge.Dot{} }),
		"kind":              entry(func(e *merge.Entry) { e.Versions[0].Kind = 77 }),
		"size":              entry(func(e *merge.Entry) { e.Versions[0].Size = -1 }),
		"mode":              entry(func(e *merge.Entry) { e.Attrs[0].Mode = 0o100644 }),
		"shared dot":        entry(func(e *merge.Entry) { e.Versions = append(e.Versions, e.Versions[0]) }),
		"long content":      entry(func(e *merge.Entry) { e.Versions[0].Content = strings.Repeat("c", merge.MaxContent+1) }),
		"root version":      func(d *vol.DirState) { d.Root = file("").Entry },
		"context order":     func(d *vol.DirState) { d.View.Ctx = merge.Context{{Replica: 2, N: 1}, {Replica: 1, N: 1}} },
		"context zero":      func(d *vol.DirState) { d.View.Max = merge.Context{{Replica: 2}} },
		"context length":    func(d *vol.DirState) { d.View.Gone = make(merge.Context, merge.MaxReplicas+1) },
		"sub's context":     func(d *vol.DirState) { d.Entries[0].SubView.Ctx = merge.Context{{}} },
		"directory twice":   func(d *vol.DirState) { d.Entries = []vol.NamedEntry{sub("a", 5, dot), sub("b", 5, dot)} },
		"directory in self": func(d *vol.DirState) { d.Dir, d.Entries = 1, []vol.NamedEntry{sub("a", 1, dot)} },
	} {
		t.Run(name, func(t *testing.T) {
			src := ds[0].source()
			src.lie = func(d *vol.DirState) {
				d.View.Max = d.View.Max.With(dot)
				lie(d)
			}
			_, err := ds[1].Pull(ctx, src, Options{})
			if err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			t.Log(err)
			ds[1].wantTree("mine")
		})
	}
}

// sub is a name with a directory of the peer's number under it.
func sub(name string, number uint64, dot merge.Dot) vol.NamedEntry {
	return vol.NamedEntry{Name: name, Sub: number, SubView: merge.View{Max: merge.Context{dot}}}
}

// TestEndlessDepth: a peer makes up directories in directories without end.
func TestEndlessDepth(t *testing.T) {
	b := newDevice(t)
	src := &endless{}
	_, err := b.Pull(ctx, src, Options{})
	if !errors.Is(err, errPeer) || src.told > maxDepth+2 {
		t.Fatal(src.told, err)
	}
}

// endless is a peer in each of whose directories there is another.
type endless struct{ told int }

func (s *endless) Info(context.Context) (vol.Info, error) {
	return vol.Info{ID: volumeID, Replica: 98}, nil
}

func (s *endless) Dirs(ctx context.Context, reqs []vol.DirRequest, got func(int, vol.DirState) error) error {
	for i := range reqs {
		s.told++
		dot := merge.Dot{Replica: 98, N: uint64(s.told) + 1}
		d := vol.DirState{Dir: uint64(s.told), View: merge.View{Max: merge.Context{dot}}}
		d.Entries = []vol.NamedEntry{sub("d", uint64(s.told)+1, dot)}
		if err := got(i, d); err != nil {
			return err
		}
	}
	return nil
}

func (s *endless) Chunks(context.Context, []store.ID, func(int, []byte) error) error { return nil }

// TestAnswersInTheWrongPlace: too few, too many, or out of order.
func TestAnswersInTheWrongPlace(t *testing.T) {
	for name, places := range map[string][]int{"none": {}, "two": {0, 1}, "other": {1}, "negative": {-1}, "again": {0, 0}} {
		t.Run(name, func(t *testing.T) {
			ds := newDevices(t, 2)
			ds[0].write("f", "x")
			_, err := ds[1].Pull(ctx, &misplaced{ds[0].source(), places}, Options{})
			if !errors.Is(err, errPeer) {
				t.Fatal(err)
			}
		})
	}
}

type misplaced struct {
	*source
	places []int
}

func (s *misplaced) Dirs(ctx context.Context, reqs []vol.DirRequest, got func(int, vol.DirState) error) error {
	var answer vol.DirState
	if err := s.source.Dirs(ctx, reqs, func(_ int, d vol.DirState) error { answer = d; return nil }); err != nil {
		return err
	}
	for _, i := range s.places {
		if err := got(i, answer); err != nil {
			return err
		}
	}
	return nil
}

// TestChangesFromTheFuture: a peer that keeps telling of changes this replica
// has not made, whatever ID it takes, is refused.
func TestChangesFromTheFuture(t *testing.T) {
	ds := newDevices(t, 2)
	a, b := ds[0], ds[1]
	a.mkdir("d")
	a.write("d/f", "x")
	src := a.source()
	src.lie = func(d *vol.DirState) {
		d.View.Ctx = d.View.Ctx.With(merge.Dot{Replica: b.v.Replica(), N: 1 << 40})
	}
	if _, err := b.Pull(ctx, src, Options{}); err == nil {
		t.Fatal("believed")
	}
	b.write("mine", "y")
	a.pull(b)
	if !slices.Contains(strings.Fields(a.tree()), "mine") {
		t.Fatal("a change of the replica that was lied about is not taken")
	}
}

// TestHugeListing is taken as it is; nothing but its own size is spent on it.
func TestHugeListing(t *testing.T) {
	ds := newDevices(t, 2)
	dot := merge.Dot{Replica: 99, N: 7}
	src := ds[0].source()
	src.lie = func(d *vol.DirState) {
		d.Same = false
		d.View.Max = d.View.Max.With(dot)
		for i := range 20000 {
			d.Entries = append(d.Entries, vol.NamedEntry{Name: fmt.Sprintf("%06d", i), Entry: merge.Entry{
				Versions: []merge.Version{{Dot: dot, Kind: merge.KindFifo, MStamp: merge.Stamp{Time: 1, Dot: dot}}},
			}})
		}
	}
	r, err := ds[1].Pull(ctx, src, Options{})
	check(t, err)
	if r.Names != 20000 {
		t.Fatalf("%+v", r)
	}
}
