package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/p9srv/export"
)

// sight compares what an open file has by the mount with what its name has by
// the server, over 9P: a kernel that knows another size or other pages reads
// what its user takes for all there is, and then replaces what he has not seen.
// The file shows what it does as long as it is open for writing. There is nothing
// to compare with where its directory is gone, so that the name shows another or
// nothing, or where the server was away or went away since life.
func (i *island) sight(f *os.File, name, old string, life int) {
	info, err := f.Stat()
	if err != nil || life%2 == 1 {
		return
	}
	ino, served, err := i.served(name)
	if err != nil || ino != info.Sys().(*syscall.Stat_t).Ino || i.life() != life {
		return
	}
	i.w.mu.Lock()
	i.w.sights++
	i.w.mu.Unlock()
	if served == old {
		return
	}
	i.w.t.Errorf("island %d: %s has %q by its mount and %q by its server:\n%s", i.number, name, old, served, i.w.tale(name))
}

// served is the number and the token of a file as the server has it.
func (i *island) served(name string) (ino uint64, token string, err error) {
	ctx := context.Background()
	nc, err := export.DialUnix(ctx, filepath.Join(i.dir, socketName))
	if err != nil {
		return 0, "", err
	}
	c, err := client.New(ctx, nc, client.Options{})
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	root, err := c.Attach(ctx, "", "files", p9srv.NoUID)
	if err != nil {
		return 0, "", err
	}
	f, err := root.Walk(ctx, strings.Split(name, "/")...)
	if err != nil {
		return 0, "", err
	}
	defer f.Clunk(ctx)
	if err := f.Open(ctx, syscall.O_RDONLY); err != nil {
		return 0, "", err
	}
	b := make([]byte, tokenLen)
	n, err := f.ReadAt(ctx, b, 0)
	if err == io.EOF {
		err = nil
	}
	return f.QID().Path, string(b[:n]), err
}

// tale is the last that was done to a name.
func (w *islands) tale(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, line := range w.trace {
		if strings.Contains(line, " "+name) {
			out = append(out, line)
		}
	}
	return strings.Join(out[max(len(out)-20, 0):], "\n")
}
