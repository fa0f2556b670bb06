package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"bazil/ctlfs"
)

// Globals is what every command has.
type Globals struct {
	DataDir string `name:"data-dir" env:"BAZIL_DATA_DIR" placeholder:"DIR" help:"Where the device keeps everything (default: bazil below $XDG_DATA_HOME, which is ~/.local/share)."`

	ctx context.Context
	at  string // dial string of another server than the data directory's
}

// dataDir is the absolute path of the data directory.
func (g *Globals) dataDir() (string, error) {
	if g.DataDir != "" {
		return filepath.Abs(g.DataDir)
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "bazil"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the data directory: %w; name one with --data-dir", err)
	}
	return filepath.Join(home, ".local", "share", "bazil"), nil
}

// command shows how to call a command of this program for the data directory
// that was asked for.
func (g *Globals) command(words string) string {
	if g.DataDir != "" && os.Getenv("BAZIL_DATA_DIR") != g.DataDir {
		words = fmt.Sprintf("--data-dir=%s %s", ctlfs.Quote(g.DataDir), words)
	}
	return `"bazil ` + words + `"`
}
