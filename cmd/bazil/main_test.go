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

func TestMain(m *testing.M) {
	if have := os.Getenv("GORACE"); !strings.Contains(have, raceOptions) {
		os.Setenv("GORACE", strings.TrimSpace(have+" "+raceOptions))
	}
	testscript.Main(m, map[string]func(){"bazil": main, "keepwriting": keepWriting})
}
