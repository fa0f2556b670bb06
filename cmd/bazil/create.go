package main

import (
	"fmt"

	"bazil/store"
)

// CreateCmd makes a data directory.
type CreateCmd struct {
	passphraseFlags
	Passphrase bool `help:"Wrap the keys in a passphrase, which the server needs whenever it starts."`
}

// Run works without a server.
func (c *CreateCmd) Run(g *Globals) error {
	dir, err := g.dataDir()
	if err != nil {
		return err
	}
	var passphrase []byte
	switch {
	case c.PassphraseFile != "" || c.PassphraseFD >= 0 || c.Passphrase && c.given():
		passphrase, err = c.ask()
	case c.Passphrase:
		passphrase, err = askNew()
	}
	if err != nil {
		return err
	}
	return store.CreateWith(dir, passphrase)
}

// PubkeyCmd prints the device's key, whether a server runs or not.
type PubkeyCmd struct{}

// Run works without a server.
func (c *PubkeyCmd) Run(g *Globals) error {
	dir, err := g.dataDir()
	if err != nil {
		return err
	}
	key, err := store.PublicKey(dir)
	if err != nil {
		return fmt.Errorf("%w: %s makes a data directory", err, g.command("create"))
	}
	fmt.Println(key)
	return nil
}

// DebugCmd is the commands that look into the data directory themselves.
type DebugCmd struct {
	Pubkey PubkeyCmd `cmd:"" help:"Print this device's public key."`
}
