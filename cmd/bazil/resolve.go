package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ResolveCmd ends conflicts.
type ResolveCmd struct {
	Words []string `arg:"" name:"volume/path keep which" help:"The name in conflict, or a pattern that means several; then keep mine, theirs, newest, both, a peer or a version's name; or from and a file with what it should be, - for the standard input."`
}

// Run asks the server.
func (c *ResolveCmd) Run(g *Globals) error {
	w := c.Words
	if len(w) == 4 && !strings.Contains(w[0], "/") { // VOLUME PATH keep WHICH
		w = append([]string{w[0] + "/" + strings.TrimLeft(w[1], "/")}, w[2:]...)
	}
	if len(w) != 3 || w[1] != "keep" && w[1] != "from" {
		return usageError("usage: bazil resolve VOLUME/PATH keep mine|theirs|newest|both|PEER, or resolve VOLUME/PATH from FILE")
	}
	if volume, path, ok := strings.Cut(w[0], "/"); !ok || volume == "" || path == "" {
		return usageError("resolve takes VOLUME/PATH, not " + w[0])
	}
	if w[1] == "keep" {
		return g.do("resolve", w[0], "keep", w[2])
	}
	return g.resolveFrom(w[0], w[2])
}

// resolveFrom gives the server the bytes of a file of this process: by way of
// the data directory, which both of them see.
func (g *Globals) resolveFrom(path, file string) error {
	in := os.Stdin
	if file != "-" {
		var err error
		if in, err = os.Open(file); err != nil {
			return err
		}
		defer in.Close()
		if info, err := in.Stat(); err == nil && info.IsDir() {
			return fmt.Errorf("%s is a directory", file)
		}
	}
	dir, err := g.dataDir()
	if err != nil {
		return err
	}
	copied, err := os.CreateTemp(dir, "merged-*.tmp")
	if errors.Is(err, os.ErrNotExist) {
		return g.notRunning(dir)
	}
	if err != nil {
		return err
	}
	defer os.Remove(copied.Name())
	_, err = io.Copy(copied, in)
	if err := errors.Join(err, copied.Close()); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return g.do("resolve", path, "from", copied.Name())
}
