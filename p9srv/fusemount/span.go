package fusemount

import (
	"slices"

	"bazil/p9srv"
)

// span is a locked range of bytes: start to end, both in it.
type span struct {
	typ        p9srv.LockType
	start, end uint64
}

// setSpan is spans, sorted and apart, after a lock or unlock of s. Locking a
// range again changes its type, as fcntl(2) has it.
func setSpan(spans []span, s span) []span {
	var out []span
	for _, o := range spans {
		if o.start < s.start {
			out = append(out, span{o.typ, o.start, min(o.end, s.start-1)})
		}
		if o.end > s.end {
			out = append(out, span{o.typ, max(o.start, s.end+1), o.end})
		}
	}
	if s.typ != p9srv.LockUnlock {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b span) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	return joinSpans(out)
}

// joinSpans makes one of neighbours of the same type.
func joinSpans(spans []span) []span {
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && out[n-1].typ == s.typ && out[n-1].end+1 == s.start {
			out[n-1].end = s.end
			continue
		}
		out = append(out, s)
	}
	return out
}

// overlaps says whether any of the spans touches s.
func overlaps(spans []span, s span) bool {
	return slices.ContainsFunc(spans, func(o span) bool { return o.start <= s.end && s.start <= o.end })
}
