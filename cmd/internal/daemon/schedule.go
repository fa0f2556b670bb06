package daemon

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// schedule says how many snapshots of each kind to keep; 0 for none. The zero
// schedule makes none.
type schedule struct {
	Hourly int `cbor:"1,keyasint,omitempty"`
	Daily  int `cbor:"2,keyasint,omitempty"`
	Weekly int `cbor:"3,keyasint,omitempty"`
}

// maxScheduled is the greatest number of a schedule.
const maxScheduled = 10000

// period gives the number of the hour, day or week that a time is in. Days
// and weeks are those of the time's location; weeks begin on Monday.
type period func(t time.Time) int64

func hourOf(t time.Time) int64 { return floorDiv(t.Unix(), 3600) }

func dayOf(t time.Time) int64 {
	y, m, d := t.Date()
	return floorDiv(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix(), 24*3600)
}

func weekOf(t time.Time) int64 { return floorDiv(dayOf(t)+3, 7) }

func floorDiv(a, b int64) int64 {
	if a < 0 {
		a -= b - 1
	}
	return a / b
}

// parts are the kinds of snapshots that a schedule keeps, the shortest period
// first.
func (s schedule) parts() []part {
	all := []part{{"hourly", s.Hourly, hourOf}, {"daily", s.Daily, dayOf}, {"weekly", s.Weekly, weekOf}}
	return slices.DeleteFunc(all, func(p part) bool { return p.n <= 0 })
}

// part is one kind of snapshots that a schedule keeps.
type part struct {
	name string
	n    int
	of   period
}

// due says whether a snapshot is to be made now, taken being the times of
// those that were: if the present hour, day or week, whichever is the shortest
// wanted, has none. Those from the future, by a clock that was wrong, do not count.
func (s schedule) due(now time.Time, taken []time.Time) bool {
	parts := s.parts()
	if len(parts) == 0 {
		return false
	}
	of := parts[0].of
	return !slices.ContainsFunc(taken, func(t time.Time) bool {
		return !t.After(now) && of(t.In(now.Location())) == of(now)
	})
}

// spare returns which of the snapshots taken, by their index, are not to be
// kept: all but the newest of each of the last n periods that have one, for
// each kind. Those from the future stay, and count for nothing.
func (s schedule) spare(now time.Time, taken []time.Time) []int {
	order := make([]int, 0, len(taken)) // newest first
	for i, t := range taken {
		if !t.After(now) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return taken[b].Compare(taken[a]) })
	keep := make(map[int]bool)
	for _, p := range s.parts() {
		n, last := 0, int64(0)
		for _, i := range order {
			if at := p.of(taken[i].In(now.Location())); n == 0 || at != last {
				if n == p.n {
					break
				}
				keep[i], last = true, at
				n++
			}
		}
	}
	order = slices.DeleteFunc(order, func(i int) bool { return keep[i] })
	slices.SortFunc(order, cmp.Compare)
	return order
}

// words is the schedule as the command takes it.
func (s schedule) words() (w []string) {
	for _, p := range s.parts() {
		w = append(w, p.name+"="+strconv.Itoa(p.n))
	}
	return w
}
