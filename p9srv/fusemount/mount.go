package fusemount

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"bazil/p9srv/client"
)

// Options say what is mounted and how.
type Options struct {
	// Dial connects to the server, at first and after a lost connection.
	Dial func(ctx context.Context) (net.Conn, error)

	Aname      string        // the tree to attach; "": the server's root
	Uname      string        // who attaches; "": the name of the process's user
	ReadOnly   bool          // nothing can be changed through the mount
	AllowOther bool          // other users may use the mount too
	Msize      uint32        // bytes of a 9P message; 0: the client's default
	FSName     string        // what df and mount show as the source; "": "bazil"
	Patience   time.Duration // how long requests wait for a lost server; 0: 30 s
	Log        *slog.Logger  // nil: slog.Default()

	// Events, if set, is called for every connection and returns a function
	// that waits for changes.
	Events func(ctx context.Context, c *client.Conn) (Next, error)
}

// Next waits for changes of the tree.
type Next = func(ctx context.Context) (inos []uint64, all bool, err error)

// Mounted is a mounted tree.
type Mounted struct{}

// Mount mounts a tree at dir and returns when it is ready for use.
func Mount(ctx context.Context, dir string, o Options) (*Mounted, error) {
	return nil, errors.ErrUnsupported
}

// Wait returns when the tree is not mounted any more.
func (m *Mounted) Wait() error { return errors.ErrUnsupported }

// Unmount takes the mount away.
func (m *Mounted) Unmount() error { return errors.ErrUnsupported }

// Unmount takes a mount away that any process made.
func Unmount(dir string) error { return errors.ErrUnsupported }
