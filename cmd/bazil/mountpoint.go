package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"bazil/p9srv/fusemount"
)

// How the kernel calls the types of our mounts, and what they are mounted
// from unless a volume's name stands there.
const (
	v9fsType = "9p"
	fuseType = "fuse.bazil"
	ourName  = "bazil"
)

// isOurs tells whether a mount of that type can be ours.
func isOurs(kind string) bool { return kind == v9fsType || kind == fuseType }

// mountPoint checks the directory to mount on and makes it absolute. A stale
// mount of ours is taken away from it.
func mountPoint(dir string, options []string) (string, error) {
	at, err := realPath(dir)
	if err == nil {
		err = clearStale(at)
	}
	if err == nil {
		err = checkEmpty(at, slices.Contains(options, nonempty))
	}
	if err != nil {
		return "", fmt.Errorf("mount on %s: %w", dir, err)
	}
	return at, nil
}

// clearStale takes a mount away whose process or connection is gone. One that
// lives, or that is not ours, is an error.
func clearStale(at string) error {
	kind, source, err := fusemount.MountedAt(at)
	if err != nil || !isOurs(kind) {
		return err
	}
	// stat(2) may be answered from what the kernel keeps; statfs(2) is not.
	err = unix.Statfs(at, new(unix.Statfs_t))
	stale := errors.Is(err, syscall.ENOTCONN) || err != nil && kind == v9fsType && source == ourName
	if !stale {
		return errors.New("a tree of bazil is mounted there already: bazil unmount takes it away")
	}
	if kind == v9fsType {
		err = unix.Unmount(at, unix.MNT_DETACH)
	} else {
		err = fusemount.Unmount(at)
	}
	if err != nil {
		return fmt.Errorf("a mount whose server is gone is there and cannot be taken away: %w", err)
	}
	fmt.Fprintf(os.Stderr, "bazil: took away a stale mount on %s\n", at)
	return nil
}

// checkEmpty checks that at is a directory, and that a mount hides nothing in
// it unless that is meant.
func checkEmpty(at string, hide bool) error {
	d, err := os.OpenFile(at, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("there is no such directory: make it first")
	case errors.Is(err, syscall.ENOTDIR):
		return errors.New("it is not a directory")
	case errors.Is(err, syscall.ENOTCONN):
		return errors.New("a mount whose process is gone is there, and not one of bazil's: unmount it first")
	case err != nil:
		return errors.Unwrap(err)
	}
	defer d.Close()
	if _, err := d.Readdirnames(1); err == io.EOF || hide {
		return nil
	}
	return errors.New("there are files in it, which the mount would hide: name another directory, or say --option=" + nonempty)
}

// unmount takes the mount at dir away, whichever kind it is.
func unmount(dir string) error {
	at, err := realPath(dir)
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	kind, _, err := fusemount.MountedAt(at)
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

// realPath makes dir absolute and follows all symlinks. The last name is not
// looked at beyond that: a mount there may be stale.
func realPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if fi, err := os.Lstat(abs); err == nil && fi.Mode().Type() == os.ModeSymlink {
		return filepath.EvalSymlinks(abs)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if errors.Is(err, os.ErrNotExist) {
		return "", errors.New("there is no such directory: make it first")
	}
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}
