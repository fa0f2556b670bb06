package main

import "strings"

// SyncCmd brings a peer's changes in.
type SyncCmd struct {
	Objects []string `arg:"" name:"[volume] peer" help:"The volume, if only one is meant, and the peer's name or public key."`
}

// Run asks the server.
func (c *SyncCmd) Run(g *Globals) error {
	if len(c.Objects) > 2 {
		return usageError("sync takes a volume and a peer, or a peer")
	}
	return g.do(append([]string{"sync"}, c.Objects...)...)
}

// StatusCmd tells how everything stands.
type StatusCmd struct{}

// Run asks the server.
func (c *StatusCmd) Run(g *Globals) error { return g.do("status") }

// ConflictsCmd lists the names that have several versions.
type ConflictsCmd struct {
	Volume string `arg:"" optional:"" help:"The volume, if only one is meant."`
}

// Run asks the server.
func (c *ConflictsCmd) Run(g *Globals) error {
	if c.Volume == "" {
		return g.do("conflicts")
	}
	return g.do("conflicts", c.Volume)
}

// ResolveCmd ends a conflict.
type ResolveCmd struct {
	Path  string `arg:"" name:"volume/path" help:"The name in conflict."`
	Keep  string `arg:"" enum:"keep" help:"The word keep."`
	Which string `arg:"" help:"mine, theirs, newest, or a file or replica as conflicts tells it."`
}

// Run asks the server.
func (c *ResolveCmd) Run(g *Globals) error {
	volume, path, ok := strings.Cut(c.Path, "/")
	if !ok {
		return usageError("resolve takes VOLUME/PATH, not " + c.Path)
	}
	return g.do("resolve", volume, path, c.Keep, c.Which)
}
