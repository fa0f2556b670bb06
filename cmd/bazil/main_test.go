package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// raceOptions has programs end when they are done: with the race detector each
// would sleep for a second first.
const raceOptions = "atexit_sleep_ms=0"

// Tests that take long, and have no limits that a busy machine might not keep,
// run beside each other when all the others are done.
func TestMain(m *testing.M) {
	if have := os.Getenv("GORACE"); !strings.Contains(have, raceOptions) {
		os.Setenv("GORACE", strings.TrimSpace(have+" "+raceOptions))
	}
	if os.Getenv("BAZIL_GUEST") != "" {
		os.Unsetenv("GODEBUG") // which init.sh has set for this process alone
	}
	testscript.Main(m, map[string]func(){"bazil": main, "keepwriting": keepWriting, "lockboth": locking})
}
