package vol

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"bazil/merge"
)

// disagreed are two replicas that have both heard of both versions of f.
func disagreed(t *testing.T) (a, b *Volume) {
	a, b = pair(t)
	writeFile(t, a.Root(), "f", "from a")
	writeFile(t, b.Root(), "f", "from b")
	meet(t, a, b)
	return a, b
}

// meet lets two replicas hear all of each other.
func meet(t *testing.T, a, b *Volume) {
	t.Helper()
	for range 2 {
		pull(t, a, b, -1)
		pull(t, b, a, -1)
	}
}

func conflictAt(t *testing.T, v *Volume, path string) Conflict {
	t.Helper()
	for _, c := range must[[]Conflict](t)(v.Conflicts(ctx)) {
		if c.Path == path {
			return c
		}
	}
	t.Fatalf("no conflict at %s", path)
	return Conflict{}
}

// shown is the version that the name shows, hidden another one.
func (c *Conflict) shown() (shown, hidden merge.Dot) {
	for _, s := range c.Siblings {
		if s.Shown {
			shown = s.Dot
		} else {
			hidden = s.Dot
		}
	}
	return shown, hidden
}

// TestOppositeResolutions: each device keeps its own version, then they meet:
// both are there, and a second decision ends it.
func TestOppositeResolutions(t *testing.T) {
	a, b := disagreed(t)
	for _, v := range []*Volume{a, b} {
		c := conflictAt(t, v, "f")
		mine, _ := c.shown()
		ok(t, v.Resolve(ctx, "f", c.Dots(), mine))
		if conflicts(t, v) != 0 {
			t.Fatal("not resolved")
		}
	}
	meet(t, a, b)
	for _, v := range []*Volume{a, b} {
		if n := len(conflictAt(t, v, "f").Siblings); n != 2 {
			t.Fatalf("%d versions", n)
		}
	}
	if readFile(t, a.Root(), "f") != "from a" || readFile(t, b.Root(), "f") != "from b" {
		t.Fatal("a choice was lost")
	}
	c := conflictAt(t, a, "f")
	_, theirs := c.shown()
	ok(t, a.Resolve(ctx, "f", c.Dots(), theirs))
	meet(t, a, b)
	if conflicts(t, a)+conflicts(t, b) != 0 || readFile(t, a.Root(), "f") != "from b" || readFile(t, b.Root(), "f") != "from b" {
		t.Fatal("not resolved")
	}
}

// TestResolveSupersedesWhatWasSeen: a version that came in after the conflict
// was looked at stays.
func TestResolveSupersedesWhatWasSeen(t *testing.T) {
	vs := replicas(t, 3)
	for i, v := range vs {
		writeFile(t, v.Root(), "f", string(rune('0'+i)))
	}
	pull(t, vs[0], vs[1], -1)
	c := conflictAt(t, vs[0], "f")
	pull(t, vs[0], vs[2], -1)
	mine, _ := c.shown()
	ok(t, vs[0].Resolve(ctx, "f", c.Dots(), mine))
	if n := len(conflictAt(t, vs[0], "f").Siblings); n != 2 {
		t.Fatalf("%d versions", n)
	}
}

func TestResolveFrom(t *testing.T) {
	for _, n := range []int{0, 5, 70 << 10, 40 << 20} {
		a, b := disagreed(t)
		merged := string(randomBytes(uint64(n), n))
		c := conflictAt(t, a, "f")
		ok(t, a.ResolveFrom(ctx, "f", c.Dots(), strings.NewReader(merged)))
		if conflicts(t, a) != 0 || readFile(t, a.Root(), "f") != merged {
			t.Fatalf("%d bytes: not resolved", n)
		}
		meet(t, a, b)
		if conflicts(t, b) != 0 || attr(t, must[*Node](t)(b.Root().Lookup(ctx, "f"))).Size != int64(n) {
			t.Fatalf("%d bytes: not resolved there", n)
		}
	}
}

// TestResolveBothTwice: two devices that keep both at once agree, without
// another conflict, whoever hears first.
func TestResolveBothTwice(t *testing.T) {
	a, b := disagreed(t)
	var names []string
	for _, v := range []*Volume{a, b} {
		c := conflictAt(t, v, "f")
		got := must[[]string](t)(v.ResolveBoth(ctx, "f", c.Dots()))
		names = append(names, got...)
	}
	if len(names) != 2 || names[0] != names[1] {
		t.Fatal(names)
	}
	meet(t, a, b)
	for _, v := range []*Volume{a, b} {
		if conflicts(t, v) != 0 || readFile(t, v.Root(), "f") != "from b" || readFile(t, v.Root(), names[0]) != "from a" {
			t.Fatalf("%d conflicts", conflicts(t, v))
		}
	}
}

func TestAsideName(t *testing.T) {
	ver := &merge.Version{MTime: 1e18, Dot: merge.Dot{Replica: 0x1234567890abcdef, N: 3}}
	const tag = ".conflict-20010909T014640Z-12345678"
	long := strings.Repeat("ä", 120)
	for _, c := range []struct {
		name string
		n    int
		want string
	}{
		{"plan.txt", 1, "plan" + tag + ".txt"},
		{"plan.txt", 2, "plan" + tag + "-2.txt"},
		{"plan", 1, "plan" + tag},
		{".profile", 1, ".profile" + tag},
		{"a.tar.gz", 1, "a.tar" + tag + ".gz"},
		{long + ".txt", 1, strings.Repeat("ä", 108) + tag + ".txt"},
	} {
		if got := AsideName(c.name, ver, c.n); got != c.want || len(got) > nameMax {
			t.Errorf("%s, %d: %s (%d bytes)", c.name, c.n, got, len(got))
		}
	}
}

// TestResolveBothBesideTaken: names that are taken are left alone.
func TestResolveBothBesideTaken(t *testing.T) {
	a, _ := disagreed(t)
	c := conflictAt(t, a, "f")
	rec := a.root.children["f"].rec
	older := rec.Versions[1-merge.Visible(rec.Versions, merge.Dot{})]
	writeFile(t, a.Root(), AsideName("f", &older, 1), "not this")
	names := must[[]string](t)(a.ResolveBoth(ctx, "f", c.Dots()))
	if len(names) != 1 || names[0] != AsideName("f", &older, 2) || readFile(t, a.Root(), AsideName("f", &older, 1)) != "not this" {
		t.Fatal(names)
	}
}

// TestResolveDirectory: a directory with files in it does not go.
func TestResolveDirectory(t *testing.T) {
	vs := replicas(t, 2)
	a, b := vs[0], vs[1]
	writeFile(t, a.Root(), "d", "a file")
	d := must[*Node](t)(b.Root().Create(ctx, "d", New{Kind: merge.KindDir, Mode: 0o755}))
	writeFile(t, d, "in", "x")
	meet(t, a, b)
	c := conflictAt(t, a, "d")
	_, file := c.shown()
	if err := a.Resolve(ctx, "d", c.Dots(), file); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Fatal(err)
	}
	names := must[[]string](t)(a.ResolveBoth(ctx, "d", c.Dots()))
	meet(t, a, b)
	if conflicts(t, b) != 0 || len(names) != 1 || readFile(t, b.Root(), names[0]) != "a file" {
		t.Fatal(names)
	}
	if in := must[*Node](t)(b.Root().Lookup(ctx, "d")); readFile(t, in, "in") != "x" {
		t.Fatal("directory")
	}
}
