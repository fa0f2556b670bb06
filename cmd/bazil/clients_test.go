package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// TestFUSE runs everything on a volume behind the FUSE bridge.
func TestFUSE(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	d := newDevice(t)
	dir := d.mount(t, "files", "--fuse")
	everyClient(t, d, dir, fuseExceptions)
}

// TestInGuestV9FS runs everything on a volume behind Linux's own 9P client.
func TestInGuestV9FS(t *testing.T) {
	inGuest(t)
	d := newDevice(t)
	dir := d.mount(t, "files")
	if got := mountType(t, dir); got != "9p" {
		t.Fatalf("mounted as %q, want 9p", got)
	}
	everyClient(t, d, dir, v9fsExceptions)
}

func needFUSE(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no FUSE here: ", err)
	}
}

func everyClient(t *testing.T, d *device, dir string, exceptions map[string]string) {
	t.Run("exercise", func(t *testing.T) { exercise(t, dir) })
	t.Run("posix", func(t *testing.T) { posix(t, dir, exceptions) })
	t.Run("locks", func(t *testing.T) { recordLocks(t, dir) })
	t.Run("programs", func(t *testing.T) { programs(t, dir) })
	t.Run("killed reader", func(t *testing.T) { killedReader(t, d) })
}

const (
	noLinks = "hard links are refused, as the README says"
	ownLock = "it wants a process kept out by its own record lock, which fcntl(2) rules out; it fails on ext4 too"
	noName  = "9P knows no file without a name"
)

// fuseExceptions and v9fsExceptions are go-fuse's tests that do not pass, and
// why. README.md has the same in a table.
var (
	fuseExceptions = map[string]string{
		"Link":                noLinks,
		"LinkUnlinkRename":    noLinks,
		"FcntlFlockLocksFile": ownLock,
		"Tmpfile":             noName,
	}
	v9fsExceptions = map[string]string{
		"Link":                noLinks,
		"LinkUnlinkRename":    noLinks,
		"FcntlFlockLocksFile": ownLock,
		"Tmpfile":             noName,
		"Fallocate":           "v9fs has no fallocate",
		"FallocateKeepSize":   "v9fs has no fallocate",
	}
)

// posix runs go-fuse's tests of POSIX behaviour.
func posix(t *testing.T, dir string, exceptions map[string]string) {
	var names []string
	for name := range posixtest.All {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if why, ok := exceptions[name]; ok {
				t.Skip(why)
			}
			sub := filepath.Join(dir, "posix-"+name)
			must(t, os.Mkdir(sub, 0o755))
			posixtest.All[name](t, sub)
		})
	}
}

// killedReader checks that a process which waits for an event can be killed.
func killedReader(t *testing.T, d *device) {
	dir := t.TempDir()
	d.run(t, "mount", dir)
	defer d.run(t, "unmount", dir)
	cat := exec.Command("cat", filepath.Join(dir, "ctl", "log"))
	out, err := cat.StdoutPipe()
	must(t, err)
	must(t, cat.Start())
	buf := make([]byte, 1)
	_, err = out.Read(buf)
	must(t, err) // it has read an event, and soon waits for the next
	must(t, cat.Process.Signal(syscall.SIGKILL))
	within(t, 10*time.Second, "kill -9 of a blocked reader", func() { cat.Wait() })
}
