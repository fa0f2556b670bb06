package daemon

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawSchedule draws a schedule and a clock's ticks.
func drawSchedule(t *rapid.T) schedule {
	n := rapid.IntRange(0, 6)
	return schedule{n.Draw(t, "hourly"), n.Draw(t, "daily"), n.Draw(t, "weekly")}
}

func drawTime(t *rapid.T) time.Time {
	zone := time.FixedZone("zone", rapid.IntRange(-12*3600, 14*3600).Draw(t, "zone"))
	return time.Unix(rapid.Int64Range(-1e9, 3e9).Draw(t, "start"), 0).In(zone)
}

// TestRetention: whatever was taken, the newest of the past stays, no more
// stay than asked for, each period has its newest, what is spared once is not
// missed, and the future is left alone.
func TestRetention(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t), drawTime(t)
		var taken []time.Time
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			taken = append(taken, now.Add(time.Duration(rapid.Int64Range(-90*24*3600, 40*3600).Draw(t, "ago"))*time.Second))
		}
		spare := s.spare(now, taken)
		gone := make(map[int]bool)
		for _, i := range spare {
			gone[i] = true
		}
		var past, left []time.Time
		for i, at := range taken {
			switch {
			case at.After(now) && gone[i]:
				t.Fatal("one from the future is gone")
			case at.After(now):
				continue
			case !gone[i]:
				left = append(left, at)
			}
			past = append(past, at)
		}
		if most := s.Hourly + s.Daily + s.Weekly; len(left) > most {
			t.Fatalf("%d stay, %d at most should", len(left), most)
		}
		if most := s.Hourly + s.Daily + s.Weekly; most > 0 && len(past) > 0 && !slices.ContainsFunc(left, slices.MaxFunc(past, time.Time.Compare).Equal) {
			t.Fatal("the newest is gone")
		}
		for _, p := range s.parts() {
			want := newestOf(past, now, p.of)
			for _, at := range want[:min(len(want), p.n)] {
				if !slices.ContainsFunc(left, at.Equal) {
					t.Fatalf("%v, the newest of its period, is gone", at)
				}
			}
		}
		if again := s.spare(now, left); len(again) > 0 {
			t.Fatalf("a second time %d more go", len(again))
		}
	})
}

// newestOf is the newest time of each period, newest first.
func newestOf(taken []time.Time, now time.Time, of period) (out []time.Time) {
	best := make(map[int64]time.Time)
	for _, at := range taken {
		if p := of(at.In(now.Location())); at.After(best[p]) || best[p].IsZero() {
			best[p] = at
		}
	}
	for _, at := range best {
		out = append(out, at)
	}
	slices.SortFunc(out, func(a, b time.Time) int { return b.Compare(a) })
	return out
}

// TestScheduleOverTime: a server that is off at times has, whenever it runs, a
// snapshot of the present period, and makes one and no more for all it missed.
func TestScheduleOverTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := drawSchedule(t), drawTime(t)
		var taken []time.Time
		for range 100 {
			now = now.Add(time.Duration(rapid.SampledFrom([]int64{60, 60, 600, 3600, 86400, 30 * 86400, -7200}).Draw(t, "step")) * time.Second)
			if s.due(now, taken) {
				taken = append(taken, now)
			}
			if len(s.parts()) > 0 && s.due(now, taken) {
				t.Fatal("one was made and another is due")
			}
			spare := s.spare(now, taken)
			for i := len(spare) - 1; i >= 0; i-- {
				taken = slices.Delete(taken, spare[i], spare[i]+1)
			}
			if len(s.parts()) > 0 && s.due(now, taken) {
				t.Fatal("the one just made was removed")
			}
		}
		if len(s.parts()) == 0 && len(taken) > 0 {
			t.Fatal("without a schedule there are snapshots")
		}
	})
}

func TestPeriods(t *testing.T) {
	zone := time.FixedZone("east", 2*3600)
	sunday := time.Date(2026, 11, 29, 23, 59, 59, 0, zone)
	monday := sunday.Add(time.Second)
	if weekOf(monday) != weekOf(sunday)+1 || dayOf(monday) != dayOf(sunday)+1 || hourOf(monday) != hourOf(sunday)+1 {
		t.Error("a week does not begin on Monday at midnight")
	}
	if weekOf(monday.AddDate(0, 0, 6)) != weekOf(monday) || dayOf(monday.Add(23*time.Hour)) != dayOf(monday) {
		t.Error("a week does not have seven days, or a day 24 hours")
	}
}
