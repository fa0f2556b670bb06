package main

import (
	"fmt"
	"slices"
	"strings"

	"bazil/ctlfs"
)

// SnapshotCmd is the commands about snapshots.
type SnapshotCmd struct {
	Create   SnapshotCreateCmd   `cmd:""`
	List     SnapshotListCmd     `cmd:""`
	Remove   SnapshotRemoveCmd   `cmd:""`
	Rename   SnapshotRenameCmd   `cmd:""`
	Diff     SnapshotDiffCmd     `cmd:""`
	Restore  SnapshotRestoreCmd  `cmd:""`
	Schedule SnapshotScheduleCmd `cmd:""`
	Pointer  SnapshotPointerCmd  `cmd:""`
	Import   SnapshotImportCmd   `cmd:""`
}

// oneSnapshot is the arguments of a command about a snapshot.
type oneSnapshot struct {
	oneVolume
	Name string `arg:"" help:"The snapshot's name."`
}

// SnapshotCreateCmd makes a snapshot.
type SnapshotCreateCmd struct {
	oneVolume
	Name *string `arg:"" optional:"" help:"What to call it (default: the time)."`
}

// Run asks the server.
func (c *SnapshotCreateCmd) Run(g *Globals) error {
	line := []string{"snapshot", "create", c.Volume}
	if c.Name != nil {
		line = append(line, *c.Name)
	}
	return g.do(line...)
}

// SnapshotListCmd lists snapshots.
type SnapshotListCmd struct {
	recordForm
	Volume string `arg:"" optional:"" help:"The volume, if only one is meant."`
}

// Run asks the server.
func (c *SnapshotListCmd) Run(g *Globals) error {
	line := []string{"snapshot", "list"}
	if c.Volume != "" {
		line = append(line, c.Volume)
	}
	return c.list(g, line...)
}

// SnapshotRemoveCmd forgets a snapshot.
type SnapshotRemoveCmd struct{ oneSnapshot }

// Run asks the server.
func (c *SnapshotRemoveCmd) Run(g *Globals) error {
	return g.do("snapshot", "remove", c.Volume, c.Name)
}

// SnapshotRenameCmd gives a snapshot another name.
type SnapshotRenameCmd struct {
	oneSnapshot
	New string `arg:"" help:"Its new name."`
}

// Run asks the server.
func (c *SnapshotRenameCmd) Run(g *Globals) error {
	return g.do("snapshot", "rename", c.Volume, c.Name, c.New)
}

// SnapshotDiffCmd tells in what two trees differ.
type SnapshotDiffCmd struct {
	oneVolume
	A string  `arg:"" help:"The older snapshot."`
	B *string `arg:"" optional:"" help:"The newer one (default: the volume as it is now)."`
}

// Run asks the server.
func (c *SnapshotDiffCmd) Run(g *Globals) error {
	line := []string{"snapshot", "diff", c.Volume, c.A}
	if c.B != nil {
		line = append(line, *c.B)
	}
	answer, err := g.ask(ctlfs.Join(line))
	if err != nil {
		return err
	}
	for line := range strings.Lines(answer) {
		r, err := ctlfs.ParseRecord(line)
		if err != nil || len(r) == 0 {
			return fmt.Errorf("the server answers %q", line)
		}
		fmt.Println(differenceLine(r))
	}
	return nil
}

// differenceLine is a difference for people.
func differenceLine(r ctlfs.Record) string {
	change, path := r[0].Name, r[0].Value
	if r.Get("kind") == "dir" && path != "/" {
		path += "/"
	}
	text := fmt.Sprintf("%-8s %s", change, ctlfs.Quote(path))
	if from := r.Get("from"); from != "" {
		text += " from " + ctlfs.Quote(from)
	}
	if what := r.Get("what"); what != "" {
		text += " (" + strings.ReplaceAll(what, ",", ", ") + ")"
	}
	return text
}

// SnapshotRestoreCmd brings things back.
type SnapshotRestoreCmd struct {
	To    string `placeholder:"PATH" help:"Where to (default: where it was)."`
	Exact bool   `help:"Remove what the snapshot does not have."`
	oneSnapshot
	Path string `arg:"" optional:"" help:"What of it (default: all)."`
}

// Run asks the server.
func (c *SnapshotRestoreCmd) Run(g *Globals) error {
	return g.do(slices.Concat([]string{"snapshot", "restore", c.Volume, c.Name},
		option("path", c.Path), option("to", c.To), flag("exact", c.Exact))...)
}

// SnapshotScheduleCmd sets or tells a schedule.
type SnapshotScheduleCmd struct {
	oneVolume
	Keep []string `arg:"" optional:"" name:"hourly=n daily=n weekly=n | off" help:"How many to keep of each kind, or off. Without: tell the schedule."`
}

// Run asks the server.
func (c *SnapshotScheduleCmd) Run(g *Globals) error {
	return g.do(append([]string{"snapshot", "schedule", c.Volume}, c.Keep...)...)
}

// SnapshotPointerCmd tells a snapshot's pointer.
type SnapshotPointerCmd struct{ oneSnapshot }

// Run asks the server.
func (c *SnapshotPointerCmd) Run(g *Globals) error {
	return g.do("snapshot", "pointer", c.Volume, c.Name)
}

// SnapshotImportCmd makes a volume of a snapshot.
type SnapshotImportCmd struct {
	sharingFlag
	Storage string `placeholder:"BACKEND" help:"Where the chunks are that are not here: peerkey:KEY."`
	Pointer string `arg:"" help:"As snapshot pointer told it."`
	Name    string `arg:"" help:"The new volume's name."`
}

// Run asks the server.
func (c *SnapshotImportCmd) Run(g *Globals) error {
	return g.do(slices.Concat([]string{"snapshot", "import", c.Pointer, c.Name}, c.token(), option("storage", c.Storage))...)
}
