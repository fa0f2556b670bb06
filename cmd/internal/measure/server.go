package main

import (
	"context"
	"path/filepath"
	"syscall"

	"bazil/cmd/internal/daemon"
	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/p9srv/export"
	"bazil/store"
)

const volumeName = "v"

// startServer starts a server in this process on the data directory dir.
func startServer(ctx context.Context, dir string) (*daemon.Daemon, error) {
	d := daemon.New(daemon.Options{Dir: dir, Addr: "127.0.0.1:0"})
	if err := d.Start(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// newServer makes the data directory and a volume in it, too.
func newServer(ctx context.Context, dir string) (*daemon.Daemon, error) {
	if err := store.Create(dir); err != nil {
		return nil, err
	}
	d, err := startServer(ctx, dir)
	if err != nil {
		return nil, err
	}
	return d, command(ctx, dir, "volume create "+volumeName)
}

// command writes a line to the server's ctl file.
func command(ctx context.Context, dir, line string) error {
	c, root, err := attach(ctx, dir, "ctl")
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := root.Walk(ctx, "ctl")
	if err != nil {
		return err
	}
	if err := f.Open(ctx, syscall.O_WRONLY); err != nil {
		return err
	}
	_, err = f.WriteAt(ctx, []byte(line), 0)
	return err
}

// attach connects to the server on dir by its socket.
func attach(ctx context.Context, dir, aname string) (*client.Conn, *client.Fid, error) {
	nc, err := export.DialUnix(ctx, filepath.Join(dir, daemon.SocketName))
	if err != nil {
		return nil, nil, err
	}
	c, err := client.New(ctx, nc, client.Options{})
	if err != nil {
		return nil, nil, err
	}
	root, err := c.Attach(ctx, "", aname, p9srv.NoUID)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, root, nil
}
