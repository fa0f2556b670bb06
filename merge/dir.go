package merge

// Dir is what one directory stores of contexts, beyond what it inherits.
// It belongs to a place in the tree, never moves, and is made the first time
// that something is written or learned below that place.
type Dir struct {
	// Ctx: every change of it at this directory's names and anywhere below
	// them is known here.
	Ctx Context
	// Max covers every change known here that was made at or below this
	// directory's names, deletions included. It may hold more.
	Max Context
	// Gone covers every change known here that was made below those names
	// that have no Dir of their own. Max covers it.
	Gone Context
	// Whole covers those changes known here that the directory's index of
	// changes does not tell (Dir.Partial). Max covers it.
	Whole Context
}

// View is what a replica tells another of a directory: its Dir's contexts
// with all that it inherits.
type View struct {
	Ctx, Max, Gone Context
}

// RootView returns the view of the volume's root directory at the replica
// whose last change is own (N may be 0).
func RootView(own Dot, root Dir) View {
	return View{root.Ctx.With(own), root.Max, root.Gone}
}

// Sub returns the view of d, a subdirectory of the directory that has view v.
func (v View) Sub(d Dir) View { return View{v.Ctx.Join(d.Ctx), d.Max, d.Gone} }

// Lacking returns the view of a subdirectory that has no Dir.
func (v View) Lacking() View { return View{v.Ctx, v.Gone, v.Gone} }

// NewDir returns the Dir to store when a subdirectory gets one: by a local
// change, or because a peer has one. Its view is v.Lacking().
func (v View) NewDir() Dir { return Dir{Max: v.Gone, Gone: v.Gone, Whole: v.Gone} }

// Knows says whether the subtree that a peer has with view o can be skipped:
// whatever was changed there is known here, at the directory with view v.
func (v View) Knows(o View) bool { return v.Ctx.Covers(o.Max) }

// Change returns d after a local change, at it or below it.
func (d Dir) Change(dot Dot) Dir {
	d.Max = d.Max.With(dot)
	return d
}

// Partial says whether a peer that knows the changes in known at this
// directory and below (View.Ctx) can be given a partial listing. It holds
// every name for which the index has a change that is not in known, names
// that are gone included; the others have no news. In a full listing a name
// that is not listed is absent.
//
// The index has for each name, in the end, the last change of each replica
// at that name or below it. To a change here belong a row with its dot at the
// name and at each directory's name above; to a partial listing applied, the
// rows that came with it, those with dots that are not in known; to any
// listing applied, rows with the dots of View.Max for the directory's own name
// and those above. Rows may be missing for what Whole covers (Dir.Drop).
func (d Dir) Partial(known Context) bool { return known.Covers(d.Whole) }

// Drop returns d after the rows of the index with the dots in rows, and with
// earlier ones of their replicas, were removed. Max covers rows.
func (d Dir) Drop(rows Context) Dir {
	d.Whole = d.Whole.Join(rows)
	return d
}

// Apply returns d after all names of a peer's directory with view o were
// joined with its names. Every directory above takes o.Max into its Max
// (Dir.Learn). full says that the listing was a full one.
//
// A full listing may come in pieces, each with the names of a range and with
// the view that the directory had when that was read. Each is joined with the
// names of its range here, those that are in no piece included, under its own
// view, and Apply is done for each.
func (d Dir) Apply(o View, full bool) Dir {
	if full {
		d.Whole = d.Whole.Join(o.Max)
	}
	return d.Learn(o)
}

// Learn returns d after something at or below it was taken from a peer's
// directory with view o.
func (d Dir) Learn(o View) Dir {
	d.Max = d.Max.Join(o.Max)
	return d
}

// Finish returns d after Apply and after all subdirectories, on either side,
// were finished or skipped, where meanwhile no other pull changed what Apply
// had joined. A directory that View.Knows skips may be finished at once. After
// pieces, o is the view of the first one: the later ones know what it knows,
// but it has not the changes that were made to its names since.
func (d Dir) Finish(o View) Dir {
	d.Ctx = d.Ctx.Join(o.Ctx)
	d.Gone = d.Gone.Join(o.Gone)
	return d.Learn(o)
}

// Trim returns d without what it inherits from the directory above it, which
// has view parent; the root passes View{Ctx: own}.
func (d Dir) Trim(parent View) Dir {
	d.Ctx = d.Ctx.Without(parent.Ctx)
	return d
}

// Removable says whether a subdirectory's Dir sub, that has no entries and no
// subdirectories left, can be removed from the directory with view v, which
// then becomes d.Remove(sub).
func (v View) Removable(sub Dir) bool { return v.Ctx.Covers(sub.Ctx) }

// Remove returns d after the Dir of a subdirectory was removed.
func (d Dir) Remove(sub Dir) Dir {
	d.Gone = d.Gone.Join(sub.Max)
	return d
}
