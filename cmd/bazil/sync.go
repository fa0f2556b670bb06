package main

import "strings"

// syncFlags say how to sync.
type syncFlags struct {
	NoWait bool `name:"no-wait" help:"Return when the names are here; content comes in the background."`
	DryRun bool `name:"dry-run" help:"Tell what would change, and change nothing."`
}

func (f syncFlags) tokens() []string {
	return append(flag("no-wait", f.NoWait), flag("dry-run", f.DryRun)...)
}

// pathFlag says what of a volume to sync.
type pathFlag struct {
	Path string `name:"path" placeholder:"PATH" help:"Bring in what is at this path of the volume, and below; the rest comes with the next sync."`
}

func (f pathFlag) tokens() []string { return option("path", f.Path) }

// run asks the server, and shows how far it is.
func (f syncFlags) run(g *Globals, objects ...string) error {
	line := append(append([]string{"sync"}, objects...), f.tokens()...)
	if f.DryRun {
		return g.do(line...)
	}
	defer g.showProgress("sync")()
	return g.do(line...)
}

// SyncCmd brings a peer's changes in.
type SyncCmd struct {
	syncFlags
	pathFlag
	All     bool     `help:"Sync every volume, or the one named, with every peer that allows it."`
	Objects []string `arg:"" optional:"" name:"[volume] peer" help:"The volume, if only one is meant, and the peer's name or public key."`
}

// Run asks the server.
func (c *SyncCmd) Run(g *Globals) error {
	switch n := len(c.Objects); {
	case c.All && n > 1:
		return usageError("sync --all takes a volume, or nothing")
	case c.All && c.Path != "":
		return usageError("sync --path takes a volume and a peer")
	case c.All:
		return c.run(g, append([]string{"all"}, c.Objects...)...)
	case n == 0:
		return usageError("sync takes a volume and a peer, or a peer, or --all")
	case n > 2:
		return usageError("sync takes a volume and a peer, or a peer")
	}
	return c.run(g, append(c.Objects, c.pathFlag.tokens()...)...)
}

// VolumeSyncCmd brings a peer's changes in.
type VolumeSyncCmd struct {
	syncFlags
	pathFlag
	oneVolume
	Peer string `arg:"" help:"The peer's name or public key."`
}

// Run asks the server.
func (c *VolumeSyncCmd) Run(g *Globals) error {
	return c.run(g, append([]string{c.Volume, c.Peer}, c.pathFlag.tokens()...)...)
}

// VolumeKeepCmd says which content is kept here.
type VolumeKeepCmd struct {
	oneVolume
	Mode string `arg:"" enum:"all,lazy" help:"all, or lazy: what is read or pinned."`
}

// Run asks the server.
func (c *VolumeKeepCmd) Run(g *Globals) error { return g.do("volume", "keep", c.Volume, c.Mode) }

// pathOf is the arguments that name a path of a volume: VOLUME/PATH, or VOLUME
// and PATH; all of it without a path.
type pathOf struct {
	Words []string `arg:"" name:"volume/path" help:"The volume, and the path in it; without one: all of the volume."`
}

func (p pathOf) do(g *Globals, verb ...string) error {
	if n := len(p.Words); n > 2 || n == 2 && strings.Contains(p.Words[0], "/") {
		return usageError(strings.Join(verb, " ") + " takes VOLUME/PATH, or VOLUME and PATH")
	}
	return g.do(append(verb, p.Words...)...)
}

// VolumePinCmd keeps the content of a path here.
type VolumePinCmd struct{ pathOf }

// Run asks the server.
func (c *VolumePinCmd) Run(g *Globals) error { return c.do(g, "volume", "pin") }

// VolumeUnpinCmd takes a pin away.
type VolumeUnpinCmd struct{ pathOf }

// Run asks the server.
func (c *VolumeUnpinCmd) Run(g *Globals) error { return c.do(g, "volume", "unpin") }
