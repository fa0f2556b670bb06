package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/p9srv/export"
)

// attach connects to the device's tree over 9P. The connection lasts as long
// as the test, or the server.
func (d *device) attach(t testing.TB, aname string) *client.Fid {
	t.Helper()
	ctx := context.Background()
	nc, err := export.DialUnix(ctx, filepath.Join(d.dir, socketName))
	must(t, err)
	c, err := client.New(ctx, nc, client.Options{})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	root, err := c.Attach(ctx, "", aname, p9srv.NoUID)
	must(t, err)
	return root
}

// put writes a new file and returns when it is durable.
func put(dir *client.Fid, name string, content []byte) error {
	ctx := context.Background()
	f, err := dir.Walk(ctx)
	if err != nil {
		return err
	}
	defer f.Clunk(ctx)
	if err := f.Create(ctx, name, syscall.O_WRONLY, 0o644, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(ctx, content, 0); err != nil {
		return err
	}
	return f.Fsync(ctx, false)
}

// get reads a file; it may have a megabyte more than want.
func get(dir *client.Fid, path string, want int) ([]byte, error) {
	ctx := context.Background()
	f, err := dir.Walk(ctx, strings.Split(path, "/")...)
	if err != nil {
		return nil, err
	}
	defer f.Clunk(ctx)
	if err := f.Open(ctx, syscall.O_RDONLY); err != nil {
		return nil, err
	}
	p := make([]byte, want+1<<20)
	n, err := f.ReadAt(ctx, p, 0)
	return p[:n], err
}

// befriend lets black connect to a volume of white, by way of an address, and
// keep it in sync. Both get the sharing key first.
func befriend(t *testing.T, white, black *device, volume, addr string, key []byte) (whiteKey string) {
	t.Helper()
	whiteKey, blackKey := white.run(t, "pubkey"), black.run(t, "pubkey")
	for _, d := range []*device{white, black} {
		d.addKey(t, "friends", key)
	}
	white.ctl(t, "volume", "create", volume, "sharing=friends")
	white.ctl(t, "peer", "add", blackKey, "black")
	white.ctl(t, "peer", "storage", "allow", "black", "local")
	white.ctl(t, "peer", "volume", "allow", "black", volume)
	black.ctl(t, "peer", "add", whiteKey, "white")
	black.ctl(t, "peer", "location", "set", "white", addr)
	black.ctl(t, "volume", "connect", "white", volume, "sharing=friends")
	black.ctl(t, "volume", "storage", "add", volume, "peerkey:"+whiteKey)
	return whiteKey
}

// addKey adds a sharing key as a client of the tree does, by its file.
func (d *device) addKey(t *testing.T, name string, key []byte) {
	t.Helper()
	ctx := context.Background()
	dir := d.attach(t, "ctl/sharing")
	must(t, dir.Create(ctx, name, syscall.O_WRONLY, 0o600, 0))
	_, err := dir.WriteAt(ctx, key, 0)
	must(t, errors.Join(err, dir.Clunk(ctx)))
}

// filesBelow reads all files below a folder.
func filesBelow(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		all[path], err = os.ReadFile(path)
		return err
	}))
	return all
}
