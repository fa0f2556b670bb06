package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// setClock moves the guest's clock.
func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	now := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
	must(t, unix.ClockSettime(unix.CLOCK_REALTIME, &now))
}

// TestInGuestClockGoesBack sets the clock back by two days under two servers:
// what is written later wins, whatever its time, on both; schedules go on,
// and keep what they have from the future; and servers start again.
func TestInGuestClockGoesBack(t *testing.T) {
	inGuest(t)
	const back = 49 * time.Hour
	white, black := newDevice(t), newDevice(t)
	befriend(t, white, black, "files", white.addr, noise(1, 32))
	white.run(t, "snapshot", "schedule", "files", "hourly=2", "daily=2")
	w, b := white.mountAgain(t, "files"), black.mountAgain(t, "files")
	write := func(dir, text string, mode os.FileMode) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o600))
		must(t, os.Chmod(filepath.Join(dir, "f"), mode))
	}
	same := func(text string, mode os.FileMode) {
		t.Helper()
		black.run(t, "sync", "white")
		for _, dir := range []string{w, b} {
			wantFile(t, filepath.Join(dir, "f"), text)
			info, err := os.Stat(filepath.Join(dir, "f"))
			must(t, err)
			if info.Mode() != mode {
				t.Errorf("%s: mode %v, want %v", dir, info.Mode(), mode)
			}
		}
	}
	write(w, "before", 0o640)
	same("before", 0o640)
	waitSnapshots(t, white, 1)
	old := time.Now()

	setClock(t, -back)
	t.Cleanup(func() { setClock(t, back) })
	write(w, "after", 0o604)
	same("after", 0o604)
	info, err := os.Stat(filepath.Join(w, "f"))
	must(t, err)
	if !info.ModTime().Before(old) {
		t.Errorf("written at %v, the clock being back from %v", info.ModTime(), old)
	}
	white.run(t, "snapshot", "schedule", "files", "hourly=2", "daily=2") // has it look at the clock
	waitSnapshots(t, white, 2)

	for _, d := range []*device{white, black} {
		must(t, d.kill(unix.SIGTERM))
		d.start(t, "--addr="+d.addr)
	}
	w, b = white.mountAgain(t, "files"), black.mountAgain(t, "files")
	write(w, "after a restart", 0o600)
	same("after a restart", 0o600)
	if out := black.run(t, "conflicts"); out != "" {
		t.Errorf("there are conflicts: %s", out)
	}
	waitSnapshots(t, white, 2)
	if got := white.run(t, "snapshot", "diff", "files", snapshotsOf(t, white)[0]); got == "" {
		t.Error("the snapshot has changed with the file")
	}
}

// snapshotsOf is the names of a device's snapshots of the volume files.
func snapshotsOf(t *testing.T, d *device) (names []string) {
	t.Helper()
	for line := range strings.Lines(d.run(t, "snapshot", "list", "--records", "files")) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "snapshot="), " ")
		names = append(names, name)
	}
	return names
}

// waitSnapshots waits until a device has n snapshots.
func waitSnapshots(t *testing.T, d *device, n int) {
	t.Helper()
	for end := time.Now().Add(patience); len(snapshotsOf(t, d)) != n; {
		if time.Now().After(end) {
			t.Fatalf("snapshots are %q, want %d", snapshotsOf(t, d), n)
		}
	}
}
