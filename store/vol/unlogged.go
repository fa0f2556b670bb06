package vol

import (
	"math"
	"slices"
	"sort"
)

// What an fsync may write to the log: more goes to the chunk store at once.
const (
	logBytesMax  = 128 << 10
	logRangesMax = 512
)

// unlogged is what was done to the bytes of a file and is not in the log: what
// was written, and the least size that the file had in between. It is counted
// only as far as the log would take it.
type unlogged struct {
	ranges  []fileRun // written, sorted and apart from each other
	limit   int64     // what is beyond is zeros where no range has it
	touched bool      // else it is empty, and limit means nothing
	over    bool      // more than the log takes, or not known
}

// touch makes u one that is not empty.
func (u *unlogged) touch() {
	if !u.touched {
		u.touched, u.limit = true, math.MaxInt64
	}
}

// write adds [lo, hi).
func (u *unlogged) write(lo, hi int64) {
	u.touch()
	if u.over {
		return
	}
	i := sort.Search(len(u.ranges), func(i int) bool { return u.ranges[i].hi >= lo })
	j := i
	for ; j < len(u.ranges) && u.ranges[j].lo <= hi; j++ {
		lo, hi = min(lo, u.ranges[j].lo), max(hi, u.ranges[j].hi)
	}
	u.ranges = slices.Replace(u.ranges, i, j, fileRun{lo, hi})
	if u.bytes() > logBytesMax {
		u.spill()
	}
}

// truncate notes that the file has that size now.
func (u *unlogged) truncate(size int64) {
	u.touch()
	u.limit = min(u.limit, size)
	i := sort.Search(len(u.ranges), func(i int) bool { return u.ranges[i].hi > size })
	if i < len(u.ranges) && u.ranges[i].lo < size {
		u.ranges[i].hi = size
		i++
	}
	u.ranges = u.ranges[:i]
}

// spill gives up counting.
func (u *unlogged) spill() {
	u.touch()
	u.over, u.ranges = true, nil
}

// bytes is how many are in the ranges, more than logBytesMax where there are
// too many of these.
func (u *unlogged) bytes() (n int64) {
	if len(u.ranges) > logRangesMax {
		return math.MaxInt64
	}
	for _, r := range u.ranges {
		n += r.hi - r.lo
	}
	return n
}

// with returns u and what was done after it.
func (u unlogged) with(later unlogged) unlogged {
	switch {
	case !u.touched:
		return later
	case !later.touched:
		return u
	case u.over || later.over:
		u.spill()
		return u
	}
	u.ranges = slices.Clone(u.ranges)
	if later.limit != math.MaxInt64 {
		u.truncate(later.limit)
	}
	for _, r := range later.ranges {
		u.write(r.lo, r.hi)
	}
	return u
}

// logChange is what a record of the log does to a file: it cuts it to limit,
// writes the ranges, the bytes of which data has one behind the other, and
// gives it its size.
type logChange struct {
	limit  int64 // math.MaxInt64 cuts nothing
	size   int64
	ranges []fileRun
	data   []byte
}

// take returns what is not in the log, which counts as logged from here on;
// none says that there is nothing. It is not ok where that cannot be logged:
// too much, or not in memory. present says that all that was written since the
// last freeze will be frozen with the next.
func (c *content) take(present bool) (ch logChange, none, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.older.with(c.fresh)
	switch {
	case u.over || c.fresh.touched && !present:
		return ch, false, false
	case !u.touched:
		return ch, true, true
	}
	ch = logChange{limit: u.limit, size: c.size.Load(), ranges: u.ranges, data: make([]byte, u.bytes())}
	p := ch.data
	for _, r := range u.ranges {
		g := gatherer{c: c, p: p[:r.hi-r.lo], off: r.lo}
		if g.top(r.lo, r.hi); len(g.parts) > 0 {
			return ch, false, false
		}
		p = p[r.hi-r.lo:]
	}
	c.older, c.fresh = unlogged{}, unlogged{}
	return ch, false, true
}

// frozenDurable ends what freezeAll began: what was frozen is durable, or it
// counts with what was written since.
func (c *content) frozenDurable(durable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !durable {
		c.fresh = c.older.with(c.fresh)
	}
	c.older = unlogged{}
}
