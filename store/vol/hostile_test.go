package vol

import (
	"errors"
	"maps"
	"strings"
	"syscall"
	"testing"

	"bazil/merge"
)

// stranger is a version that a peer made up.
func stranger(n uint64, kind merge.Kind, content string, size int64) merge.Version {
	d := merge.Dot{Replica: 99, N: n}
	return merge.Version{Dot: d, Kind: kind, Content: content, Size: size, MStamp: merge.Stamp{Dot: d}}
}

func strangeState(es ...NamedEntry) DirState {
	far := merge.Context{{Replica: 99, N: 1 << 60}}
	for i := range es {
		if len(es[i].Versions) > 0 && es[i].Attrs == nil {
			d := merge.Dot{Replica: 99, N: 1}
			es[i].Attrs = []merge.Attr{{Stamp: merge.Stamp{Dot: d}, Dots: []merge.Dot{d}}}
		}
	}
	return DirState{Dir: 1, View: merge.View{Ctx: far, Max: far}, Entries: es}
}

func named(name string, vs ...merge.Version) NamedEntry {
	return NamedEntry{Name: name, Entry: merge.Entry{Versions: vs}}
}

// TestLyingPeer: what cannot be is refused as a whole, and changes nothing.
func TestLyingPeer(t *testing.T) {
	v := testVolume(t)
	writeFile(t, v.Root(), "f", "x")
	good := named("a", stranger(1, merge.KindFile, "", 0))
	many := named("f")
	for i := range uint64(merge.MaxVersions + 1) {
		many.Versions = append(many.Versions, stranger(i+1, merge.KindSymlink, strings.Repeat("t", int(i%4000)+1), int64(i%4000)+1))
	}
	for what, bad := range map[string]DirState{
		"no name":             strangeState(good, named("", stranger(1, merge.KindFile, "", 0))),
		"dots":                strangeState(named(".", stranger(1, merge.KindDir, "", 0)), good),
		"parent":              strangeState(named("..", stranger(1, merge.KindDir, "", 0)), good),
		"slash":               strangeState(good, named("b/c", stranger(1, merge.KindFile, "", 0))),
		"zero byte":           strangeState(good, named("b\x00", stranger(1, merge.KindFile, "", 0))),
		"long name":           strangeState(good, named(strings.Repeat("n", 256), stranger(1, merge.KindFile, "", 0))),
		"order":               strangeState(good, named("Z", stranger(1, merge.KindFile, "", 0))),
		"twice":               strangeState(good, good),
		"body":                strangeState(good, named("b", stranger(1, merge.KindFile, "\x09\x09", 2))),
		"mark":                strangeState(good, named("b", stranger(1, merge.KindFile, newMark(), 0))),
		"size":                strangeState(good, named("b", stranger(1, merge.KindFile, "\x01\x02xyz", 4))),
		"kind":                strangeState(good, named("b", stranger(1, 77, "", 0))),
		"target":              strangeState(good, named("b", stranger(1, merge.KindSymlink, "", 0))),
		"directory's content": strangeState(good, named("b", stranger(1, merge.KindDir, "x", 0))),
		"zero dot":            strangeState(good, named("b", stranger(0, merge.KindFile, "", 0))),
		"context":             {View: merge.View{Ctx: merge.Context{{Replica: 0, N: 1}}}},
		"too many versions":   strangeState(good, many),
		"root":                {Root: merge.Entry{Versions: []merge.Version{stranger(1, merge.KindDir, "", 0)}}},
	} {
		before := tree(t, v)
		_, changed, err := v.Apply(ctx, 0, bad)
		if err == nil || changed || !maps.Equal(before, tree(t, v)) {
			t.Errorf("%s: taken, error %v", what, err)
		}
	}
	if _, _, err := v.Apply(ctx, 12345, strangeState(good)); !errors.Is(err, syscall.ESTALE) {
		t.Error(err)
	}
	if names(t, v.Root()) != "f " {
		t.Fatal(names(t, v.Root()))
	}
	subs, changed, err := v.Apply(ctx, 0, strangeState(good, named("dev", stranger(1, merge.KindDevice, "", 0))))
	if err != nil || !changed || len(subs) > 0 || names(t, v.Root()) != "a f " {
		t.Fatal(names(t, v.Root()), err)
	}
}

// TestNewReplica: a peer that knows more of our changes than we made.
func TestNewReplica(t *testing.T) {
	v := testVolume(t)
	writeFile(t, v.Root(), "f", "x")
	was := v.Replica()
	future := merge.Context{{Replica: was, N: 1 << 40}}
	_, _, err := v.Apply(ctx, 0, DirState{View: merge.View{Ctx: future, Max: future}})
	ok(t, err)
	if v.Replica() == was {
		t.Fatal("goes on under an ID that another has")
	}
	is := v.Replica()
	ok(t, v.NewReplica(ctx))
	if v.Replica() == is {
		t.Fatal("same ID")
	}
}
