package merge

import (
	"os"
	"strconv"
	"testing"
)

func histories(t *testing.T) uint64 {
	if s := os.Getenv("MERGE_HISTORIES"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if raceDetector {
		return 1000
	}
	return 20000
}

func TestHistories(t *testing.T) {
	for seed := range histories(t) {
		if err := newWorld(seed, noMistake).run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
