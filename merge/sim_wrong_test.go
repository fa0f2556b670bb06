package merge

import "slices"

// join is Meeting.Join, or what it would be with a mistake in it.
func (w *world) join(m Meeting, mine, theirs Entry) (e Entry, changed, store bool) {
	e, changed, store = m.Join(mine, theirs)
	switch {
	case w.wrong == dropAliases:
		e = dropEqual(e)
	case w.wrong == attrRegister:
		e.Attrs = registerJoin(e, mine.Attrs, theirs.Attrs)
	case w.wrong == theirContext && len(mine.Versions) == 0:
		e.Ctx = theirs.Ctx
	case w.wrong == ghostsNotCopied && !changed:
		return mine, false, false
	}
	differs := !e.SameVersions(mine)
	return e, changed || differs, store || differs
}

// dropEqual keeps of equal versions one.
func dropEqual(e Entry) Entry {
	var out []Version
	for _, v := range e.Versions {
		if !slices.ContainsFunc(out, func(o Version) bool { return o.SameContent(&v) }) {
			out = append(out, v)
		}
	}
	e.Versions = out
	return e
}

// registerJoin is a last-writer-wins register that an absent name has not.
func registerJoin(e Entry, a, b []Attr) []Attr {
	all := slices.Concat(a, b)
	if len(e.Versions) == 0 || len(all) == 0 {
		return nil
	}
	return []Attr{slices.MaxFunc(all, func(x, y Attr) int { return x.Stamp.Compare(y.Stamp) })}
}
