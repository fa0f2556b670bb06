package main

import (
	"slices"

	"bazil/ctlfs"
)

// StoreCmd is the commands about the chunks of all volumes.
type StoreCmd struct {
	Collect StoreCollectCmd `cmd:""`
	Scrub   StoreScrubCmd   `cmd:""`
	Repair  StoreRepairCmd  `cmd:""`
	Auto    StoreAutoCmd    `cmd:""`
	Check   StoreCheckCmd   `cmd:"" help:"Read all of a data directory that no server has open, and tell what is wrong."`
	Reindex StoreReindexCmd `cmd:"" help:"Make the index of chunks anew, of a data directory that no server has open."`
}

// rateFlag bounds how fast a command reads.
type rateFlag struct {
	Rate string `placeholder:"BYTES" help:"Read no more than so many bytes a second: 500k, 20M."`
}

func (r rateFlag) token() []string { return option("rate", r.Rate) }

// StoreCollectCmd frees what nothing refers to.
type StoreCollectCmd struct {
	recordForm
	rateFlag
	DryRun bool `name:"dry-run" help:"Only tell what would be freed."`
	Force  bool `help:"Also where chunks are damaged that list others."`
}

// Run asks the server.
func (c *StoreCollectCmd) Run(g *Globals) error {
	return c.showLong(g, "store collect", slices.Concat(c.token(), flag("dry-run", c.DryRun), flag("force", c.Force)))
}

// StoreScrubCmd checks every chunk.
type StoreScrubCmd struct {
	recordForm
	rateFlag
	Restart bool `help:"Begin at the start, where an earlier one was interrupted."`
}

// Run asks the server.
func (c *StoreScrubCmd) Run(g *Globals) error {
	return c.showLong(g, "store scrub", slices.Concat(c.token(), flag("restart", c.Restart)))
}

// StoreRepairCmd gets good copies from peers.
type StoreRepairCmd struct{ recordForm }

// Run asks the server.
func (c *StoreRepairCmd) Run(g *Globals) error { return c.showLong(g, "store repair", nil) }

// StoreAutoCmd says whether the server collects by itself.
type StoreAutoCmd struct {
	Switch string `arg:"" enum:"on,off" help:"on or off."`
}

// Run asks the server.
func (c *StoreAutoCmd) Run(g *Globals) error { return g.do("store", "auto", c.Switch) }

// showLong is list for a command that takes long: how far it is stands on the
// standard error meanwhile.
func (f recordForm) showLong(g *Globals, verb string, args []string) error {
	line := verb
	if len(args) > 0 {
		line += " " + ctlfs.Join(args)
	}
	stop := g.watch(verb)
	answer, err := g.ask(line)
	stop()
	if err != nil {
		return err
	}
	return f.print(answer, nil)
}
