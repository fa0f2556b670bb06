package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// snapshotNames lists a volume's snapshots.
func snapshotNames(t *testing.T, d *Daemon, volume string) (names []string) {
	t.Helper()
	out, err := ctl(t, d, "snapshot list "+volume)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "snapshot="), " ")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestScheduleKeepsOthers: a schedule makes up for what was missed with one
// snapshot, removes its own and no other.
func TestScheduleKeepsOthers(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v", "snapshot create v mine", "snapshot create v autumn")
	d.upkeep.end() // the clock is the test's from here on
	must(t, d, "snapshot schedule v hourly=2 daily=2")
	now := time.Date(2031, 5, 6, 10, 20, 0, 0, time.UTC)
	at := func(later time.Duration) {
		t.Helper()
		if err := d.keepSchedules(t.Context(), now.Add(later)); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(what string, want ...string) {
		t.Helper()
		if got := snapshotNames(t, d, "v"); !slices.Equal(got, append(want, "autumn", "mine")) {
			t.Errorf("%s: %q", what, got)
		}
	}
	at(0)
	at(10 * time.Minute)
	wants("an hour's", "auto-20310506T102000Z")
	at(time.Hour)
	at(2 * time.Hour)
	wants("two hours'", "auto-20310506T112000Z", "auto-20310506T122000Z")
	at(50 * time.Hour)
	wants("after two days off", "auto-20310506T122000Z", "auto-20310508T122000Z")
	must(t, d, "snapshot rename v auto-20310506T122000Z old")
	at(53 * time.Hour)
	if got := snapshotNames(t, d, "v"); !slices.Contains(got, "old") || len(got) != 5 {
		t.Errorf("after a renaming there are %q", got)
	}
	must(t, d, "snapshot schedule v off")
	before := snapshotNames(t, d, "v")
	at(500 * time.Hour)
	if got := snapshotNames(t, d, "v"); !slices.Equal(got, before) {
		t.Errorf("without a schedule %q became %q", before, got)
	}
	must(t, d, "snapshot schedule v weekly=1", "volume remove v delete", "volume create v")
	if out, err := ctl(t, d, "snapshot schedule v"); err != nil || out != "volume v has no schedule\n" {
		t.Errorf("a new volume of an old name: %q, %v", out, err)
	}
}
