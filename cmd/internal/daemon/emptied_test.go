package daemon

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestEmptiedDisk: a volume whose file is gone, and a replica that comes back
// as a new one, are no deletions of what was in it.
func TestEmptiedDisk(t *testing.T) {
	white, black := couple(t)
	must(t, white, "peer volume allow black v", "peer storage allow black local")
	must(t, black, "volume connect white v sharing=whites", "peer volume allow white v", "peer storage allow white local")
	write(t, white, "v/kept", "white has it")
	must(t, black, "sync v white")
	write(t, black, "v/black's", "black made it")
	must(t, white, "peer location set black "+black.Addr().String(), "sync v black")

	dir, file := black.store.Dir(), black.volumePath(black.volumes.get("v").id)
	if err := black.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	black = start(t, dir)
	must(t, black, "peer location set white "+white.Addr().String())
	must(t, white, "peer location set black "+black.Addr().String())
	if status, err := ctl(t, black, "volume list"); err != nil || !strings.Contains(status, "state=failed") {
		t.Errorf("black's volume: %s, %v", status, err)
	}
	wantError(t, white, "sync v black", syscall.ENOENT, "v")
	wantFile(t, white, "v/kept", "white has it")

	must(t, black, "volume remove v", "volume connect white v sharing=whites", "peer volume allow white v")
	must(t, white, "sync v black") // which is empty
	wantFile(t, white, "v/kept", "white has it")
	wantFile(t, white, "v/black's", "black made it")
	must(t, black, "sync v white")
	must(t, white, "sync v black")
	for _, d := range []*Daemon{white, black} {
		wantFile(t, d, "v/kept", "white has it")
		wantFile(t, d, "v/black's", "black made it")
	}
}
