package merge

import "slices"

// Surplus says what a name is to be rid of that has more than most versions, so
// that keep are left: the oldest versions, by MTime and dot, of each content
// one, and the dots of these and of all that are equal to them. A directory is
// not among them, nor what stays is true of. It is nothing if the name has no
// more than most. See "Names with many versions" in the package comment.
func (e Entry) Surplus(most, keep int, stays func(*Version) bool) (oldest []Version, dots []Dot) {
	if len(e.Versions) <= most {
		return nil, nil
	}
	alike := e.alike(stays)
	slices.SortFunc(alike, func(a, b []Version) int {
		if newer(&a[0], &b[0]) {
			return 1
		}
		return -1
	})
	for left := len(e.Versions); left > keep && len(alike) > 0; alike = alike[1:] {
		oldest = append(oldest, alike[0][0])
		for i := range alike[0] {
			dots = append(dots, alike[0][i].Dot)
		}
		left -= len(alike[0])
	}
	return oldest, dots
}

// alike returns the versions of each content, the newest first, without the
// contents that stay.
func (e Entry) alike(stays func(*Version) bool) [][]Version {
	vs := slices.Clone(e.Versions)
	slices.SortFunc(vs, func(a, b Version) int {
		if c := contentCompare(&a, &b); c != 0 {
			return c
		}
		if newer(&a, &b) {
			return -1
		}
		return 1
	})
	var out [][]Version
	for len(vs) > 0 {
		n := 1
		for n < len(vs) && vs[n].SameContent(&vs[0]) {
			n++
		}
		same := vs[:n]
		vs = vs[n:]
		if same[0].Kind != KindDir && !slices.ContainsFunc(same, func(v Version) bool { return stays(&v) }) {
			out = append(out, same)
		}
	}
	return out
}
