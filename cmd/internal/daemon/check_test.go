package daemon

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bazil/store"
)

// TestCheckFindsFlips: whatever byte of a data directory is changed, a check
// ends with a report, and one that finds nothing has read everything: what is
// changed then is in pages and ends of files that nothing uses.
func TestCheckFindsFlips(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v")
	for i := range 6 {
		write(t, d, fmt.Sprintf("v/f%d", i), noise(uint64(i), 100<<10))
	}
	must(t, d, "snapshot create v s", "store collect")
	dir := d.o.Dir
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check := func() CheckReport {
		t.Helper()
		r, err := Check(t.Context(), dir, store.CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := check(); r.Faults != 0 || r.Volumes != 1 || r.Names != 7 || r.Snapshots != 1 {
		t.Fatalf("%+v", r)
	}
	segments, _ := filepath.Glob(filepath.Join(dir, "chunks", "*.seg"))
	volumes, _ := filepath.Glob(filepath.Join(dir, "volumes", "*.db"))
	r := rand.New(rand.NewPCG(1, 2))
	for _, path := range slices.Concat(segments, volumes) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		const flips = 40
		for range flips {
			b := slices.Clone(whole)
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if check().Faults > 0 {
				found++
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(path) == ".seg" && found < flips*9/10 && len(whole) > 100<<10 {
			t.Errorf("%s: %d of %d changes are found", path, found, flips)
		}
	}
	if r := check(); r.Faults != 0 {
		t.Errorf("put right there are %+v", r)
	}
}
