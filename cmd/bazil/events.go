package main

import (
	"context"
	"errors"
	"syscall"

	"bazil/ctlfs"
	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/p9srv/fusemount"
)

// changesOf follows the changes of a tree for the FUSE bridge: those of one
// volume, or of all. It reads the server's changes file on the connection that
// the bridge has anyway.
func changesOf(aname string) func(context.Context, *client.Conn) (fusemount.Next, error) {
	return func(ctx context.Context, c *client.Conn) (fusemount.Next, error) {
		path := []string{"changes"}
		if aname != "" {
			path = []string{"volumes", aname, "changes"}
		}
		ctl, err := c.Attach(ctx, "", "ctl", p9srv.NoUID)
		if err != nil {
			return nil, err
		}
		defer ctl.Clunk(ctx)
		f, err := ctl.Walk(ctx, path...)
		if err != nil {
			return nil, err
		}
		if err := f.Open(ctx, syscall.O_RDONLY); err != nil {
			f.Clunk(ctx)
			return nil, err
		}
		return (&changes{f: f}).next, nil
	}
}

// changes is an open changes file.
type changes struct {
	f    *client.Fid
	rest []byte // of a record that has not ended
	buf  [64 << 10]byte
}

// next reads one record; a stream answers 0 bytes between records, which mean
// nothing.
func (c *changes) next(ctx context.Context) (inos []uint64, all bool, err error) {
	for {
		n, err := c.f.Read1(ctx, c.buf[:], 0)
		if err != nil {
			return nil, false, err
		}
		c.rest = append(c.rest, c.buf[:n]...)
		if len(c.rest) > 0 && c.rest[len(c.rest)-1] == '\n' {
			record := string(c.rest)
			c.rest = c.rest[:0]
			inos, all, err := ctlfs.ParseChanges(record)
			if errors.Is(err, ctlfs.ErrStopping) {
				err = fusemount.ErrStopping
			}
			return inos, all, err
		}
	}
}
