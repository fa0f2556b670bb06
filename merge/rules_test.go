package merge

import (
	"slices"
	"testing"
)

// pair returns two replicas that both have what the first wrote.
func pair(content string) (a, b *holder) {
	a, b = &holder{id: 1}, &holder{id: 2}
	a.write(content, nil)
	b.pull(a)
	return a, b
}

// meet lets two replicas pull from each other, and checks that they agree.
func meet(t *testing.T, a, b *holder) {
	t.Helper()
	a.pull(b)
	b.pull(a)
	a.pull(b)
	if !a.equal(b) {
		t.Fatalf("differ:\n%+v\n%+v", a, b)
	}
}

// want checks which contents there are.
func (h *holder) want(t *testing.T, contents ...string) {
	t.Helper()
	var got []string
	for _, v := range h.Versions {
		got = append(got, v.Kind.String()+" "+v.Content)
	}
	slices.Sort(got)
	got = slices.Compact(got)
	slices.Sort(contents)
	if !slices.Equal(got, contents) {
		t.Fatalf("has %q, want %q", got, contents)
	}
	if h.Conflict() != (len(contents) > 1) {
		t.Fatalf("conflict: %v with %q", h.Conflict(), got)
	}
}

func TestEditReplacesWhatItSaw(t *testing.T) {
	a, b := pair("x")
	b.write("y", b.Seen())
	meet(t, a, b)
	a.want(t, "file y")
}

func TestDeletionLeavesNothing(t *testing.T) {
	a, b := pair("x")
	b.remove()
	meet(t, a, b)
	if a.want(t); len(a.Attrs) > 0 {
		t.Fatal("attributes stay")
	}
}

func TestDeletedDoesNotReturnFromAThird(t *testing.T) {
	a, b := pair("x")
	c := &holder{id: 3}
	c.pull(a)
	b.remove()
	a.pull(b)
	a.pull(c)
	a.want(t)
	c.pull(a)
	c.want(t)
}

func TestDeleteThenCreateIsNoConflict(t *testing.T) {
	a, b := pair("x")
	b.remove()
	b.write("y", nil)
	meet(t, a, b)
	a.want(t, "file y")
}

func TestConcurrentEditsAreSiblings(t *testing.T) {
	a, b := pair("x")
	a.write("y", a.Seen())
	b.write("z", b.Seen())
	meet(t, a, b)
	a.want(t, "file y", "file z")
}

func TestConcurrentCreationsAreSiblings(t *testing.T) {
	a, b := &holder{id: 1}, &holder{id: 2}
	a.write("y", nil)
	b.write("z", nil)
	meet(t, a, b)
	a.want(t, "file y", "file z")
}

func TestEditSurvivesConcurrentDeletion(t *testing.T) {
	a, b := pair("x")
	a.chmod(0o700, 5)
	b.pull(a)
	a.write("y", a.Seen())
	b.remove()
	meet(t, a, b)
	if a.want(t, "file y"); a.Attr().Mode != 0o700 {
		t.Fatal("attributes did not survive")
	}
}

func TestResolutionEndsAConflictEverywhere(t *testing.T) {
	a, b := pair("x")
	c := &holder{id: 3}
	a.write("y", a.Seen())
	b.write("z", b.Seen())
	meet(t, a, b)
	c.pull(a)
	a.write("y", a.Seen())
	for _, h := range []*holder{b, c} {
		meet(t, a, h)
		h.want(t, "file y")
	}
}

func TestOppositeResolutionsConflict(t *testing.T) {
	a, b := pair("x")
	a.write("y", a.Seen())
	b.write("z", b.Seen())
	meet(t, a, b)
	a.write("y", a.Seen())
	b.write("z", b.Seen())
	meet(t, a, b)
	a.want(t, "file y", "file z")
}

func TestSiblingNobodyResolvedStays(t *testing.T) {
	a, b := pair("x")
	seen := a.Seen()
	b.write("z", b.Seen())
	a.pull(b)
	a.write("y", seen)
	meet(t, a, b)
	a.want(t, "file y", "file z")
}

func TestEqualEditsAreNoConflict(t *testing.T) {
	a, b := pair("x")
	a.write("y", a.Seen())
	b.write("y", b.Seen())
	meet(t, a, b)
	if a.Conflict() {
		t.Fatalf("%+v", a.Versions)
	}
	for _, v := range a.Versions {
		if got := a.Equal([]Dot{v.Dot}); len(got) != 2 {
			t.Fatalf("who sees %v sees %v", v.Dot, got)
		}
	}
	b.remove()
	meet(t, a, b)
	a.want(t)
}

// TestEqualContentsTakeNothingWithThem: two replicas come to write again what
// the other has had all the time. Were equal contents one version, that dies
// with any of its dots, each would take away what the other has.
func TestEqualContentsTakeNothingWithThem(t *testing.T) {
	a, b := &holder{id: 1}, &holder{id: 2}
	a.write("x", nil)
	b.write("x", nil)
	oldA, oldB := *a, *b
	for _, h := range []*holder{a, b} {
		h.write("", h.Seen())
		h.write("x", h.Seen())
	}
	a.pull(&oldB)
	b.pull(&oldA)
	meet(t, a, b)
	if len(a.Versions) == 0 || a.Conflict() {
		t.Fatalf("%+v", a.Versions)
	}
}

// TestWriteTakesItsEqual: what is written supersedes what is the same already.
func TestWriteTakesItsEqual(t *testing.T) {
	a, b := pair("x")
	a.write("y", a.Seen())
	b.write("z", b.Seen())
	b.pull(a)
	b.write("y", nil)
	meet(t, a, b)
	a.want(t, "file y", "file z")
}

// TestEqualUnseenStays: who deleted the one had not seen the other.
func TestEqualUnseenStays(t *testing.T) {
	a, b := &holder{id: 1}, &holder{id: 2}
	a.write("x", nil)
	a.remove()
	b.write("x", nil)
	meet(t, a, b)
	a.want(t, "file x")
}

func TestAttributesNeverConflict(t *testing.T) {
	a, b := pair("x")
	a.chmod(0o600, 5)
	b.chmod(0o640, 7)
	meet(t, a, b)
	if a.want(t, "file x"); a.Attr().Mode != 0o640 {
		t.Fatalf("%+v", a.Attrs)
	}
}

func TestAttributesSurviveAConcurrentEdit(t *testing.T) {
	a, b := pair("x")
	a.chmod(0o755, 5)
	b.write("y", b.Seen())
	meet(t, a, b)
	if a.want(t, "file y"); a.Attr().Mode != 0o755 {
		t.Fatalf("%+v", a.Attrs)
	}
}

func TestLaterSettingWinsWhateverTheClock(t *testing.T) {
	a, b := pair("x")
	a.chmod(0o600, 1000)
	b.pull(a)
	b.chmod(0o640, 3)
	meet(t, a, b)
	if a.Attr().Mode != 0o640 {
		t.Fatalf("%+v", a.Attrs)
	}
}

func TestChmodDoesNotBringBackTheDeleted(t *testing.T) {
	a, b := pair("x")
	a.chmod(0o600, 5)
	b.remove()
	meet(t, a, b)
	if a.want(t); len(a.Attrs) > 0 {
		t.Fatalf("%+v", a.Attrs)
	}
}

func TestAttributesOfAnEarlierFileDoNotReturn(t *testing.T) {
	a, b := pair("x")
	c := &holder{id: 3}
	c.pull(a)
	a.chmod(0o777, 1000)
	b.pull(a)
	b.remove()
	a.pull(b)
	a.write("new", nil)
	meet(t, a, c)
	if a.Attr().Mode != 0o644 {
		t.Fatalf("%+v", a.Attrs)
	}
}

func TestTouchIsNoVersion(t *testing.T) {
	a, b := pair("x")
	a.Entry = a.Touch(a.Versions[0].Dot, 77, Stamp{9, a.next()})
	b.chmod(0o600, 3)
	meet(t, a, b)
	if a.want(t, "file x"); a.Versions[0].MTime != 77 {
		t.Fatalf("%+v", a.Versions)
	}
}

func TestDirectoriesAreOne(t *testing.T) {
	a, b := &holder{id: 1}, &holder{id: 2}
	a.mkdir()
	b.mkdir()
	meet(t, a, b)
	a.want(t, "dir ")
	b.remove()
	meet(t, a, b)
	a.want(t)
}

func TestDirectoryShowsBeforeFile(t *testing.T) {
	a, b := &holder{id: 1}, &holder{id: 2}
	d := a.write("x", nil)
	b.mkdir()
	meet(t, a, b)
	a.want(t, "dir ", "file x")
	if i := Visible(a.Versions, d); a.Versions[i].Kind != KindDir {
		t.Fatal("the file is shown")
	}
}

func TestVisible(t *testing.T) {
	version := func(r ReplicaID, mtime int64) Version {
		return Version{Dot: Dot{r, 1}, Kind: KindFile, MTime: mtime}
	}
	vs := []Version{version(1, 5), version(2, 9), version(3, 9), version(4, 1)}
	for shown, want := range map[Dot]int{{4, 1}: 3, {1, 1}: 0, {9, 9}: 2} {
		if got := Visible(vs, shown); got != want {
			t.Errorf("after %v: %d, want %d", shown, got, want)
		}
	}
	if Visible(nil, Dot{}) != -1 {
		t.Error("something in nothing")
	}
}

// TestGhostGoes: what a deletion must remember goes when the directory's
// context covers it.
func TestGhostGoes(t *testing.T) {
	known := Context{{1, 7}}
	ghost := Entry{Ctx: known}
	e, changed, store := Meeting{Mine: View{}, Theirs: View{}}.Join(Entry{}, ghost)
	if changed || !store || !e.Ctx.Equal(known) {
		t.Fatal("a ghost is not taken over", e, changed, store)
	}
	e, _, _ = Meeting{Theirs: View{Ctx: Context{{1, 8}}}, Final: true}.Join(Entry{}, ghost)
	if !e.Empty() {
		t.Fatal("stays", e)
	}
}

func TestDirectoryMadeAgainKnowsItsPast(t *testing.T) {
	sub := Dir{Ctx: Context{{1, 3}}, Max: Context{{1, 3}, {2, 1}}}
	v := View{Ctx: Context{{1, 5}, {2, 5}}}
	if !v.Removable(sub) {
		t.Fatal("cannot be forgotten")
	}
	parent := Dir{}.Remove(sub)
	v.Gone = parent.Gone
	again := v.Sub(v.NewDir().Change(Dot{3, 1}))
	if (View{Ctx: Context{{3, 1}}}).Knows(again) {
		t.Fatal("a peer that never heard of what was deleted skips it")
	}
	if (View{}).Removable(sub) {
		t.Fatal("forgotten with what only it knows")
	}
}

func TestEntryOfAConflictIsBounded(t *testing.T) {
	var e Entry
	for i := range MaxVersions + 1 {
		d := Dot{ReplicaID(i + 1), 1}
		e.Versions = append(e.Versions, Version{Dot: d, Kind: KindFifo, MStamp: Stamp{1, d}})
	}
	if e.Validate() == nil {
		t.Fatal("too many versions are valid")
	}
	e.Versions = e.Versions[:MaxVersions]
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
}
