package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"bazil/cmd/internal/daemon"
	"bazil/ctlfs"
	"bazil/store"
)

// firstVolume is the name of the volume that a newcomer gets.
const firstVolume = "files"

// UpCmd does all that a newcomer needs.
type UpCmd struct {
	serverFlags
	Volume string `placeholder:"NAME" help:"The volume to mount (default: files, or the first there is)."`
	Fuse   bool   `name:"fuse" help:"Take the FUSE bridge."`
	Dir    string `arg:"" help:"The directory to mount on; it is made if there is none."`
}

// Run returns when it is interrupted and all is undone but what was made.
func (c *UpCmd) Run(g *Globals) error {
	if err := c.makeDirs(g); err != nil {
		return err
	}
	d, err := c.start(g)
	if err != nil {
		return err
	}
	return errors.Join(c.serve(g), closing(d))
}

func closing(d *daemon.Daemon) error {
	err := d.Close()
	if err == nil {
		say("stopped")
	}
	return err
}

// say tells the user what was done.
func say(format string, args ...any) { fmt.Printf("bazil: "+format+"\n", args...) }

// makeDirs makes the data directory and the mount point if there are none.
func (c *UpCmd) makeDirs(g *Globals) error {
	data, err := g.dataDir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.Dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(c.Dir, 0o755); err != nil {
			return err
		}
		say("made the directory %s", c.Dir)
	}
	if _, err := store.PublicKey(data); err == nil {
		return nil
	}
	if err := store.Create(data); err != nil {
		return err
	}
	say("made the data directory %s", data)
	return nil
}

// serve makes the volume, mounts it, and waits for the interrupt.
func (c *UpCmd) serve(g *Globals) error {
	volume, err := c.volume(g)
	if err != nil {
		return err
	}
	undo, err := c.mount(g, volume)
	if err != nil {
		return err
	}
	say("%s shows everything, its ctl directory included", g.command("mount DIR"))
	say("Ctrl-C unmounts and stops")
	<-g.ctx.Done()
	return undo()
}

// volume picks the volume to mount and makes it if there is none.
func (c *UpCmd) volume(g *Globals) (string, error) {
	names, err := g.volumes()
	if err != nil {
		return "", err
	}
	want := c.Volume
	if want == "" {
		want = firstVolume
	}
	switch {
	case slices.Contains(names, want):
		return want, nil
	case len(names) > 0 && c.Volume == "":
		return names[0], nil
	}
	if _, err := g.ask(ctlfs.Join([]string{"volume", "create", want})); err != nil {
		return "", err
	}
	say("made the volume %s", want)
	return want, nil
}

// volumes lists the server's volumes.
func (g *Globals) volumes() ([]string, error) {
	list, err := g.ask("volume list")
	var names []string
	for line := range strings.Lines(list) {
		r, bad := ctlfs.ParseRecord(line)
		if bad != nil {
			return nil, bad
		}
		names = append(names, r.Get("volume"))
	}
	return names, err
}

// mount mounts the volume, or says what would. It returns what unmounts it.
func (c *UpCmd) mount(g *Globals, volume string) (undo func() error, err error) {
	dir, err := mountPoint(c.Dir, nil)
	if err != nil {
		return nil, err
	}
	f := mountFlags{Fuse: c.Fuse}
	undo = func() error { return unmountAnyway(dir) }
	how, err := f.byWhichever(g, volume, dir, func() error {
		m, err := f.mountHere(g, volume, dir, c.log())
		if err == nil {
			undo = m.Close
		}
		return err
	})
	if err == nil {
		say("%s is mounted on %s with %s", treeName(volume), dir, how)
		return undo, nil
	}
	say("%v", err)
	data, err := g.dataDir()
	say("volume %s is not mounted; root can do it: %s", volume, mountCommand(data, volume, dir))
	return func() error { return nil }, err
}

// unmountAnyway unmounts a v9fs mount. One that is in use vanishes from sight,
// and who uses it gets errors once the server has stopped.
func unmountAnyway(dir string) error {
	err := unmount(dir)
	if err == nil {
		return nil
	}
	say("%v", err)
	return unix.Unmount(dir, unix.MNT_DETACH)
}

// mountCommand is what mounts a volume where this program cannot.
func mountCommand(data, volume, dir string) string {
	return fmt.Sprintf("mount -t 9p -o trans=unix,version=9p2000.L,access=client,msize=%d,aname=%s %s/%s %s",
		v9fsMsize, volume, data, socketName, dir)
}
