package merge

// Meeting joins the names of one directory here with those of a peer's.
type Meeting struct {
	Mine, Theirs View
	// Final: the directory is finished (Dir.Finish) in the same transaction.
	Final bool
}

// Join returns what becomes of a name that is a here and b there (the zero
// Entry where there is none). changed: its versions, times or settings are
// not as in a. store: they are not, or its context is not, and e is to be
// stored. e's Ctx is trimmed to what the directory does not have.
func (m Meeting) Join(a, b Entry) (e Entry, changed, store bool) {
	aCtx, bCtx := m.Mine.Ctx.Join(a.Ctx), m.Theirs.Ctx.Join(b.Ctx)
	e = a
	if !a.SameVersions(b) {
		e = Join(a, aCtx, b, bCtx)
		changed = !e.SameVersions(a)
	}
	if !changed && aCtx.Covers(b.Ctx) {
		return a, false, false
	}
	base := m.Mine.Ctx
	if m.Final {
		base = base.Join(m.Theirs.Ctx)
	}
	e.Ctx = aCtx.Join(bCtx).Without(base)
	return e, changed, true
}
