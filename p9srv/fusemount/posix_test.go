package fusemount

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// posixSkips are the tests of posixtest that skip by themselves where a
// filesystem lacks what they test, with the reason.
var posixSkips = map[string]string{
	"Tmpfile": "9P cannot make a file without a name",
}

// posixElsewhere are the tests that no filesystem can pass, and one that is
// long.
var posixElsewhere = map[string]string{
	"OpenSymlinkRace":     "cmd/bazil runs it, on a volume; it takes half a minute with the race detector here",
	"FcntlFlockLocksFile": "it wants a process to be kept out by its own record lock, which fcntl(2) rules out",
}

func TestPosix(t *testing.T) {
	s, dir := mounted(t, Options{})
	large := inMemory(t, s)
	names := make([]string, 0, len(posixtest.All))
	for name := range posixtest.All {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if why := posixElsewhere[name]; why != "" {
				t.Skip(why)
			}
			t.Cleanup(func() {
				if why, skips := posixSkips[name]; t.Skipped() != skips {
					t.Errorf("skipped: %v, known reason: %q", t.Skipped(), why)
				}
			})
			sub := filepath.Join(dir, name)
			if name == "XAttrLarge" {
				sub = filepath.Join(dir, large)
			}
			check(t, os.MkdirAll(sub, 0o755))
			posixtest.All[name](t, sub)
		})
	}
}
