package merge

// Meeting joins the names of one directory here with those of a peer's
// directory.
type Meeting struct {
	mine, theirs View
	base         Context // what need not stand in an entry afterwards
}

// NewMeeting prepares the joining of a peer's directory with view theirs.
// whole says that all its names are joined, in one transaction with
// Dir.Apply; otherwise only some are and the Dir stays as it is.
func NewMeeting(mine, theirs View, whole bool) Meeting {
	m := Meeting{mine: mine, theirs: theirs, base: mine.Names}
	if whole {
		m.base = m.base.Join(theirs.Ctx)
	}
	return m
}

// Join returns what becomes of a name that is a here and b there (the zero
// Entry where there is none), its Ctx trimmed. changed: versions, times or
// settings are not as in a; then they are stored, and whoever asks this
// replica must learn of it (Dir.Learn). Where changed is false nothing has
// to be stored.
func (m Meeting) Join(a, b Entry) (e Entry, changed bool) {
	if a.SameVersions(b) {
		return m.trimmed(a), false
	}
	aCtx, bCtx := m.mine.Names.Join(a.Ctx), m.theirs.Names.Join(b.Ctx)
	e = Join(a, aCtx, b, bCtx)
	if e.SameVersions(a) {
		return m.trimmed(a), false
	}
	return m.trimmed(e), true
}

func (m Meeting) trimmed(e Entry) Entry {
	e.Ctx = e.Ctx.Without(m.base)
	return e
}
