package merge

import "slices"

// listing is what a replica tells another of one directory, or a piece of
// that: the names behind after and up to upTo, where that is not "".
type listing struct {
	view        View
	items       []item
	partial     bool
	after, upTo string
}

func (l *listing) within(name string, wrong mistake) bool {
	if wrong == middlePiece && l.upTo != "" {
		return name <= l.upTo
	}
	return name > l.after && (l.upTo == "" || name <= l.upTo)
}

type item struct {
	name    string
	ent     Entry
	last    Context
	hasSub  bool
	subView View
}

// list is the sender's side. What is behind a name, or has but a few names, is
// a piece of a full listing.
func (s *state) list(at path, known Context, after string, few int, partial bool, wrong mistake) listing {
	p := s.place(at)
	out := listing{view: s.view(at), after: after}
	out.partial = partial && after == "" && (p.dir.Partial(known) || wrong == indexForgetsWhole)
	for i, c := range p.cells {
		if c.name <= after || out.partial && known.Covers(c.last) {
			continue
		}
		it := item{name: c.name, ent: c.ent, hasSub: c.sub != nil}
		if out.partial {
			it.last = c.last.Without(known)
			if !out.view.Max.Covers(it.last) {
				panic("the index has more than Max")
			}
		}
		if it.hasSub {
			it.subView = out.view.Sub(c.sub.dir)
		}
		out.items = append(out.items, it)
		if len(out.items) == few && !out.partial && i < len(p.cells)-1 {
			out.upTo = c.name
			break
		}
	}
	return out
}

// pull is one replica's pull from another, under way: directories are asked
// for and applied in any order that their parents allow.
type pull struct {
	to, from *replica
	frozen   *state // what the sender was when it began, or nil
	partial  bool   // ask for partial listings
	noSkip   bool
	few      int // names in a piece; 0: all
	open     []*frame
	late     []*frame // applied already, and once more some time
	applied  int
	applying map[string]*frame // applied and not finished
}

type frame struct {
	at      path
	up      *frame
	msg     *listing
	first   *listing // of the pieces
	after   string   // the next piece is of what is behind it
	todo    int
	bad     bool
	fixed   *listing // said by the directory above: the peer has nothing
	tainted bool
}

func newPull(to, from *replica, at path) *pull {
	return &pull{to: to, from: from, partial: true, applying: map[string]*frame{}, open: []*frame{{at: at}}}
}

// anyPull is a pull of one kind or another.
func (w *world) anyPull(to, from *replica, at path) *pull {
	p := newPull(to, from, at)
	p.partial, p.noSkip = w.rand.IntN(3) > 0, w.rand.IntN(8) == 0
	p.few = w.rand.IntN(2) * (1 + w.rand.IntN(1+w.names/2))
	if w.rand.IntN(3) == 0 {
		s := from.committed
		p.frozen = &s
	}
	if w.style != nil {
		w.style(p)
	}
	return p
}

func (p *pull) sender() *state {
	if p.frozen != nil {
		return p.frozen
	}
	return &p.from.committed
}

// step asks for or applies one directory; it returns false when none is left.
func (p *pull) step(w *world) bool {
	if len(p.open) == 0 {
		return false
	}
	i := w.rand.IntN(len(p.open))
	f := p.open[i]
	if f.msg == nil {
		p.ask(f, w)
		if f.msg != nil && w.rand.IntN(3) == 0 {
			return true
		}
	}
	p.open = slices.Delete(p.open, i, i+1)
	switch {
	case f.msg != nil:
		p.settleIn(f, w)
	case f.first == nil:
		f.bad = true
		p.close(f, w)
	default: // gone before all pieces were told
		f.bad = true
		p.pieced(f, w)
	}
	return true
}

func (p *pull) ask(f *frame, w *world) {
	s := p.sender()
	if s.place(f.at) == nil {
		if f.up == nil {
			f.msg = &listing{view: s.view(f.at)}
		}
		return
	}
	m := s.list(f.at, p.to.view(f.at).Ctx, f.after, p.few, p.partial, w.wrong)
	f.msg = &m
}

// settleIn applies a directory and opens those below it.
func (p *pull) settleIn(f *frame, w *world) {
	p.to.make(f.at, w.wrong)
	subs := p.apply(f, w)
	w.taint(p, f.at)
	if w.rand.IntN(12) == 0 {
		p.late = append(p.late, &frame{at: f.at, msg: f.msg})
	}
	if f.first == nil {
		f.first, f.todo = f.msg, 1
	}
	f.todo += len(subs)
	p.open = append(p.open, subs...)
	p.applying[f.at.key()] = f
	if f.msg.upTo == "" {
		p.pieced(f, w)
		return
	}
	f.after, f.msg = f.msg.upTo, nil
	p.open = append(p.open, f)
}

// pieced ends a directory of which all pieces were applied.
func (p *pull) pieced(f *frame, w *world) {
	if f.todo--; f.todo == 0 || w.wrong == raiseEarly {
		p.close(f, w)
	}
}

// taint tells the other pulls into the same replica that the names of a
// directory that they joined have changed since.
func (w *world) taint(p *pull, at path) {
	for _, o := range w.pulls {
		if f := o.applying[at.key()]; o.to == p.to && f != nil {
			f.tainted = true
		}
	}
}

// close finishes a directory whose subtree is done, unless it has to be done
// again.
func (p *pull) close(f *frame, w *world) {
	delete(p.applying, f.at.key())
	if f.tainted && !f.bad && w.wrong != untainted {
		f.tainted, f.msg, f.first, f.after = false, f.fixed, nil, ""
		p.open = append(p.open, f)
		return
	}
	if !f.bad && p.to.place(f.at) != nil {
		p.finish(f, w)
	}
	if up := f.up; up != nil {
		up.bad = up.bad || f.bad
		if up.todo--; up.todo == 0 {
			p.close(up, w)
		}
	}
}

func (p *pull) finish(f *frame, w *world) {
	theirs := f.first.view
	if w.wrong == lastPiece {
		theirs = f.msg.view
	}
	p.to.editDir(f.at, func(q *place) { q.dir = q.dir.Finish(theirs) })
	p.to.learn(f.at, theirs, w)
	if w.rand.IntN(2) == 0 {
		p.to.editDir(f.at, func(q *place) { q.dir = q.dir.Trim(p.to.parentView(f.at)) })
	}
}

// learn tells the directories above that something below them was learned.
func (s *state) learn(at path, theirs View, w *world) {
	if len(at) == 0 || w.wrong == noMax {
		return
	}
	s.edit(at.dir(), func(q *place, _ int) { q.dir = q.dir.Learn(theirs) })
	if w.wrong != indexForgetsBelow {
		s.news(at, theirs.Max)
	}
}

func (s *state) parentView(at path) View {
	if len(at) == 0 {
		return View{Ctx: Context{}.With(s.own())}
	}
	return s.view(at.dir())
}

// apply joins the names of one directory in one transaction and returns the
// frames of what is to be pulled below it.
func (p *pull) apply(f *frame, w *world) []*frame {
	p.applied++
	to, theirs := p.to, f.msg.view
	m := Meeting{Mine: to.view(f.at), Theirs: theirs}
	var subs []*frame
	var settled []path
	for _, it := range p.items(f, w.wrong) {
		at := f.at.sub(it.name)
		if w.joinName(to, at, m, it) {
			settled = append(settled, at)
		}
		if sub := p.below(f, it, m.Mine, w); sub != nil {
			subs = append(subs, sub)
		}
	}
	to.editDir(f.at, func(q *place) { q.dir = q.dir.Apply(theirs, !f.msg.partial) })
	to.learn(f.at, theirs, w)
	to.spend(settled)
	for _, it := range f.msg.items {
		w.thin(to, f.at.sub(it.name))
	}
	return subs
}

// spend makes the change that settled names need, one for all.
func (s *state) spend(settled []path) {
	if len(settled) == 0 {
		return
	}
	s.n++
	for _, at := range settled {
		s.edit(at.dir(), func(p *place, _ int) { p.dir = p.dir.Change(s.own()) })
		s.news(at, Context{s.own()})
	}
}

// items are all names to join: those of the listing, and in a full one those
// that only the receiver has.
func (p *pull) items(f *frame, wrong mistake) []item {
	out := slices.Clone(f.msg.items)
	if f.msg.partial {
		return out
	}
	for _, c := range p.to.place(f.at).cells {
		if f.msg.within(c.name, wrong) && !slices.ContainsFunc(out, func(it item) bool { return it.name == c.name }) {
			out = append(out, item{name: c.name})
		}
	}
	return out
}

// joinName joins one name; it says whether that takes a change of its own.
func (w *world) joinName(to *replica, at path, m Meeting, theirs item) (settled bool) {
	mine := to.entry(at)
	e, changed, store := w.join(m, mine, theirs.ent)
	if changed {
		e, settled = w.settle(to, at, e)
	}
	if store {
		to.put(at, e)
	}
	if changed || w.wrong != indexChangedOnly {
		to.news(at, theirs.last)
	}
	return settled
}

func (w *world) settle(to *replica, at path, e Entry) (Entry, bool) {
	if w.wrong == noSettle {
		return e, false
	}
	out, ok := e.Settle()
	if !ok {
		return e, false
	}
	if w.wrong == settleFree {
		return out, false
	}
	ev := &event{dot: Dot{to.id, to.n + 1}}
	if len(e.Versions) == 0 {
		ev.unset = allAttrDots(e)
	}
	w.events.add(at, ev)
	return out, true
}

// below is the frame of the subdirectory under one name, nil if there is
// nothing to pull.
func (p *pull) below(f *frame, it item, mine View, w *world) *frame {
	at := f.at.sub(it.name)
	local := p.to.place(f.at).cell(it.name).sub
	v, theirs := mine.Lacking(), f.msg.view.Lacking()
	if local != nil {
		v = mine.Sub(local.dir)
	}
	if it.hasSub {
		theirs = it.subView
	}
	switch {
	case v.Knows(theirs) && !(p.noSkip && (it.hasSub || local != nil)):
		return nil
	case it.hasSub:
		return &frame{at: at, up: f}
	case local == nil:
		return nil
	case w.wrong == lackingSkipped:
		return nil
	default:
		msg := &listing{view: theirs}
		return &frame{at: at, up: f, msg: msg, fixed: msg}
	}
}

// way pulls the single names on the way to the path; it returns false where
// the way ends.
func (p *pull) way(w *world, at path) bool {
	for i := range at {
		s, dir := p.sender(), at[:i]
		theirs, here := s.view(dir), at[:i+1]
		m := Meeting{Mine: p.to.view(dir), Theirs: theirs}
		if w.joinName(p.to, here, m, item{ent: s.entryAny(here), last: theirs.Max}) {
			p.to.spend([]path{here})
		}
		w.thin(p.to, here)
		p.to.learn(here, theirs, w)
		w.taint(p, dir)
		if s.place(here) != nil {
			p.to.make(here, w.wrong)
		} else if p.to.place(here) == nil {
			return false
		}
	}
	return true
}

// entryAny is the entry of a name in a directory that may not be there.
func (s *state) entryAny(at path) Entry {
	return s.place(at.dir()).cell(at.base()).ent
}
