package merge

import (
	"testing"

	"pgregory.net/rapid"
)

func TestContextLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, d := genContext(t), genContext(t), genDot(t)
		ab := a.Join(b)
		switch {
		case ab.Valid() != nil || a.With(d).Valid() != nil:
			t.Fatal("not valid")
		case !ab.Covers(a) || !ab.Covers(b) || !ab.Equal(b.Join(a)):
			t.Fatal("not a join")
		case ab.Has(d) != (a.Has(d) || b.Has(d)):
			t.Fatal("has more or less")
		case a.Covers(b) != ab.Equal(a):
			t.Fatal("covers")
		case !b.Join(a.Without(b)).Equal(ab) || len(a.Without(ab)) > 0:
			t.Fatal("without")
		case !a.With(d).Has(d) || !a.With(d).Covers(a) || a.Has(d) && !a.With(d).Equal(a):
			t.Fatal("with")
		}
	})
}

func TestJoinOfEqualContextsAllocatesNothing(t *testing.T) {
	a := Context{{1, 5}, {2, 7}, {9, 1}}
	b := Context{{1, 5}, {2, 6}}
	n := testing.AllocsPerRun(100, func() {
		if !a.Join(a).Equal(a) || !a.Join(b).Equal(a) || !b.Join(a).Equal(a) || len(b.Without(a)) > 0 {
			t.Error("wrong")
		}
	})
	if n > 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestInvalidContexts(t *testing.T) {
	for name, c := range map[string]Context{
		"zero replica": {{0, 1}}, "zero number": {{1, 0}}, "twice": {{1, 1}, {1, 2}}, "order": {{2, 1}, {1, 1}},
		"long": make(Context, MaxReplicas+1),
	} {
		if c.Valid() == nil {
			t.Errorf("%s: valid", name)
		}
	}
}
