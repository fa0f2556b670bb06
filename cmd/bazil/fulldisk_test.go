package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk mounts a tmpfs of so many MiB.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", mib)); err != nil {
		if os.Getuid() != 0 && os.Getenv("CI") == "" {
			t.Skip("only root can mount a small disk")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// hoard is what a server on a full disk said is durable.
type hoard struct {
	t    *testing.T
	d    *device
	mnt  string
	made int
	kept map[string][]byte
}

// fill writes and fsyncs files through the mount until the disk is full, and
// returns how many were durable.
func (h *hoard) fill() (n int) {
	h.t.Helper()
	for {
		h.made++
		name, content := fmt.Sprint("f", h.made), noise(uint64(h.made), 900_000)
		err := writeSynced(filepath.Join(h.mnt, name), content)
		if errors.Is(err, syscall.ENOSPC) {
			must(h.t, os.Remove(filepath.Join(h.mnt, name)))
			return n
		}
		if err != nil {
			h.t.Fatalf("after %d files: %v, want %v", n, err, syscall.ENOSPC)
		}
		h.kept[name] = content
		n++
	}
}

// check reads all of it over 9P, past what the mount's kernel has.
func (h *hoard) check(when string) {
	h.t.Helper()
	root := h.d.attach(h.t, "v")
	for name, want := range h.kept {
		if got, err := get(root, name, len(want)); err != nil || !bytes.Equal(got, want) {
			h.t.Errorf("%s: %s has %d bytes of %d, %v", when, name, len(got), len(want), err)
		}
	}
}

// removeHalf removes every second file, and collects what they took.
func (h *hoard) removeHalf() {
	h.t.Helper()
	i := 0
	for name := range h.kept {
		if i++; i%2 == 0 {
			must(h.t, os.Remove(filepath.Join(h.mnt, name)))
			delete(h.kept, name)
		}
	}
	if out := h.d.run(h.t, "store", "collect", "--records"); !strings.Contains(out, " freed=") || strings.Contains(out, " freed=0 ") {
		h.t.Errorf("a collection on a full disk: %s", out)
	}
}

func writeSynced(path string, content []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// TestFullDisk fills the disk under a server: who writes hears ENOSPC, through
// a mount and over 9P, who reads goes on; removing and collecting, which has a
// reserve, makes room again; and a server that is killed on the full disk
// starts on it, with all that it said is durable.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	d := &device{dir: filepath.Join(smallDisk(t, 40), "data")}
	d.run(t, "create")
	d.start(t)
	t.Cleanup(func() { d.kill(syscall.SIGKILL) })
	h := &hoard{t: t, d: d, mnt: d.mount(t, "v", "--fuse"), kept: map[string][]byte{}}
	if n := h.fill(); n < 10 {
		t.Errorf("full after %d files", n)
	}
	h.check("on a full disk")
	if err := put(d.attach(t, "v"), "more", noise(1_000_000, 900_000)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("more is refused with %v", err)
	}
	must(t, os.Remove(filepath.Join(h.mnt, "more")))
	h.removeHalf()
	if n := h.fill(); n < 5 {
		t.Errorf("full again after %d files", n)
	}
	h.check("full again")
	d.kill(syscall.SIGKILL)
	d.start(t)
	h.check("after a restart on a full disk")
	h.removeHalf()
	if n := h.fill(); n < 5 {
		t.Errorf("full a third time after %d files", n)
	}
	must(t, d.kill(syscall.SIGTERM))
	if out := d.run(t, "store", "check"); !strings.Contains(out, "no faults") {
		t.Error(out)
	}
	d.start(t)
	h.check("in the end")
}
