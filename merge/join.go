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
	groups := groupVersions(slices.Concat(a, b))
	out := groups[:0]
	for _, v := range groups {
		if !dead(&v, a, aCtx) && !dead(&v, b, bCtx) {
			out = append(out, v)
		}
	}
	sortVersions(out)
	if len(out) == 0 {
		return nil
	}
	return out
}

// unknown returns the versions of which ctx has no dot: what the join with a
// name absent under ctx leaves. It is vs itself where that is all.
func unknown(vs []Version, ctx Context) []Version {
	known := func(v Version) bool { return slices.ContainsFunc(v.Dots, ctx.Has) }
	if !slices.ContainsFunc(vs, known) {
		return vs
	}
	return slices.DeleteFunc(slices.Clone(vs), known)
}

// dead says whether the side that holds versions under ctx knows a dot of v
// and has it no longer.
func dead(v *Version, versions []Version, ctx Context) bool {
	return slices.ContainsFunc(v.Dots, func(d Dot) bool {
		return ctx.Has(d) && !slices.ContainsFunc(versions, func(o Version) bool { return o.Holds(d) })
	})
}

// groupVersions makes one of all versions that are connected by dots.
func groupVersions(all []Version) []Version {
	var out []Version
	for _, v := range all {
		for i := len(out) - 1; i >= 0; i-- {
			if v.holdsAny(out[i].Dots) {
				v = unite(v, out[i])
				out = slices.Delete(out, i, i+1)
			}
		}
		out = append(out, v)
	}
	return out
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
