package merge

import (
	"testing"

	"pgregory.net/rapid"
)

func TestJoinIsCommutative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hs := genHolders(t)
		if ab, ba := joined(hs[0], hs[1]), joined(hs[1], hs[0]); !ab.equal(ba) {
			t.Fatalf("%+v\n%+v", ab, ba)
		}
	})
}

func TestJoinIsAssociative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hs := genHolders(t)
		left := joined(joined(hs[0], hs[1]), hs[2])
		right := joined(hs[0], joined(hs[1], hs[2]))
		if !left.equal(right) {
			t.Fatalf("%+v\n%+v", left, right)
		}
	})
}

func TestJoinIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hs := genHolders(t)
		if aa := joined(hs[0], hs[0]); !aa.equal(hs[0]) {
			t.Fatalf("%+v\n%+v", aa, hs[0])
		}
		ab := joined(hs[0], hs[1])
		if abb := joined(ab, hs[1]); !abb.equal(ab) {
			t.Fatalf("%+v\n%+v", abb, ab)
		}
	})
}

// TestJoinStaysValid also holds for what nobody could have made.
func TestJoinStaysValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genEntry(t), genEntry(t)
		e := Join(a, genContext(t), b, genContext(t))
		if err := e.Validate(); err != nil && len(e.Versions) <= MaxVersions {
			t.Fatal(err)
		}
	})
}

// TestJoinOfEqualStatesAllocatesNothing: most names of most pulls are so.
func TestMeetingOfEqualNamesAllocatesNothing(t *testing.T) {
	h := &holder{id: 7}
	h.write("x", nil)
	m := Meeting{Mine: View{Ctx: h.known}, Theirs: View{Ctx: h.known}}
	if n := testing.AllocsPerRun(100, func() { m.Join(h.Entry, h.Entry) }); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkMeeting(b *testing.B) {
	h := &holder{id: 7}
	h.write("x", nil)
	for _, c := range []struct {
		name   string
		mine   Entry
		theirs Entry
	}{{"equal", h.Entry, h.Entry}, {"new", Entry{}, h.Entry}, {"local", h.Entry, Entry{}}} {
		b.Run(c.name, func(b *testing.B) {
			m := Meeting{Mine: View{Ctx: Context{{3, 9}}}, Theirs: View{Ctx: h.known}, Final: true}
			if c.name == "local" {
				m.Mine, m.Theirs = m.Theirs, m.Mine
			}
			b.ReportAllocs()
			for b.Loop() {
				m.Join(c.mine, c.theirs)
			}
		})
	}
}
