package merge

import (
	"slices"
)

// Entry is one name in a directory.
type Entry struct {
	// Versions are the siblings in the order of their dots; none: the name is
	// absent.
	Versions []Version
	// Ctx is what is known of this name beyond the directory's View.Names.
	Ctx Context
	// Attrs are the settings alive, highest Stamp first: one, or several
	// while nobody has written since concurrent settings met.
	Attrs []Attr
}

// Attr returns the setting that counts; zero Stamp: none (a directory that
// exists only because of what is in it).
func (e Entry) Attr() Attr {
	if len(e.Attrs) == 0 {
		return Attr{}
	}
	return e.Attrs[0]
}

// Empty says whether e says nothing: its record may go.
func (e Entry) Empty() bool {
	return len(e.Versions) == 0 && len(e.Attrs) == 0 && len(e.Ctx) == 0
}

// Conflict says whether two siblings differ.
func (e Entry) Conflict() bool {
	for i := 1; i < len(e.Versions); i++ {
		if !e.Versions[i].SameContent(&e.Versions[0]) {
			return true
		}
	}
	return false
}

// SameVersions says whether e and o hold the same versions, times and
// settings, so that neither has anything to tell the other but its Ctx.
func (e Entry) SameVersions(o Entry) bool {
	return slices.EqualFunc(e.Versions, o.Versions, func(a, b Version) bool {
		return a.MStamp == b.MStamp && a.Dot == b.Dot
	}) && slices.EqualFunc(e.Attrs, o.Attrs, func(a, b Attr) bool {
		return a.Stamp == b.Stamp && slices.Equal(a.Dots, b.Dots)
	})
}

// Seen returns the dots of all versions: what a writer supersedes who has
// seen all of them.
func (e Entry) Seen() []Dot {
	var out []Dot
	for i := range e.Versions {
		out = append(out, e.Versions[i].Dot)
	}
	return out
}

// Put returns e with v written by a local change, v.Dot: the versions of the
// dots of seen are superseded, as are those of equal content; the setting that
// counts goes on under the new dot.
func (e Entry) Put(v Version, seen []Dot) Entry {
	out := e.supersede(append(e.equals(&v), append([]Dot{v.Dot}, seen...)...))
	out.Attrs = nil
	if len(e.Attrs) > 0 {
		out = out.killAttrs(e.Attrs)
		a := e.Attrs[0]
		a.Dots = []Dot{v.Dot}
		out.Attrs = []Attr{a}
	}
	out.Versions = append(slices.Clip(out.Versions), v)
	sortVersions(out.Versions)
	return out
}

// equals are the dots of the versions of the same content as v.
func (e Entry) equals(v *Version) (dots []Dot) {
	for i := range e.Versions {
		if o := &e.Versions[i]; o.SameContent(v) {
			dots = append(dots, o.Dot)
		}
	}
	return dots
}

// Equal returns the dots of all versions that a user who sees one of those
// of the dots of seen sees too, as they are of the same content.
func (e Entry) Equal(seen []Dot) (dots []Dot) {
	for i := range e.Versions {
		v := &e.Versions[i]
		if slices.ContainsFunc(e.Versions, func(o Version) bool { return slices.Contains(seen, o.Dot) && o.SameContent(v) }) {
			dots = append(dots, v.Dot)
		}
	}
	return dots
}

// Delete returns e without the versions of the dots of seen. The caller
// spends a dot on it; the dots removed go to Ctx.
func (e Entry) Delete(seen []Dot) Entry {
	out := e.supersede(seen)
	if len(out.Versions) == 0 {
		out = out.killAttrs(e.Attrs)
	}
	return out
}

// SetAttr returns e with a as its only setting, written by a.Stamp.Dot.
// Where the clock is behind the setting it replaces, its time is moved on.
func (e Entry) SetAttr(a Attr) Entry {
	if len(e.Attrs) > 0 {
		a.Stamp = a.Stamp.after(e.Attrs[0].Stamp)
	}
	a.Dots = []Dot{a.Stamp.Dot}
	out := e.killAttrs(e.Attrs)
	out.Attrs = []Attr{a}
	return out
}

// Touch returns e with another modification time of the version that dot
// wrote, written by stamp.Dot.
func (e Entry) Touch(dot Dot, mtime int64, stamp Stamp) Entry {
	out := e
	out.Versions = slices.Clone(e.Versions)
	for i := range out.Versions {
		if v := &out.Versions[i]; v.Dot == dot {
			v.MTime, v.MStamp = mtime, stamp.after(v.MStamp)
		}
	}
	return out
}

// Settle returns e with the settings of an absent name removed, and whether
// there were any: then the caller spends a dot on it as on every change.
func (e Entry) Settle() (Entry, bool) {
	if len(e.Versions) == 0 && len(e.Attrs) > 0 {
		return e.killAttrs(e.Attrs), true
	}
	return e, false
}

// supersede removes the versions of the dots of seen.
func (e Entry) supersede(seen []Dot) Entry {
	out := e
	out.Versions = nil
	for _, v := range e.Versions {
		if slices.Contains(seen, v.Dot) {
			out.Ctx = out.Ctx.With(v.Dot)
		} else {
			out.Versions = append(out.Versions, v)
		}
	}
	return out
}

// killAttrs forgets attrs; their dots go to Ctx.
func (e Entry) killAttrs(attrs []Attr) Entry {
	for i := range attrs {
		e.Ctx = e.Ctx.WithAll(attrs[i].Dots)
	}
	e.Attrs = nil
	return e
}

func sortVersions(vs []Version) {
	slices.SortFunc(vs, func(a, b Version) int { return a.Dot.Compare(b.Dot) })
}
