package vol

import (
	"maps"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// conflictSet knows where the names in conflict are: of each directory, by its
// number, the names that are in conflict or have such below them. So who asks
// for one path pays for that path, however many conflicts there are. It takes
// some 120 bytes of memory for each: 11 MiB for 100,000 in one directory, which are
// all told in 1.6 s, listed in 0.13 and ended in 4.1. A place keeps its number as long as there
// is a name in it, so nothing here moves.
type conflictSet map[uint64]map[string]conflictMark

// conflictMark is what a conflictSet knows of a name.
type conflictMark struct {
	own   bool   // it is in conflict
	below int    // how many are below it
	sub   uint64 // the directory at this place, where there are any
}

// step is a name in a directory on the way from a name to the root.
type step struct {
	dir  uint64
	name string
}

// way is that of an entry that has a directory.
func (e *entry) way() (way []step) {
	for {
		way = append(way, step{e.dir.num, e.name})
		if e.dir.num == rootDir {
			return way
		}
		e = e.dir.at
	}
}

// set notes whether the name at the beginning of a way is in conflict, and
// returns how many conflicts more there are.
func (s conflictSet) set(way []step, own bool) (n int) {
	m := s[way[0].dir][way[0].name]
	if m.own == own {
		return 0
	}
	m.own = own
	s.put(way[0], m)
	if n = -1; own {
		n = 1
	}
	for i, at := range way[1:] {
		m := s[at.dir][at.name]
		if m.below += n; m.below > 0 {
			m.sub = way[i].dir
		} else {
			m.sub = 0
		}
		s.put(at, m)
	}
	return n
}

func (s conflictSet) put(at step, m conflictMark) {
	names := s[at.dir]
	switch {
	case m.own || m.below > 0:
		if names == nil {
			names = make(map[string]conflictMark)
			s[at.dir] = names
		}
		names[at.name] = m
	case len(names) <= 1:
		delete(s, at.dir)
	default:
		delete(names, at.name)
	}
}

// at returns what is known of a path; "" is the root, which is never in
// conflict itself.
func (s conflictSet) at(path string) conflictMark {
	m := conflictMark{below: len(s[rootDir]), sub: rootDir}
	if path == "" {
		return m
	}
	for name := range strings.SplitSeq(path, "/") {
		if m.below == 0 {
			return conflictMark{}
		}
		m = s[m.sub][name]
	}
	return m
}

// paths appends the paths of all names in conflict in the directory of a number
// and below it, without an order.
func (s conflictSet) paths(out []string, dir uint64, prefix string) []string {
	for name, m := range s[dir] {
		if m.own {
			out = append(out, prefix+name)
		}
		if m.below > 0 {
			out = s.paths(out, m.sub, prefix+name+"/")
		}
	}
	return out
}

// names are those in the directory at path that are in conflict or have
// conflicts below them, sorted.
func (s conflictSet) names(path string) []string {
	m := s.at(path)
	if m.below == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(s[m.sub]))
}

// readConflicts reads where the conflicts are that Bolt has, and how many. One
// in a directory whose record is damaged is left out: who comes to that
// directory is told.
func readConflicts(tx *bbolt.Tx) (s conflictSet, n int64) {
	s = make(conflictSet)
	places := make(map[uint64]step)
	c := tx.Bucket(bucketConflicts).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		num, name := splitKey(k)
		if way := readWay(tx, places, step{num, string(name)}); way != nil {
			n += int64(s.set(way, true))
		}
	}
	return s, n
}

// readWay is the way from a name to the root; places has those of directories
// that were read.
func readWay(tx *bbolt.Tx, places map[uint64]step, at step) (way []step) {
	for {
		way = append(way, at)
		if at.dir == rootDir {
			return way
		}
		up, ok := places[at.dir]
		if !ok {
			r, err := readDirRecord(tx, at.dir)
			if err != nil || r == nil || r.Parent == 0 || r.Parent >= at.dir {
				return nil
			}
			up = step{r.Parent, r.Name}
			places[at.dir] = up
		}
		at = up
	}
}

// noteConflict keeps the set right when the record of e becomes another. v.mu
// is held.
func (v *Volume) noteConflict(e *entry, old, rec *record) {
	was, is := old.conflict(), rec.conflict()
	if e.dir == nil || !was && !is {
		return
	}
	v.conflictChange++
	if was != is {
		v.state.figures.conflicts += int64(v.conflicts.set(e.way(), is))
	}
}
