package vol

import "bazil/merge"

// asides finds names for versions that become files beside the name they have,
// each for another. It reads, and changes nothing.
type asides struct {
	v     *Volume
	will  func(*entry) *record // what a name is, or will be by then
	taken map[*entry]bool
	tags  map[string]*asideTag // by the first name that such a version may get
}

// asideTag is what is known of the names that versions of one time and replica
// may get.
type asideTag struct {
	next int                     // the number of the first that may be free
	have map[shownContent]*entry // what those before show
}

func newAsides(v *Volume, will func(*entry) *record) *asides {
	return &asides{v, will, map[*entry]bool{}, map[string]*asideTag{}}
}

// find returns the name for a version of another: one that shows that same
// version, or the first that is free.
func (a *asides) find(of *entry, ver *merge.Version) (*entry, error) {
	first := AsideName(of.name, ver, 1)
	t := a.tags[first]
	if t == nil {
		t = &asideTag{next: 1, have: map[shownContent]*entry{}}
		a.tags[first] = t
		if err := a.toFree(of, ver, t); err != nil {
			return nil, err
		}
	}
	if e := t.have[contentOf(ver)]; e != nil {
		return e, nil
	}
	if err := a.toFree(of, ver, t); err != nil {
		return nil, err
	}
	e, err := a.v.find(of.dir, AsideName(of.name, ver, t.next))
	if err == nil {
		t.have[contentOf(ver)], a.taken[e] = e, true
	}
	return e, err
}

// toFree goes on to the first number of which the name is free.
func (a *asides) toFree(of *entry, ver *merge.Version, t *asideTag) error {
	for ; ; t.next++ {
		e, err := a.v.find(of.dir, AsideName(of.name, ver, t.next))
		if err != nil {
			return err
		}
		rec := a.will(e)
		if _, kind := e.shows(); kind == 0 && rec.kind() == 0 && !a.taken[e] {
			return nil
		}
		if shown := rec.version(); shown != nil && t.have[contentOf(shown)] == nil {
			t.have[contentOf(shown)] = e
		}
	}
}
