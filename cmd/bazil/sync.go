package main

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
