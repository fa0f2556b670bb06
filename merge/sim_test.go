package merge

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// histories says which random histories to try: those with seeds from
// MERGE_SEED on (0), MERGE_HISTORIES of them (10,000, fewer with -race).
func histories(t *testing.T) (first, end uint64) {
	n := uint64(10000)
	if raceDetector || testing.Short() {
		n = 500
	}
	first = number(t, "MERGE_SEED", 0)
	return first, first + number(t, "MERGE_HISTORIES", n)
}

// number is a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHistories tries random histories: operations of all kinds, pulls of
// everything and of paths that are cut, repeated and mixed, crashes, restored
// backups and clones. A failing seed is told and fails again.
func TestHistories(t *testing.T) {
	first, end := histories(t)
	t.Logf("%d histories, with seeds from %d on", end-first, first)
	parts := uint64(runtime.GOMAXPROCS(0))
	for part := range parts {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			for seed := first + part; seed < end; seed += parts {
				if err := newWorld(seed, noMistake).run(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

// TestSkippingChangesNothing ends histories once with pulls that skip what is
// known and list what is news, and once with pulls that look at all there is.
// What comes of it must be the same.
func TestSkippingChangesNothing(t *testing.T) {
	for seed := range uint64(500) {
		w := newWorld(seed, noMistake)
		for range 100 {
			if err := w.step(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		skipping, looking := w.copy(), w.copy()
		skipping.style = func(p *pull) { p.noSkip, p.partial = false, true }
		looking.style = func(p *pull) { p.noSkip, p.partial = true, false }
		for _, w := range []*world{skipping, looking} {
			if err := w.rest(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for i, r := range skipping.replicas {
			if o := looking.replicas[i]; !sameNames(r.root, o.root) || !sameNames(o.root, r.root) {
				t.Fatalf("seed %d: replica %d differs", seed, r.id)
			}
		}
	}
}
