package vol

import (
	"slices"

	"bazil/merge"
)

// group is a commit group: changes that become durable together. Their dots
// share one number, or a few where a name has two of them.
type group struct {
	gen     uint64   // groups are numbered since the volume was opened
	spent   bool     // the number state.n belongs to this group
	entries []*entry // changed
	bytes   int      // of memory that they take, about
	dirs    []*dir   // changed
	files   []*file  // with bytes to be flushed
	wants   []want   // content that came in
	fetched []uint64 // numbers of wants that are no more
	news    []news   // for the index of changes
	turns   []turn   // of that

	// What follows is set when the group is closed, and is then only the
	// committer's.
	state   state
	replay  bool   // of what the log had: it goes on to count
	logged  uint64 // the last record in the log that this makes obsolete
	items   []item
	places  []dirItem
	flushes []*flush

	done chan struct{} // closed when it is durable, or could not be made so
	err  error         // why it could not
}

func newGroup(gen uint64) *group {
	return &group{gen: gen, done: make(chan struct{})}
}

// empty says whether there is nothing to make durable.
func (g *group) empty() bool {
	return !g.spent && len(g.entries) == 0 && len(g.dirs) == 0 && len(g.files) == 0 && len(g.wants) == 0 && len(g.fetched) == 0
}

// markEntry makes e part of the group.
func (v *Volume) markEntry(e *entry) {
	if e.gen != v.now.gen {
		e.gen = v.now.gen
		v.now.entries = append(v.now.entries, e)
		v.now.bytes += e.size
	}
}

// markDir makes d part of the group.
func (v *Volume) markDir(d *dir) {
	if d.gen != v.now.gen {
		d.gen = v.now.gen
		v.now.dirs = append(v.now.dirs, d)
	}
}

// spend returns the dot of the group's changes.
func (v *Volume) spend() merge.Dot {
	if !v.now.spent {
		v.state.n++
		v.now.spent = true
	}
	return v.state.dot()
}

// spendFor returns the dot for a new version of an entry that supersedes the
// versions of the dots of seen: the group's, or a new one where another
// version of the name that stays has that.
func (v *Volume) spendFor(e *merge.Entry, seen []merge.Dot) merge.Dot {
	d := v.spend()
	for i := range e.Versions {
		if o := &e.Versions[i]; o.Dot == d && !slices.Contains(seen, d) {
			v.state.n++
			return v.state.dot()
		}
	}
	return d
}

// raise notes in d and all above it that something at or below it was changed
// by this replica.
func (v *Volume) raise(d *dir) {
	for n := v.spend().N; d != nil && d.raised < n; d = d.parent() {
		d.raised = n
		d.Dir = d.Dir.Change(v.state.dot())
		v.markDir(d)
		v.tell(d.at)
	}
}
