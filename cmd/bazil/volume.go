package main

import (
	"slices"
	"strings"
)

// VolumeCmd is the commands about volumes.
type VolumeCmd struct {
	Create  VolumeCreateCmd  `cmd:""`
	Connect VolumeConnectCmd `cmd:""`
	Remove  VolumeRemoveCmd  `cmd:""`
	Restore VolumeRestoreCmd `cmd:""`
	List    VolumeListCmd    `cmd:""`
	Mount   VolumeMountCmd   `cmd:"" help:"Mount a volume."`
	Unmount UnmountCmd       `cmd:"" help:"Take a mount away."`
	Sync    VolumeSyncCmd    `cmd:"" help:"Bring a peer's changes into the volume."`
	Follow  VolumeFollowCmd  `cmd:""`
	Keep    VolumeKeepCmd    `cmd:""`
	Pin     VolumePinCmd     `cmd:""`
	Unpin   VolumeUnpinCmd   `cmd:""`
	Storage VolumeStorageCmd `cmd:"" help:"Say where a volume's chunks can be fetched."`
}

// sharingFlag names a sharing key.
type sharingFlag struct {
	Sharing string `placeholder:"NAME" help:"The sharing key (default: default)."`
}

func (s sharingFlag) token() []string { return option("sharing", s.Sharing) }

// keepFlag says which content is kept here: as a flag or, as in ctl, a word
// behind the others.
type keepFlag struct {
	Keep  string   `placeholder:"all|lazy" enum:"all,lazy," default:"" help:"Which content to keep here: all (the default), or, lazy, what is read or pinned."`
	Words []string `arg:"" optional:"" name:"keep=all|lazy" help:"The same as a word."`
}

func (k keepFlag) tokens() ([]string, error) {
	for _, w := range k.Words {
		if !strings.HasPrefix(w, "keep=") {
			return nil, usageError("unexpected argument " + w)
		}
	}
	return append(option("keep", k.Keep), k.Words...), nil
}

// VolumeCreateCmd makes a volume.
type VolumeCreateCmd struct {
	sharingFlag
	Name string `arg:"" help:"The new volume's name."`
	keepFlag
}

// Run asks the server.
func (c *VolumeCreateCmd) Run(g *Globals) error {
	keep, err := c.tokens()
	if err != nil {
		return err
	}
	return g.do(slices.Concat([]string{"volume", "create", c.Name}, c.token(), keep)...)
}

// VolumeConnectCmd makes a replica of a peer's volume.
type VolumeConnectCmd struct {
	sharingFlag
	As     string `placeholder:"NAME" help:"What to call it here (default: as there)."`
	Peer   string `arg:"" help:"The peer's name or public key."`
	Volume string `arg:"" help:"The volume's name there."`
	keepFlag
}

// Run asks the server.
func (c *VolumeConnectCmd) Run(g *Globals) error {
	keep, err := c.tokens()
	if err != nil {
		return err
	}
	return g.do(slices.Concat([]string{"volume", "connect", c.Peer, c.Volume}, c.token(), option("as", c.As), keep)...)
}

// oneVolume is the argument of a command about a volume.
type oneVolume struct {
	Volume string `arg:"" help:"The volume's name."`
}

// VolumeRemoveCmd forgets a volume.
type VolumeRemoveCmd struct {
	oneVolume
	Delete bool `help:"Delete its files' names and metadata for good."`
}

// Run asks the server.
func (c *VolumeRemoveCmd) Run(g *Globals) error {
	return g.do(slices.Concat([]string{"volume", "remove", c.Volume}, flag("delete", c.Delete))...)
}

// VolumeRestoreCmd brings a removed volume back.
type VolumeRestoreCmd struct {
	sharingFlag
	ID   string `arg:"" help:"The volume's ID, as volume remove told it."`
	Name string `arg:"" help:"What to call it."`
}

// Run asks the server.
func (c *VolumeRestoreCmd) Run(g *Globals) error {
	return g.do(slices.Concat([]string{"volume", "restore", c.ID, c.Name}, c.token())...)
}

// VolumeListCmd lists the volumes.
type VolumeListCmd struct{ recordForm }

// Run asks the server.
func (c *VolumeListCmd) Run(g *Globals) error { return c.list(g, "volume", "list") }

// VolumeFollowCmd brings a peer's changes in as they come.
type VolumeFollowCmd struct {
	oneVolume
	Peer string `arg:"" help:"The peer's name or public key."`
	Mode string `arg:"" optional:"" default:"on" enum:"on,off" help:"on or off."`
}

// Run asks the server.
func (c *VolumeFollowCmd) Run(g *Globals) error {
	return g.do("volume", "follow", c.Volume, c.Peer, c.Mode)
}

// VolumeStorageCmd is the commands about a volume's storage.
type VolumeStorageCmd struct {
	Add    VolumeStorageAddCmd    `cmd:""`
	Remove VolumeStorageRemoveCmd `cmd:""`
}

// VolumeStorageAddCmd adds a place to fetch chunks from.
type VolumeStorageAddCmd struct {
	sharingFlag
	oneVolume
	Backend string `arg:"" help:"local or peerkey:KEY."`
}

// Run asks the server.
func (c *VolumeStorageAddCmd) Run(g *Globals) error {
	return g.do(slices.Concat([]string{"volume", "storage", "add", c.Volume, c.Backend}, c.token())...)
}

// VolumeStorageRemoveCmd takes one away.
type VolumeStorageRemoveCmd struct {
	oneVolume
	Backend string `arg:"" help:"As it was added."`
}

// Run asks the server.
func (c *VolumeStorageRemoveCmd) Run(g *Globals) error {
	return g.do("volume", "storage", "remove", c.Volume, c.Backend)
}
