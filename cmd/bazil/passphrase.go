package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"bazil/store"
)

// passphraseFlags say where the passphrase of the data directory comes from.
// It is never an argument, which other users could see.
type passphraseFlags struct {
	PassphraseFile string `name:"passphrase-file" placeholder:"FILE" help:"Read the data directory's passphrase from the first line of FILE (or set BAZIL_PASSPHRASE; default: ask at the terminal)."`
	PassphraseFD   int    `name:"passphrase-fd" placeholder:"N" default:"-1" help:"Read it from an open file descriptor."`
}

// passphraseVar and newPassphraseVar are the environment's.
const (
	passphraseVar    = "BAZIL_PASSPHRASE"
	newPassphraseVar = "BAZIL_NEW_PASSPHRASE"
)

// given says whether there is somewhere to read it without asking.
func (f *passphraseFlags) given() bool {
	return f.PassphraseFile != "" || f.PassphraseFD >= 0 || os.Getenv(passphraseVar) != ""
}

// ask returns the present passphrase.
func (f *passphraseFlags) ask() ([]byte, error) {
	switch {
	case f.PassphraseFile != "":
		return passphraseIn(os.Open(f.PassphraseFile))
	case f.PassphraseFD >= 0:
		return passphraseIn(os.NewFile(uintptr(f.PassphraseFD), fmt.Sprint("descriptor ", f.PassphraseFD)), nil)
	case os.Getenv(passphraseVar) != "":
		return []byte(os.Getenv(passphraseVar)), nil
	}
	return askSecret("passphrase: ")
}

// maxPassphrase bounds what is read of a file.
const maxPassphrase = 4096

// passphraseIn reads the first line of a file.
func passphraseIn(f *os.File, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	if f == nil {
		return nil, errors.New("read the passphrase: there is no such file descriptor")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPassphrase+1))
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	return line, checkPassphrase(line)
}

func checkPassphrase(p []byte) error {
	switch {
	case len(p) == 0:
		return errors.New("the passphrase is empty")
	case len(p) > maxPassphrase:
		return fmt.Errorf("the passphrase is longer than %d bytes", maxPassphrase)
	}
	return nil
}

// askNew asks for a new passphrase, twice.
func askNew() ([]byte, error) {
	p, err := askSecret("new passphrase: ")
	if err == nil {
		err = checkPassphrase(p)
	}
	if err != nil {
		return nil, err
	}
	again, err := askSecret("again: ")
	if err == nil && !bytes.Equal(p, again) {
		err = errors.New("these are two passphrases: nothing was changed")
	}
	return p, err
}

// PassphraseCmd is the commands about the data directory's passphrase.
type PassphraseCmd struct {
	Change PassphraseChangeCmd `cmd:"" help:"Wrap the keys of the data directory in a passphrase, or in another."`
	Remove PassphraseRemoveCmd `cmd:"" help:"Keep the keys without a passphrase again."`
}

// PassphraseChangeCmd sets the passphrase.
type PassphraseChangeCmd struct {
	passphraseFlags
	NewFile string `name:"new-passphrase-file" placeholder:"FILE" help:"Read the new one from the first line of FILE (or set BAZIL_NEW_PASSPHRASE; default: ask)."`
}

// Run works without a server.
func (c *PassphraseChangeCmd) Run(g *Globals) error {
	return g.setPassphrase(&c.passphraseFlags, c.next)
}

func (c *PassphraseChangeCmd) next() ([]byte, error) {
	switch p := os.Getenv(newPassphraseVar); {
	case c.NewFile != "":
		return passphraseIn(os.Open(c.NewFile))
	case p != "":
		return []byte(p), nil
	}
	return askNew()
}

// PassphraseRemoveCmd takes the passphrase away.
type PassphraseRemoveCmd struct{ passphraseFlags }

// Run works without a server.
func (c *PassphraseRemoveCmd) Run(g *Globals) error {
	return g.setPassphrase(&c.passphraseFlags, func() ([]byte, error) { return nil, nil })
}

// setPassphrase wraps the keys anew. The old passphrase is asked for only if
// there is one.
func (g *Globals) setPassphrase(old *passphraseFlags, next func() ([]byte, error)) error {
	dir, err := g.existingDir()
	if err != nil {
		return err
	}
	return inUse(dir, store.ChangePassphrase(dir, old.ask, next))
}
