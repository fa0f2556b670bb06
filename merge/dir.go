package merge

// Dir is what one directory stores of contexts, beyond what it inherits.
// It belongs to a place in the tree, never moves, and is made the first time
// that something is written or learned below that place.
type Dir struct {
	// Ctx: every change of it at this directory's names and anywhere below
	// them is known here.
	Ctx Context
	// Names: every change of it at this directory's names is known here, and
	// so is every change below those names that have no Dir of their own.
	Names Context
	// Max covers every change known here that was made at or below this
	// directory's names, deletions included. It may hold more.
	Max Context
}

// View is a Dir's contexts with all that it inherits: what a replica tells
// another. Names covers Ctx.
type View struct {
	Ctx, Names, Max Context
}

// RootView returns the view of the volume's root directory at the replica
// whose last change is own (N may be 0).
func RootView(own Dot, root Dir) View {
	return View{Ctx: root.Ctx.With(own)}.Sub(root)
}

// Sub returns the view of d, a subdirectory of the directory that has view v.
func (v View) Sub(d Dir) View {
	ctx := v.Ctx.Join(d.Ctx)
	return View{Ctx: ctx, Names: ctx.Join(d.Names), Max: d.Max}
}

// Lacking returns the view of a subdirectory for which there is no Dir.
func (v View) Lacking() View {
	return View{Ctx: v.Names, Names: v.Names, Max: v.Max}
}

// NewDir returns the Dir to store when a subdirectory gets one: by a local
// change, or because a peer has one. Its view is v.Lacking().
func (v View) NewDir() Dir {
	return Dir{Ctx: v.Names.Without(v.Ctx), Max: v.Max}
}

// Knows says whether the subtree that a peer has with view o can be skipped:
// whatever was changed there is known here, at the directory with view v.
func (v View) Knows(o View) bool { return v.Ctx.Covers(o.Max) }

// Change returns d after a local change, d or below it.
func (d Dir) Change(dot Dot) Dir {
	d.Max = d.Max.With(dot)
	return d
}

// Apply returns d after all names of a peer's directory with view o were
// joined with its names, and a Dir was made (View.NewDir of the view before)
// for every subdirectory of the peer's that View.Knows does not skip.
// Every directory above takes o.Max into its Max (Dir.Learn).
func (d Dir) Apply(o View) Dir {
	d.Names = d.Names.Join(o.Ctx)
	return d.Learn(o)
}

// Learn returns d after something at or below it was taken from a peer's
// directory with view o.
func (d Dir) Learn(o View) Dir {
	d.Max = d.Max.Join(o.Max)
	return d
}

// Finish returns d after Apply and after all subdirectories, on either side,
// were finished or skipped. A skipped directory may be finished too.
func (d Dir) Finish(o View) Dir {
	d.Ctx = d.Ctx.Join(o.Ctx)
	return d.Apply(o)
}

// Trim returns d without what it inherits from the directory above it, which
// has view parent; the root passes View{Ctx: own}.
func (d Dir) Trim(parent View) Dir {
	d.Ctx = d.Ctx.Without(parent.Ctx)
	d.Names = d.Names.Without(parent.Ctx.Join(d.Ctx))
	return d
}

// Removable says whether d, that has no entries and no subdirectories left,
// can be forgotten: its view is what View.Lacking of parent gives.
func (d Dir) Removable(parent View) bool {
	v := parent.Sub(d)
	return v.Ctx.Covers(parent.Names) && parent.Names.Covers(v.Names) && parent.Max.Covers(v.Max)
}
