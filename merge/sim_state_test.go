package merge

import (
	"slices"
	"strings"
)

// place is a directory of the simulated volume. Places are never changed
// after an edit is done, so that a snapshot is a pointer.
type place struct {
	dir   Dir
	half  Context // index rows that go next
	cells []cell  // sorted by name
}

// cell is all that a directory has under one name: an entry, a directory's
// place, and the index of changes there.
type cell struct {
	name string
	ent  Entry
	sub  *place
	last Context
}

// state is what one replica has stored.
type state struct {
	id   ReplicaID
	n    uint64
	root *place
}

type path []string

func (p path) key() string       { return strings.Join(p, "/") }
func (p path) dir() path         { return p[:len(p)-1] }
func (p path) base() string      { return p[len(p)-1] }
func (p path) sub(n string) path { return append(slices.Clip(p), n) }

func (p *place) find(name string) (int, bool) {
	return slices.BinarySearchFunc(p.cells, name, func(c cell, n string) int { return strings.Compare(c.name, n) })
}

// cell returns the cell of name, an empty one if there is none.
func (p *place) cell(name string) cell {
	if p != nil {
		if i, ok := p.find(name); ok {
			return p.cells[i]
		}
	}
	return cell{name: name}
}

func (p *place) set(c cell) {
	i, ok := p.find(c.name)
	if !ok {
		p.cells = slices.Insert(p.cells, i, c)
	}
	p.cells[i] = c
}

func (s *state) own() Dot { return Dot{s.id, s.n} }

func (s *state) place(at path) *place {
	p := s.root
	for _, name := range at {
		if p = p.cell(name).sub; p == nil {
			return nil
		}
	}
	return p
}

func (s *state) entry(at path) Entry { return s.place(at.dir()).cell(at.base()).ent }

// view is the view of the directory at the path, there or lacking.
func (s *state) view(at path) View {
	v := RootView(s.own(), s.root.dir)
	p := s.root
	for _, name := range at {
		if p = p.cell(name).sub; p != nil {
			v = v.Sub(p.dir)
		} else {
			v = v.Lacking()
		}
	}
	return v
}

// known is the effective context of a name.
func (s *state) known(at path) Context {
	return s.view(at.dir()).Ctx.Join(s.entry(at).Ctx)
}

// edit changes the places on the way to at, which are there, the root first.
func (s *state) edit(at path, change func(p *place, depth int)) {
	s.root = editPlace(s.root, at, 0, change)
}

func editPlace(p *place, at path, depth int, change func(*place, int)) *place {
	q := &place{p.dir, p.half, slices.Clone(p.cells)}
	change(q, depth)
	if depth < len(at) {
		c := q.cell(at[depth])
		c.sub = editPlace(c.sub, at, depth+1, change)
		q.set(c)
	}
	return q
}

// editDir changes the one place at the path.
func (s *state) editDir(at path, change func(p *place)) {
	s.edit(at, func(p *place, depth int) {
		if depth == len(at) {
			change(p)
		}
	})
}

// make makes the places on the way to at that are lacking.
func (s *state) make(at path, wrong mistake) {
	for i := range at {
		if s.place(at[:i+1]) != nil {
			continue
		}
		d := s.view(at[:i]).NewDir()
		if wrong == forgetGone {
			d = Dir{}
		}
		s.editDir(at[:i], func(p *place) {
			c := p.cell(at[i])
			c.sub = &place{dir: d}
			p.set(c)
		})
	}
}

// news adds changes to the index of a name, and of all it is below.
func (s *state) news(at path, last Context) {
	s.edit(at.dir(), func(p *place, depth int) {
		c := p.cell(at[depth])
		c.last = c.last.Join(last)
		p.set(c)
	})
}

// turn drops the rows of a directory's index that are older than its last
// turn.
func (s *state) turn(at path, wrong mistake) {
	s.editDir(at, func(p *place) {
		for i := range p.cells {
			p.cells[i].last = p.cells[i].last.Without(p.half)
		}
		if wrong != indexDropsSilently {
			p.dir = p.dir.Drop(p.half)
		}
		p.half = p.dir.Max
	})
}

// change stores a name after the local change s.n.
func (s *state) change(at path, e Entry, wrong mistake) {
	s.make(at.dir(), wrong)
	s.put(at, e)
	s.edit(at.dir(), func(p *place, _ int) { p.dir = p.dir.Change(s.own()) })
	s.news(at, Context{s.own()})
}

// put stores a name, its Ctx trimmed.
func (s *state) put(at path, e Entry) {
	e.Ctx = e.Ctx.Without(s.view(at.dir()).Ctx)
	s.editDir(at.dir(), func(p *place) {
		c := p.cell(at.base())
		c.ent = e
		p.set(c)
	})
}

// live says whether anything below p exists.
func (p *place) live() bool {
	return p != nil && slices.ContainsFunc(p.cells, func(c cell) bool {
		return len(c.ent.Versions) > 0 || c.sub.live()
	})
}

// isDir says whether the path shows a directory: one that was made, or one
// that exists because of what is in it.
func (s *state) isDir(at path) bool {
	if len(at) == 0 {
		return true
	}
	c := s.place(at.dir()).cell(at.base())
	return c.sub.live() || slices.ContainsFunc(c.ent.Versions, func(v Version) bool { return v.Kind == KindDir })
}

// sweep forgets the directories that may be forgotten.
func (s *state) sweep(wrong mistake) {
	s.root = sweepPlace(s.root, RootView(s.own(), s.root.dir), wrong)
}

func sweepPlace(p *place, v View, wrong mistake) *place {
	q := &place{p.dir, p.half, slices.Clone(p.cells)}
	for i := range q.cells {
		c := &q.cells[i]
		c.ent.Ctx = c.ent.Ctx.Without(v.Ctx)
		if c.sub == nil {
			continue
		}
		c.sub = sweepPlace(c.sub, v.Sub(c.sub.dir), wrong)
		if !c.sub.holds() && (v.Removable(c.sub.dir) || wrong == removeAnyDir) {
			q.dir = q.dir.Remove(c.sub.dir)
			c.sub = nil
		}
	}
	return q
}

// holds says whether p has entries, ghosts among them, or subdirectories.
func (p *place) holds() bool {
	return slices.ContainsFunc(p.cells, func(c cell) bool { return c.sub != nil || !c.ent.Empty() })
}

// walk calls visit for each name that is there in any way.
func (s *state) walk(visit func(at path, c cell)) { walkPlace(s.root, nil, visit) }

func walkPlace(p *place, at path, visit func(path, cell)) {
	for _, c := range p.cells {
		visit(at.sub(c.name), c)
		if c.sub != nil {
			walkPlace(c.sub, at.sub(c.name), visit)
		}
	}
}

// heard is all that s knows of anything anywhere.
func (s *state) heard() Context {
	v := RootView(s.own(), s.root.dir)
	out := v.Ctx.Join(v.Max)
	s.walk(func(_ path, c cell) {
		out = out.Join(c.ent.Ctx)
		if c.sub != nil {
			out = out.Join(c.sub.dir.Ctx)
		}
	})
	return out
}

// renew makes s another replica.
func (s *state) renew(id ReplicaID) {
	root := *s.root
	root.dir.Ctx = root.dir.Ctx.With(s.own())
	s.root, s.id = &root, id
}
