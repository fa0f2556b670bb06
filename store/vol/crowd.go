package vol

import "bazil/merge"

// crowd is a name with too many versions, and what is to be done about that:
// the oldest become files beside it (package merge says why that is sound).
type crowd struct {
	e     *entry
	moves []aside
	over  []merge.Dot // superseded: those and all that are equal to them
}

// crowd works out what to do about a name that has x, or will have it: nil for
// nothing. What it shows stays, and what is being written. It reads, and changes
// nothing.
func (v *Volume) crowd(e *entry, x *merge.Entry, names *asides) (*crowd, error) {
	var last merge.Dot
	if e.rec != nil {
		last = e.rec.Shown
	}
	shown := merge.Visible(x.Versions, last)
	oldest, over := x.Surplus(v.o.MaxVersions, v.o.MaxVersions/2, func(ver *merge.Version) bool {
		return ver.Dot == x.Versions[shown].Dot || e.writes(ver)
	})
	if len(oldest) == 0 {
		return nil, nil
	}
	c := &crowd{e: e, over: over}
	for i := range oldest {
		to, err := names.find(e, &oldest[i])
		if err != nil {
			return nil, err
		}
		c.moves = append(c.moves, aside{to, oldest[i]})
	}
	return c, nil
}

// writes says whether a writer is at a version of the name, or has it before
// him.
func (e *entry) writes(ver *merge.Version) bool {
	if ver.Kind == merge.KindFile && Body(ver.Content).Validate() != nil {
		return true
	}
	if e.node == nil {
		return false
	}
	for _, dot := range e.node.seen {
		if dot == ver.Dot {
			return true
		}
	}
	return false
}

// thin does what crowd says, as a local change.
func (v *Volume) thin(c *crowd) {
	r := resolution{v, c.e, c.e.rec}
	for _, m := range c.moves {
		r.putAside(m)
	}
	r.drop(c.over)
	v.o.Log.Warn("a name had too many versions: the oldest became files beside it",
		"volume", v.id.String(), "path", c.e.path(), "files", len(c.moves))
}

// thinFirst thins a name that is about to get the versions of another, or to
// give them its own.
func (v *Volume) thinFirst(e *entry) error {
	if e.rec == nil {
		return nil
	}
	c, err := v.crowd(e, &e.rec.Entry, newAsides(v, func(e *entry) *record { return e.rec }))
	if c != nil {
		v.thin(c)
	}
	return err
}

// crowds works out what to do about the names that will have too many versions
// when the peer's state is applied.
func (a *applier) crowds() error {
	if !a.crowded {
		return nil
	}
	will := make(map[*entry]*record, len(a.joins))
	for i := range a.joins {
		rec := a.joins[i].e.rec.clone()
		rec.Entry = a.joins[i].entry
		will[a.joins[i].e] = rec
	}
	names := newAsides(a.v, func(e *entry) *record {
		if rec, ok := will[e]; ok {
			return rec
		}
		return e.rec
	})
	for i := range a.joins {
		c, err := a.v.crowd(a.joins[i].e, &a.joins[i].entry, names)
		if err != nil {
			return err
		}
		if c != nil {
			a.thin = append(a.thin, c)
		}
	}
	return nil
}
