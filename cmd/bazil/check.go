package main

import (
	"errors"
	"fmt"
	"os"

	"bazil/cmd/internal/daemon"
	"bazil/store"
)

// StoreCheckCmd checks a data directory.
type StoreCheckCmd struct{ passphraseFlags }

// Help says what counts.
func (c *StoreCheckCmd) Help() string {
	return "Each fault is told in a line of its own; it exits 1 if there is any. A damaged copy of a chunk of which there is a good one, " +
		"as after a repair, is no fault: its line begins with \"note:\". The segment that holds it goes " +
		"with the next store collect that knows of it, as after a store scrub."
}

// Run works without a server. Faults and notes go to the standard output.
func (c *StoreCheckCmd) Run(g *Globals) error {
	dir, err := g.existingDir()
	if err != nil {
		return err
	}
	p := newStatusLine()
	r, err := daemon.Check(g.ctx, dir, store.CheckOptions{
		Passphrase: c.ask,
		Progress:   func(path string) { p.show("checking " + path) },
		Fault:      func(f store.Fault) { p.clear(); fmt.Println(f) },
		Note:       func(f store.Fault) { p.clear(); fmt.Printf("note: %v; there is a good copy\n", f) },
	})
	p.clear()
	if err != nil {
		return inUse(dir, err)
	}
	if r.Faults > 0 {
		return fmt.Errorf("%d faults in %s", r.Faults, dir)
	}
	fmt.Printf("no faults: %d volumes, %d names, %d snapshots", r.Volumes, r.Names, r.Snapshots)
	if r.Absent > 0 {
		fmt.Printf("; %d chunks are not here, but other storage should have them", r.Absent)
	}
	if r.Replaced > 0 {
		fmt.Printf("; damaged copies of which there is a good one: %d (store scrub, then store collect, removes them)", r.Replaced)
	}
	fmt.Println()
	return nil
}

// StoreReindexCmd makes the index anew.
type StoreReindexCmd struct{}

// Run works without a server.
func (c *StoreReindexCmd) Run(g *Globals) error {
	dir, err := g.existingDir()
	if err != nil {
		return err
	}
	p := newStatusLine()
	err = store.Reindex(g.ctx, dir, store.Options{}, func(step string) { p.show("reindex: " + step) })
	p.clear()
	return inUse(dir, err)
}

// existingDir is the data directory, which must be there.
func (g *Globals) existingDir() (string, error) {
	dir, err := g.dataDir()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return "", g.notRunning(dir)
	}
	return dir, nil
}

// inUse says what to do about a data directory that a server has open.
func inUse(dir string, err error) error {
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("a server runs on %s: this is done while none does", dir)
	}
	return err
}
