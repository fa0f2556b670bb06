package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bazil/p9srv/fusemount"
)

// unmount takes the mount at dir away, whichever kind it is.
func unmount(dir string) error {
	at, err := realParent(dir)
	if err != nil {
		return err
	}
	kind, err := mountedAt(at)
	switch {
	case err != nil:
		return err
	case !isOurs(kind):
		return fmt.Errorf("unmount %s: no tree of bazil is mounted there", dir)
	case kind != v9fsType:
		return fusemount.Unmount(at)
	}
	err = unix.Unmount(at, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("unmount %s: it is in use: close the files in it and leave it with cd", dir)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// realParent makes dir absolute and follows all symlinks but the last name,
// which is not looked at: a mount there may be stale.
func realParent(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if fi, err := os.Lstat(abs); err == nil && fi.Mode().Type() == os.ModeSymlink {
		return filepath.EvalSymlinks(abs)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}

// v9fsType is how the kernel calls its own 9P mounts.
const v9fsType = "9p"

// isOurs tells whether a mount of that type can be ours.
func isOurs(kind string) bool { return kind == v9fsType || kind == "fuse.bazil" }

// mountedAt is the type of the filesystem mounted on dir, "" if none is.
func mountedAt(dir string) (string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	kind := ""
	for line := range strings.Lines(string(table)) {
		// ID parent major:minor root mount-point options [tags] - type source
		place, types, _ := strings.Cut(line, " - ")
		if f := strings.Fields(place); len(f) > 4 && unescape.Replace(f[4]) == dir {
			kind, _, _ = strings.Cut(types, " ")
		}
	}
	return kind, nil
}

// unescape undoes how the kernel writes blanks in paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
