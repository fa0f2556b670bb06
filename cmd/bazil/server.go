package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"bazil/cmd/internal/daemon"
	"bazil/store"
)

// ServerCmd is the commands about the server.
type ServerCmd struct {
	Run ServerRunCmd `cmd:"" help:"Run the server until it is interrupted."`
}

// serverFlags say how a server runs.
type serverFlags struct {
	passphraseFlags
	Addr         string        `placeholder:"HOST:PORT" help:"Where to listen for peers (default: port 34211 on all addresses, or any free port if that is taken)."`
	Cache        byteSize      `placeholder:"SIZE" help:"How much of what is read and written to keep in memory, as 512M or 2G (default: an eighth of the machine's memory, 64M to 1G)."`
	Dirty        byteSize      `placeholder:"SIZE" help:"How much of what was written and is not stored yet each volume may keep in memory before writers wait, as 128M or 1G (default: 32M)."`
	ReadDeadline time.Duration `name:"read-deadline" default:"30s" placeholder:"TIME" help:"How long a read waits for content that only other devices have (default: 30s)."`
	Verbose      bool          `short:"v" help:"Tell on the standard error what happens."`
}

// ServerRunCmd runs the server.
type ServerRunCmd struct{ serverFlags }

// Run returns when the server has stopped.
func (c *ServerRunCmd) Run(g *Globals) error {
	d, err := c.start(g)
	if err != nil {
		return err
	}
	<-g.ctx.Done()
	return d.Close()
}

// start starts the server and says where it listens.
func (f *serverFlags) start(g *Globals) (*daemon.Daemon, error) {
	dir, err := g.dataDir()
	if err != nil {
		return nil, err
	}
	if f.ReadDeadline <= 0 {
		return nil, usageError("--read-deadline takes a time such as 30s")
	}
	d := daemon.New(daemon.Options{Dir: dir, Addr: f.Addr, CacheBytes: int64(f.Cache), DirtyBytes: int64(f.Dirty),
		ReadDeadline: f.ReadDeadline, Sealers: reserve(), Passphrase: f.ask, Log: f.log()})
	err = d.Start(context.WithoutCancel(g.ctx))
	switch {
	case errors.Is(err, store.ErrLocked):
		return nil, fmt.Errorf("another server runs on %s already", dir)
	case errors.Is(err, os.ErrNotExist):
		if _, missing := os.Stat(dir); missing != nil {
			return nil, g.notRunning(dir)
		}
	}
	if err != nil {
		return nil, err
	}
	fmt.Printf("bazil: Listening on %s\n", d.Addr())
	return d, nil
}

// reserve lets two more threads run than processors are for sealing, of which
// it returns the number. Sealing alone would keep all of Go's processors busy,
// and then a request is not even noticed before the next turn of 10 ms; with a
// thread to spare the system lets it run at once. Under a flood of writes a
// getattr of another client took 2.4 ms at the median without, 0.5 with it; a
// write that is given up while memory is full was over after 7 to 8 ms and 45 at
// most, with it after 2 to 3 and 19. A loss for writes was not seen.
func reserve() (sealers int) {
	sealers = runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(sealers + 2)
	return sealers
}

func (f *serverFlags) log() *slog.Logger {
	level := slog.LevelWarn
	if f.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
