package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/hugelgupf/p9/linux"
	"github.com/hugelgupf/p9/p9"

	"bazil/ctlfs"
)

// sharingKeyLen is the length of a sharing key in bytes.
const sharingKeyLen = 32

// SharingCmd is the commands about sharing keys.
type SharingCmd struct {
	Add    SharingAddCmd    `cmd:"" help:"Add the sharing key whose 32 bytes stand on the standard input."`
	Remove SharingRemoveCmd `cmd:""`
	List   SharingListCmd   `cmd:""`
}

// SharingAddCmd adds a sharing key.
type SharingAddCmd struct {
	Name string `arg:"" help:"What to call it here."`
}

// Run writes the key to the server's file for it: keys never stand in
// commands.
func (c *SharingAddCmd) Run(g *Globals) error {
	if err := ctlfs.CheckName("sharing key", c.Name); err != nil {
		return err
	}
	key, err := io.ReadAll(io.LimitReader(os.Stdin, sharingKeyLen+1))
	if err != nil {
		return fmt.Errorf("read the sharing key: %w", err)
	}
	if len(key) != sharingKeyLen {
		return fmt.Errorf("sharing key %q: the standard input has %s, a key is %d: dd if=/dev/urandom bs=%d count=1 makes one",
			c.Name, length(key), sharingKeyLen, sharingKeyLen)
	}
	return g.session(func(root p9.File) error { return addKey(root, c.Name, key) })
}

func length(key []byte) string {
	if len(key) > sharingKeyLen {
		return fmt.Sprintf("more than %d bytes", sharingKeyLen)
	}
	return fmt.Sprintf("%d bytes", len(key))
}

func addKey(root p9.File, name string, key []byte) error {
	_, dir, err := root.Walk([]string{"ctl", "sharing"})
	if err != nil {
		return err
	}
	defer dir.Close()
	f, _, _, err := dir.Create(name, p9.ReadWrite|p9.OpenFlags(syscall.O_EXCL), 0o600, p9.NoUID, p9.NoGID)
	if errors.Is(err, linux.EEXIST) {
		return fmt.Errorf("sharing key %q is there already", name)
	}
	if err != nil {
		return fmt.Errorf("sharing key %q: %w", name, err)
	}
	defer f.Close()
	_, err = exchange(f, key)
	return err
}

// SharingRemoveCmd forgets a sharing key.
type SharingRemoveCmd struct {
	Name string `arg:"" help:"The key's name."`
}

// Run asks the server.
func (c *SharingRemoveCmd) Run(g *Globals) error { return g.do("sharing", "remove", c.Name) }

// SharingListCmd lists the sharing keys.
type SharingListCmd struct{ recordForm }

// Run asks the server.
func (c *SharingListCmd) Run(g *Globals) error { return c.list(g, "sharing", "list") }
