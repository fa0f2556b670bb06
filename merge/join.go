package merge

import "slices"

// Join joins what two replicas hold of one name. aCtx and bCtx are their
// effective contexts: View.Names of the directory with the entry's own Ctx.
// The result's Ctx is the union of both, for the caller to trim. Join is
// commutative, associative and idempotent.
func Join(a Entry, aCtx Context, b Entry, bCtx Context) Entry {
	out := Entry{Ctx: aCtx.Join(bCtx)}
	out.Versions = joinVersions(a.Versions, aCtx, b.Versions, bCtx)
	out.Attrs = joinAttrs(a.Attrs, aCtx, b.Attrs, bCtx)
	return out
}

func joinVersions(a []Version, aCtx Context, b []Version, bCtx Context) []Version {
	switch {
	case len(b) == 0:
		return unknown(a, bCtx)
	case len(a) == 0:
		return unknown(b, aCtx)
	}
	out := make([]Version, 0, len(a)+len(b))
	for _, v := range a {
		if i := indexOf(b, v.Dot); i >= 0 {
			out = append(out, later(v, b[i]))
		} else if !bCtx.Has(v.Dot) {
			out = append(out, v)
		}
	}
	for _, v := range b {
		if indexOf(a, v.Dot) < 0 && !aCtx.Has(v.Dot) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil
	}
	sortVersions(out)
	return out
}

// indexOf is where in vs the version is that d wrote, -1 if it is not there.
func indexOf(vs []Version, d Dot) int {
	return slices.IndexFunc(vs, func(v Version) bool { return v.Dot == d })
}

// later joins what two sides have of one version: the later time counts. Where
// the contents differ, which only a broken or lying replica can bring about,
// the higher one stays on all sides.
func later(a, b Version) Version {
	if contentCompare(&a, &b) < 0 {
		a.Kind, a.Content, a.Size = b.Kind, b.Content, b.Size
	}
	if a.MStamp.Compare(b.MStamp) < 0 {
		a.MTime, a.MStamp = b.MTime, b.MStamp
	}
	return a
}

// unknown returns the versions that ctx does not know: what the join with a
// name absent under ctx leaves. It is vs itself where that is all.
func unknown(vs []Version, ctx Context) []Version {
	known := func(v Version) bool { return ctx.Has(v.Dot) }
	if !slices.ContainsFunc(vs, known) {
		return vs
	}
	return slices.DeleteFunc(slices.Clone(vs), known)
}

// joinAttrs keeps the dots that neither side knows to be gone, and of each
// setting what dots it has left.
func joinAttrs(a []Attr, aCtx Context, b []Attr, bCtx Context) []Attr {
	if len(a) == 0 && !knowsAttrs(b, aCtx) {
		return b
	}
	if len(b) == 0 && !knowsAttrs(a, bCtx) {
		return a
	}
	var out []Attr
	for _, x := range slices.Concat(a, b) {
		i := slices.IndexFunc(out, func(o Attr) bool { return o.Stamp == x.Stamp })
		if i < 0 {
			out = append(out, x)
		} else {
			out[i].Dots = uniteDots(out[i].Dots, x.Dots)
		}
	}
	for i := range out {
		out[i].Dots = slices.DeleteFunc(slices.Clone(out[i].Dots), func(d Dot) bool {
			return gone(d, a, aCtx) || gone(d, b, bCtx)
		})
	}
	out = slices.DeleteFunc(out, func(x Attr) bool { return len(x.Dots) == 0 })
	slices.SortFunc(out, func(x, y Attr) int { return y.Stamp.Compare(x.Stamp) })
	return out
}

// knowsAttrs says whether ctx has a dot of attrs.
func knowsAttrs(attrs []Attr, ctx Context) bool {
	return slices.ContainsFunc(attrs, func(a Attr) bool { return slices.ContainsFunc(a.Dots, ctx.Has) })
}

// gone says whether the side that holds attrs under ctx knows d and has it no
// longer.
func gone(d Dot, attrs []Attr, ctx Context) bool {
	return ctx.Has(d) && !slices.ContainsFunc(attrs, func(o Attr) bool { return slices.Contains(o.Dots, d) })
}

// uniteDots returns the sorted union of sorted sets.
func uniteDots(a, b []Dot) []Dot {
	if slices.Equal(a, b) {
		return a
	}
	out := slices.Concat(a, b)
	slices.SortFunc(out, Dot.Compare)
	return slices.Compact(out)
}
