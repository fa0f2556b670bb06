package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hugelgupf/p9/linux"
	"github.com/hugelgupf/p9/p9"
)

// mountFlags say how to mount.
type mountFlags struct {
	V9fs     bool     `name:"v9fs" xor:"kind" help:"Take Linux's own 9P client, or fail."`
	Fuse     bool     `name:"fuse" xor:"kind" help:"Take the FUSE bridge."`
	ReadOnly bool     `help:"Let nothing be changed through the mount."`
	Option   []string `short:"o" placeholder:"OPTION" help:"An option of the mount: nonempty for both kinds; allow_other for FUSE; any of v9fs's, and suid, dev, noexec, noatime."`
	Dial     string   `placeholder:"ADDR" help:"Mount from the server at unix!/PATH, tcp!HOST!PORT or vsock!CID!PORT (default: the data directory's). A virtual machine's host is vsock CID 2."`
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

// mount mounts the tree that aname names, says how, and leaves it so.
func (f *mountFlags) mount(g *Globals, aname, dir string) error {
	g.at = f.Dial
	if err := g.checkAname(aname); err != nil {
		return err
	}
	at, err := mountPoint(dir, f.Option)
	if err != nil {
		return err
	}
	how, err := f.byWhichever(g, aname, at, func() error { return f.mountFUSE(g, aname, at) })
	if err == nil {
		fmt.Fprintf(os.Stderr, "bazil: %s is mounted on %s with %s\n", treeName(aname), dir, how)
	}
	return err
}

// treeName is what a user calls the tree that aname names.
func treeName(aname string) string {
	if aname == "" {
		return "the whole tree"
	}
	return "volume " + aname
}

// The kinds of mounts.
const (
	kindV9fs = "v9fs"
	kindFUSE = "the FUSE bridge"
)

// byWhichever mounts with v9fs where that can be, else with fuse, and tells
// which it took and why.
func (f *mountFlags) byWhichever(g *Globals, aname, dir string, fuse func() error) (how string, err error) {
	if f.Fuse {
		return kindFUSE, fuse()
	}
	why := v9fsPossible(aname)
	if why == nil {
		why = f.mountV9fs(g, aname, dir)
	}
	if why == nil || f.V9fs {
		return kindV9fs, why
	}
	if err := fuse(); err != nil {
		return "", errors.Join(why, err)
	}
	return fmt.Sprintf("%s (%v)", kindFUSE, why), nil
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

// nonempty is the option that lets a mount hide what is in its directory.
const nonempty = "nonempty"

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
