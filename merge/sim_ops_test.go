package merge

import (
	"slices"
	"strings"
)

// replica is one device: what it works on, and what it would find after a
// crash and shows to peers.
type replica struct {
	state
	committed state
	backup    *state
	opened    *writer
	restored  bool   // and not yet known to be unforgotten
	checked   *place // root as it was checked last
}

// writer is a file that is open for writing.
type writer struct {
	at   path
	seen []Dot
}

var contents = [...]string{"x", "y", "z"}

func (w *world) anyPath() path {
	p := make(path, 1+w.rand.IntN(w.depth))
	for i := range p {
		p[i] = string(rune('a' + w.rand.IntN(w.names)))
	}
	return p
}

// operate does one random local operation, if it is possible there.
func (w *world) operate(r *replica) {
	at := w.anyPath()
	if r.restored || !r.isDir(at.dir()) {
		return
	}
	switch k := w.rand.IntN(100); {
	case k < 30:
		w.write(r, at)
	case k < 45:
		w.mkdir(r, at)
	case k < 60:
		w.remove(r, at)
	case k < 75:
		w.rename(r, at, w.anyPath())
	case k < 82:
		w.chmod(r, at)
	case k < 87:
		w.touch(r, at)
	case k < 92:
		w.resolve(r, at)
	default:
		w.openOrClose(r, at)
	}
}

// clock is no good clock: devices differ, and time may stand still.
func (w *world) clock(id ReplicaID) int64 {
	return int64(w.steps/4) + int64(id%5)*20
}

func (w *world) write(r *replica, at path) {
	if r.isDir(at) {
		return
	}
	seen := r.entry(at).Seen()
	if len(seen) > 1 && w.rand.IntN(2) == 0 {
		seen = []Dot{r.entry(at).Versions[0].Dot}
	}
	w.put(r, at, KindFile, contents[w.rand.IntN(len(contents))], seen)
}

func (w *world) mkdir(r *replica, at path) {
	if !r.isDir(at) && len(r.entry(at).Versions) == 0 {
		w.put(r, at, KindDir, "", nil)
	}
}

func (w *world) remove(r *replica, at path) {
	e := r.entry(at)
	if c := r.place(at.dir()).cell(at.base()); c.sub.live() || len(e.Versions) == 0 {
		return
	}
	w.delete(r, at, e.Seen())
}

// put writes a version by a change of its own.
func (w *world) put(r *replica, at path, kind Kind, content string, seen []Dot) {
	r.n++
	w.putAs(r, at, Version{Dot: r.own(), Kind: kind, Content: content, MTime: w.clock(r.id)}, seen)
}

// putAs writes a version as a part of the change r.own().
func (w *world) putAs(r *replica, at path, v Version, seen []Dot) {
	d, old := v.Dot, r.entry(at)
	v.MStamp = Stamp{w.clock(r.id), d}
	ev := &event{dot: d, version: &Version{Dot: d, Kind: v.Kind, Content: v.Content, MTime: v.MTime, MStamp: v.MStamp}}
	for _, o := range old.Versions {
		if slices.Contains(seen, o.Dot) || o.SameContent(&v) {
			ev.over = append(ev.over, o.Dot)
		}
	}
	ev.unset = allAttrDots(old)
	if w.wrong == secondLife && len(old.Versions) == 0 {
		old.Ctx = nil
	}
	e := old.Put(v, seen)
	if w.wrong == lateSeen {
		e = old.Put(v, old.Seen())
	}
	if len(old.Attrs) == 0 {
		e = e.SetAttr(Attr{Stamp: Stamp{w.clock(r.id), d}, Mode: uint32(w.rand.IntN(512))})
	}
	a := e.Attr()
	ev.attr = &a
	w.events.add(at, ev)
	r.change(at, e, w.wrong)
}

func allAttrDots(e Entry) []Dot {
	var out []Dot
	for _, a := range e.Attrs {
		out = append(out, a.Dots...)
	}
	return out
}

func (w *world) delete(r *replica, at path, seen []Dot) {
	r.n++
	w.deleteAs(r, at, seen)
}

func (w *world) deleteAs(r *replica, at path, seen []Dot) {
	old := r.entry(at)
	e := old.Delete(seen)
	ev := &event{dot: r.own(), over: seen}
	if len(e.Versions) == 0 {
		ev.unset = allAttrDots(old)
	}
	if w.wrong == forgetGhosts {
		e.Ctx = nil
	}
	w.events.add(at, ev)
	r.change(at, e, w.wrong)
}

func (w *world) chmod(r *replica, at path) {
	old := r.entry(at)
	if len(old.Versions) == 0 {
		return
	}
	r.n++
	a := Attr{Stamp: Stamp{w.clock(r.id), r.own()}, Mode: uint32(w.rand.IntN(512))}
	e := old.SetAttr(a)
	if w.wrong == clockOnly {
		e.Attrs[0].Stamp = a.Stamp
	}
	a = e.Attr()
	w.events.add(at, &event{dot: r.own(), attr: &a, unset: allAttrDots(old), after: old.Attr().Stamp})
	r.change(at, e, w.wrong)
}

func (w *world) touch(r *replica, at path) {
	old := r.entry(at)
	if len(old.Versions) == 0 {
		return
	}
	r.n++
	d := old.Versions[w.rand.IntN(len(old.Versions))].Dot
	mtime := int64(w.rand.IntN(1000))
	e := old.Touch(d, mtime, Stamp{w.clock(r.id), r.own()})
	v := &e.Versions[indexOf(e.Versions, d)]
	if w.wrong == clockOnly {
		v.MStamp = Stamp{w.clock(r.id), r.own()}
	}
	w.events.add(at, &event{dot: r.own(), touched: d, mtime: mtime, mstamp: v.MStamp, after: old.version(d).MStamp})
	r.change(at, e, w.wrong)
}

func (e Entry) version(d Dot) Version {
	return e.Versions[indexOf(e.Versions, d)]
}

// resolve ends a conflict in favour of one of the siblings.
func (w *world) resolve(r *replica, at path) {
	old := r.entry(at)
	if !old.Conflict() || r.isDir(at) {
		return
	}
	v := old.Versions[w.rand.IntN(len(old.Versions))]
	if w.wrong == freeResolution {
		e := old
		e.Versions = []Version{v}
		r.put(at, e)
		return
	}
	w.put(r, at, v.Kind, v.Content, old.Seen())
}

// openOrClose opens a file for writing, or writes and closes the one open:
// it supersedes just what there was when it was opened.
func (w *world) openOrClose(r *replica, at path) {
	if r.opened == nil {
		if e := r.entry(at); len(e.Versions) > 0 && !r.isDir(at) {
			r.opened = &writer{at, e.Seen()}
		}
		return
	}
	o := r.opened
	r.opened = nil
	if r.isDir(o.at.dir()) && !r.isDir(o.at) {
		w.put(r, o.at, KindFile, contents[w.rand.IntN(len(contents))], o.seen)
	}
}

func (w *world) rename(r *replica, from, to path) {
	if len(to) >= len(from) && to[:len(from)].key() == from.key() || len(from) > len(to) && from[:len(to)].key() == to.key() {
		return
	}
	e, over := r.entry(from), r.entryOrNone(to)
	switch {
	case !r.isDir(to.dir()) || r.isDir(to):
	case r.isDir(from):
		if len(over.Versions) == 0 && len(e.Versions) < 2 {
			w.move(r, from, to)
		}
	case len(e.Versions) > 0:
		w.moveName(r, from, to, over.Seen())
	}
}

func (s *state) entryOrNone(at path) Entry {
	return s.place(at.dir()).cell(at.base()).ent
}

// moveName moves one name: all its siblings, and its attributes.
func (w *world) moveName(r *replica, from, to path, over []Dot) {
	e := r.entry(from)
	for _, v := range e.Versions {
		r.n++
		w.putAs(r, to, Version{Dot: r.own(), Kind: v.Kind, Content: v.Content, MTime: v.MTime}, over)
		over = nil
	}
	w.deleteAs(r, from, e.Seen())
}

// thin gives the oldest versions of a name with too many names of their own: the
// same everywhere for the same content.
func (w *world) thin(r *replica, at path) {
	e := r.entryAny(at)
	if w.most == 0 || len(e.Versions) == 0 {
		return
	}
	shown := e.Versions[Visible(e.Versions, Dot{})].Dot
	oldest, dots := e.Surplus(w.most, w.most/2, func(v *Version) bool { return v.Dot == shown })
	if len(oldest) == 0 {
		return
	}
	w.thinned++
	for _, v := range oldest {
		beside := at.dir().sub(strings.ToUpper(v.Content))
		if o := r.entryAny(beside); len(o.Versions) == 0 && !r.isDir(beside) {
			w.put(r, beside, v.Kind, v.Content, nil)
		}
	}
	w.delete(r, at, dots)
}

// move moves a directory with all that is in it.
func (w *world) move(r *replica, from, to path) {
	type item struct{ from, to path }
	var items []item
	if p := r.place(from); p != nil {
		walkPlace(p, nil, func(at path, c cell) {
			if len(c.ent.Versions) > 0 {
				items = append(items, item{append(slices.Clone(from), at...), append(slices.Clone(to), at...)})
			}
		})
	}
	if len(r.entry(from).Versions) == 0 {
		w.put(r, to, KindDir, "", nil)
	} else {
		w.moveName(r, from, to, nil)
	}
	for _, i := range items {
		w.moveName(r, i.from, i.to, r.entryOrNone(i.to).Seen())
	}
}
