package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/hugelgupf/p9/linux"
	"github.com/hugelgupf/p9/p9"
)

// mountFlags say how to mount.
type mountFlags struct {
	V9fs     bool     `name:"v9fs" xor:"kind" help:"Take Linux's own 9P client, or fail."`
	Fuse     bool     `name:"fuse" xor:"kind" help:"Take the FUSE bridge."`
	ReadOnly bool     `help:"Let nothing be changed through the mount."`
	Option   []string `short:"o" placeholder:"OPTION" help:"An option of the mount: allow_other for FUSE; any of v9fs's, and suid, dev, noexec, noatime."`
	Verbose  bool     `short:"v" help:"Tell on the standard error which kind of mount it is."`
}

// MountCmd mounts the whole tree.
type MountCmd struct {
	mountFlags
	Dir string `arg:"" help:"The directory to mount on."`
}

// Run returns when the mount can be used.
func (c *MountCmd) Run(g *Globals) error { return c.mount(g, "", c.Dir) }

// VolumeMountCmd mounts one volume.
type VolumeMountCmd struct {
	mountFlags
	Volume string `arg:"" help:"The volume's name."`
	Dir    string `arg:"" help:"The directory to mount on."`
}

// Run returns when the mount can be used.
func (c *VolumeMountCmd) Run(g *Globals) error { return c.mount(g, c.Volume, c.Dir) }

// mount mounts the tree that aname names, and leaves it so.
func (f *mountFlags) mount(g *Globals, aname, dir string) error {
	dir, err := mountPoint(dir)
	if err != nil {
		return err
	}
	if err := g.checkAname(aname); err != nil {
		return err
	}
	kind, err := f.kind(aname)
	if err != nil {
		return err
	}
	if kind == kindFUSE {
		err = f.mountFUSE(g, aname, dir)
	} else {
		err = f.mountV9fs(g, aname, dir)
	}
	if err == nil && f.Verbose {
		fmt.Fprintf(os.Stderr, "bazil: mounted on %s with %s\n", dir, kind)
	}
	return err
}

// The kinds of mounts.
const (
	kindV9fs = "v9fs"
	kindFUSE = "the FUSE bridge"
)

// kind picks the kind of mount: v9fs where it can be.
func (f *mountFlags) kind(aname string) (string, error) {
	if f.Fuse {
		return kindFUSE, nil
	}
	err := v9fsPossible(aname)
	switch {
	case err == nil:
		return kindV9fs, nil
	case f.V9fs:
		return "", err
	}
	return kindFUSE, nil
}

// mountPoint checks the directory to mount on and makes it absolute.
func mountPoint(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	fi, err := os.Stat(abs)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("mount on %s: there is no such directory: make it first", dir)
	case errors.Is(err, syscall.ENOTCONN):
		return "", fmt.Errorf("mount on %s: a mount whose process is gone is there: bazil unmount takes it away", dir)
	case err != nil:
		return "", fmt.Errorf("mount on %s: %w", dir, err)
	case !fi.IsDir():
		return "", fmt.Errorf("mount on %s: it is not a directory", dir)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", fmt.Errorf("mount on %s: %w", dir, err)
	}
	if kind, err := mountedAt(abs); err != nil || isOurs(kind) {
		return "", errors.Join(err, fmt.Errorf("mount on %s: a tree of bazil is mounted there already", dir))
	}
	return abs, nil
}

// checkAname asks the server whether it has that tree.
func (g *Globals) checkAname(aname string) error {
	return g.session(func(root p9.File) error {
		if aname == "" {
			return nil
		}
		_, f, err := root.Walk(strings.Split(aname, "/"))
		if errors.Is(err, linux.ENOENT) {
			return fmt.Errorf("no volume %q: volume list tells those there are", aname)
		}
		if err != nil {
			return fmt.Errorf("volume %q: %w", aname, err)
		}
		return f.Close()
	})
}

// takeOption takes a word out of the options.
func takeOption(options []string, word string) ([]string, bool) {
	n := len(options)
	options = slices.DeleteFunc(slices.Clone(options), func(o string) bool { return o == word })
	return options, len(options) < n
}

// UnmountCmd takes a mount away.
type UnmountCmd struct {
	Dir string `arg:"" help:"The directory it is mounted on."`
}

// Run undoes every kind of mount.
func (c *UnmountCmd) Run() error { return unmount(c.Dir) }
