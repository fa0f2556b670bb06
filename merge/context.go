package merge

import (
	"cmp"
	"errors"
	"fmt"
)

// MaxReplicas bounds the replicas that one Context may name.
const MaxReplicas = 4096

// ReplicaID names one device's copy of a volume. It is random, never 0 and
// never reused: a copy that was restored or cloned takes a new one.
type ReplicaID uint64

// String is 16 lower-case hex digits.
func (r ReplicaID) String() string { return fmt.Sprintf("%016x", uint64(r)) }

// Dot names one change: the N-th of a replica, counted from 1.
type Dot struct {
	Replica ReplicaID
	N       uint64
}

// String is the replica's and the change's number with a colon between.
func (d Dot) String() string { return fmt.Sprintf("%v:%d", d.Replica, d.N) }

// Compare orders dots by replica, then by number.
func (d Dot) Compare(o Dot) int {
	if c := cmp.Compare(d.Replica, o.Replica); c != 0 {
		return c
	}
	return cmp.Compare(d.N, o.N)
}

// Context is a set of changes as a version vector: a Dot (r, n) in it stands
// for the changes 1 to n of r. It is sorted by Replica, names each replica at
// most once, and is never changed after it was made, so that contexts may
// share memory. nil is the empty one.
type Context []Dot

// Get returns how many of r's changes c holds.
func (c Context) Get(r ReplicaID) uint64 {
	i, ok := c.find(r)
	if !ok {
		return 0
	}
	return c[i].N
}

// find returns where r stands or would stand.
func (c Context) find(r ReplicaID) (int, bool) {
	lo, hi := 0, len(c)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if c[mid].Replica < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(c) && c[lo].Replica == r
}

// Has says whether d is one of c's changes.
func (c Context) Has(d Dot) bool { return c.Get(d.Replica) >= d.N }

// Covers says whether all changes of o are in c.
func (c Context) Covers(o Context) bool {
	if sameSlice(c, o) {
		return true
	}
	i := 0
	for _, d := range o {
		for i < len(c) && c[i].Replica < d.Replica {
			i++
		}
		if i == len(c) || c[i].Replica != d.Replica || c[i].N < d.N {
			return false
		}
	}
	return true
}

// Equal says whether c and o hold the same changes.
func (c Context) Equal(o Context) bool {
	if len(c) != len(o) {
		return false
	}
	for i := range c {
		if c[i] != o[i] {
			return false
		}
	}
	return true
}

// Join returns the changes of c and of o: one of the two, without
// allocating, where it covers the other.
func (c Context) Join(o Context) Context {
	if c.Covers(o) {
		return c
	}
	if o.Covers(c) {
		return o
	}
	out := make(Context, 0, len(c)+len(o))
	for len(c) > 0 && len(o) > 0 {
		switch a, b := c[0], o[0]; {
		case a.Replica < b.Replica:
			out, c = append(out, a), c[1:]
		case a.Replica > b.Replica:
			out, o = append(out, b), o[1:]
		default:
			out = append(out, Dot{a.Replica, max(a.N, b.N)})
			c, o = c[1:], o[1:]
		}
	}
	return append(append(out, c...), o...)
}

// With returns c and d's replica's changes up to d. A dot with N 0 adds
// nothing.
func (c Context) With(d Dot) Context {
	i, ok := c.find(d.Replica)
	if ok && c[i].N >= d.N || d.N == 0 {
		return c
	}
	out := make(Context, 0, len(c)+1)
	out = append(append(out, c[:i]...), d)
	if ok {
		i++
	}
	return append(out, c[i:]...)
}

// WithAll returns c with every dot of dots.
func (c Context) WithAll(dots []Dot) Context {
	for _, d := range dots {
		c = c.With(d)
	}
	return c
}

// Without returns what of c exceeds base: for every context b that covers
// base, b.Join(c.Without(base)) equals b.Join(c).
func (c Context) Without(base Context) Context {
	n := 0
	for _, d := range c {
		if !base.Has(d) {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case len(c):
		return c
	}
	out := make(Context, 0, n)
	for _, d := range c {
		if !base.Has(d) {
			out = append(out, d)
		}
	}
	return out
}

// Valid returns an error unless c is sorted, names no replica twice, has no
// zeros and at most MaxReplicas dots.
func (c Context) Valid() error {
	if len(c) > MaxReplicas {
		return fmt.Errorf("merge: context of %d replicas", len(c))
	}
	for i, d := range c {
		if d.Replica == 0 || d.N == 0 {
			return errors.New("merge: context with a zero dot")
		}
		if i > 0 && c[i-1].Replica >= d.Replica {
			return errors.New("merge: context out of order")
		}
	}
	return nil
}

func sameSlice(a, b Context) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
