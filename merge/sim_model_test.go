package merge

import (
	"fmt"
	"slices"
)

// model is the reference: all changes ever made, by name, with what each of
// them did at the place where it was made. What a replica must have for a
// name follows from the changes it knows, whatever way they came.
type model struct {
	events map[string][]*event
}

// event is one change of one name.
type event struct {
	dot     Dot
	version *Version // written; its Dots are only dot
	over    []Dot    // superseded
	touched Dot      // a dot of the version whose time is set
	mtime   int64
	mstamp  Stamp
	attr    *Attr // set or carried on
	unset   []Dot // settings ended
	after   Stamp // of the time or the setting that it replaced
}

func (m *model) add(at path, e *event) {
	m.events[at.key()] = append(m.events[at.key()], e)
}

// forget removes the changes that a test of keep denies.
func (m *model) forget(keep func(key string, e *event) bool) {
	for key, es := range m.events {
		m.events[key] = slices.DeleteFunc(es, func(e *event) bool { return !keep(key, e) })
	}
}

// outcome works out what a name holds for one who knows the changes in known.
func (m *model) outcome(key string, known Context) Entry {
	all := m.events[key]
	es := make([]*event, 0, len(all))
	for _, e := range all {
		if known.Has(e.dot) {
			es = append(es, e)
		}
	}
	return Entry{Versions: outcomeVersions(es), Attrs: outcomeAttrs(es)}
}

// group is a version in the making.
type group struct {
	Version
	over bool
}

func outcomeVersions(es []*event) []Version {
	var gs []*group
	find := func(d Dot) *group {
		for _, g := range gs {
			if g.Dot == d {
				return g
			}
		}
		return nil
	}
	for _, e := range es {
		if e.version != nil {
			gs = append(gs, &group{Version: *e.version})
		}
		if g := find(e.touched); g != nil {
			g.touch(e.mtime, e.mstamp)
		}
		for _, d := range e.over {
			if g := find(d); g != nil {
				g.over = true
			}
		}
	}
	var out []Version
	for _, g := range gs {
		if !g.over {
			out = append(out, g.Version)
		}
	}
	sortVersions(out)
	return out
}

func (g *group) touch(mtime int64, stamp Stamp) {
	if stamp.Compare(g.MStamp) > 0 {
		g.MTime, g.MStamp = mtime, stamp
	}
}

func outcomeAttrs(es []*event) []Attr {
	var out []Attr
	for _, e := range es {
		for i := range out {
			out[i].Dots = slices.DeleteFunc(out[i].Dots, func(d Dot) bool { return slices.Contains(e.unset, d) })
		}
		if e.attr == nil {
			continue
		}
		i := slices.IndexFunc(out, func(a Attr) bool { return a.Stamp == e.attr.Stamp })
		if i < 0 {
			a := *e.attr
			a.Dots = nil
			out, i = append(out, a), len(out)
		}
		out[i].Dots = append(out[i].Dots, e.dot)
	}
	out = slices.DeleteFunc(out, func(a Attr) bool { return len(a.Dots) == 0 })
	for i := range out {
		slices.SortFunc(out[i].Dots, Dot.Compare)
	}
	slices.SortFunc(out, func(a, b Attr) int { return b.Stamp.Compare(a.Stamp) })
	return out
}

// check compares all that s has with what it must have.
func (m *model) check(s *state) error {
	for key := range m.events {
		at := path(splitKey(key))
		if err := m.checkName(s, at, key); err != nil {
			return err
		}
	}
	var err error
	s.walk(func(at path, c cell) {
		if len(m.events[at.key()]) == 0 && len(c.ent.Versions)+len(c.ent.Attrs) > 0 && err == nil {
			err = fmt.Errorf("replica %d: %s: made up: %v", s.id, at.key(), c.ent)
		}
	})
	return err
}

func (m *model) checkName(s *state, at path, key string) error {
	known := s.known(at)
	got, want := s.entry(at), m.outcome(key, known)
	if !got.SameVersions(want) {
		return fmt.Errorf("replica %d: %s\n has  %v %v\n must %v %v\n knows %v",
			s.id, key, got.Versions, got.Attrs, want.Versions, want.Attrs, known)
	}
	for i := range got.Versions {
		if g, w := got.Versions[i], want.Versions[i]; !g.SameContent(&w) || g.MTime != w.MTime {
			return fmt.Errorf("replica %d: %s: has %v, must have %v", s.id, key, g, w)
		}
	}
	if err := m.checkStamps(key, known, got); err != nil {
		return fmt.Errorf("replica %d: %s: %w", s.id, key, err)
	}
	if len(got.Versions) > 0 && len(got.Attrs) == 0 {
		return fmt.Errorf("replica %d: %s: no attributes", s.id, key)
	}
	return nil
}

// checkStamps checks that nothing counts that somebody had replaced.
func (m *model) checkStamps(key string, known Context, got Entry) error {
	after := map[Stamp]Stamp{}
	for _, e := range m.events[key] {
		if e.attr != nil && e.attr.Stamp.Dot == e.dot {
			after[e.attr.Stamp] = e.after
		}
		for _, v := range got.Versions {
			if known.Has(e.dot) && v.Dot == e.touched && v.MStamp == e.after {
				return fmt.Errorf("%v has a time that was replaced by %v", v, e.mstamp)
			}
		}
	}
	for _, a := range got.Attrs {
		for s := a.Stamp; s != (Stamp{}); s = after[s] {
			if s == got.Attrs[0].Stamp && a.Stamp != s {
				return fmt.Errorf("%v counts, which %v replaced", got.Attrs[0], a)
			}
		}
	}
	return nil
}

func splitKey(key string) []string {
	var out []string
	for len(key) > 0 {
		out = append(out, key[:1])
		key = key[min(2, len(key)):]
	}
	return out
}
