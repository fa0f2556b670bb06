package main

// PeerCmd is the commands about peers.
type PeerCmd struct {
	Add      PeerAddCmd      `cmd:""`
	Rename   PeerRenameCmd   `cmd:""`
	Remove   PeerRemoveCmd   `cmd:""`
	List     PeerListCmd     `cmd:""`
	Location PeerLocationCmd `cmd:"" help:"Say where a peer listens."`
	Storage  PeerStorageCmd  `cmd:"" help:"Say who may fetch chunks from this device."`
	Volume   PeerVolumeCmd   `cmd:"" help:"Say who may see which volumes of this device."`
}

// PeerAddCmd makes a peer known.
type PeerAddCmd struct {
	Key  string `arg:"" help:"The peer's public key."`
	Name string `arg:"" optional:"" help:"What to call it here."`
}

// Run asks the server.
func (c *PeerAddCmd) Run(g *Globals) error {
	tokens := []string{"peer", "add", c.Key}
	if c.Name != "" {
		tokens = append(tokens, c.Name)
	}
	return g.do(tokens...)
}

// onePeer is the argument of a command about a peer.
type onePeer struct {
	Peer string `arg:"" help:"The peer's name or public key."`
}

// PeerRenameCmd gives a peer another name.
type PeerRenameCmd struct {
	onePeer
	Name string `arg:"" help:"The new name."`
}

// Run asks the server.
func (c *PeerRenameCmd) Run(g *Globals) error { return g.do("peer", "rename", c.Peer, c.Name) }

// PeerRemoveCmd forgets a peer.
type PeerRemoveCmd struct{ onePeer }

// Run asks the server.
func (c *PeerRemoveCmd) Run(g *Globals) error { return g.do("peer", "remove", c.Peer) }

// PeerListCmd lists the peers.
type PeerListCmd struct{ recordForm }

// Run asks the server.
func (c *PeerListCmd) Run(g *Globals) error { return c.list(g, "peer", "list") }

// PeerLocationCmd is the commands about where a peer listens.
type PeerLocationCmd struct {
	Set   PeerLocationSetCmd   `cmd:""`
	Clear PeerLocationClearCmd `cmd:""`
}

// PeerLocationSetCmd sets a peer's address.
type PeerLocationSetCmd struct {
	onePeer
	Addr string `arg:"" help:"HOST:PORT."`
}

// Run asks the server.
func (c *PeerLocationSetCmd) Run(g *Globals) error {
	return g.do("peer", "location", "set", c.Peer, c.Addr)
}

// PeerLocationClearCmd forgets a peer's address.
type PeerLocationClearCmd struct{ onePeer }

// Run asks the server.
func (c *PeerLocationClearCmd) Run(g *Globals) error {
	return g.do("peer", "location", "clear", c.Peer)
}

// PeerStorageCmd is the permissions to fetch chunks.
type PeerStorageCmd struct {
	Allow  PeerStorageAllowCmd  `cmd:""`
	Revoke PeerStorageRevokeCmd `cmd:""`
}

// peerBackend is the arguments of a permission to fetch chunks.
type peerBackend struct {
	onePeer
	Backend string `arg:"" help:"The storage: local."`
}

// PeerStorageAllowCmd gives it.
type PeerStorageAllowCmd struct{ peerBackend }

// Run asks the server.
func (c *PeerStorageAllowCmd) Run(g *Globals) error {
	return g.do("peer", "storage", "allow", c.Peer, c.Backend)
}

// PeerStorageRevokeCmd takes it back.
type PeerStorageRevokeCmd struct{ peerBackend }

// Run asks the server.
func (c *PeerStorageRevokeCmd) Run(g *Globals) error {
	return g.do("peer", "storage", "revoke", c.Peer, c.Backend)
}

// PeerVolumeCmd is the permissions to see volumes.
type PeerVolumeCmd struct {
	Allow  PeerVolumeAllowCmd  `cmd:""`
	Revoke PeerVolumeRevokeCmd `cmd:""`
}

// peerVolume is the arguments of a permission to see a volume.
type peerVolume struct {
	onePeer
	Volume string `arg:"" help:"The volume's name."`
}

// PeerVolumeAllowCmd gives it.
type PeerVolumeAllowCmd struct{ peerVolume }

// Run asks the server.
func (c *PeerVolumeAllowCmd) Run(g *Globals) error {
	return g.do("peer", "volume", "allow", c.Peer, c.Volume)
}

// PeerVolumeRevokeCmd takes it back.
type PeerVolumeRevokeCmd struct{ peerVolume }

// Run asks the server.
func (c *PeerVolumeRevokeCmd) Run(g *Globals) error {
	return g.do("peer", "volume", "revoke", c.Peer, c.Volume)
}
