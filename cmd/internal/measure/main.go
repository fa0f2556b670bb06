package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: measure ingest|million [flags] [arguments]")

// run does what the command line says.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	fs := flag.NewFlagSet("measure "+args[0], flag.ExitOnError)
	dir := fs.String("dir", os.TempDir(), "where the data directory is made")
	switch args[0] {
	case "ingest":
		in := ingest{}
		fs.StringVar(&in.by, "by", "proc", "proc: in the server's process; 9p: through its socket")
		fs.IntVar(&in.workers, "workers", 4, "files copied at once")
		fs.StringVar(&in.profile, "profile", "", "folder for a processor profile of each step")
		fs.Parse(args[1:])
		if fs.NArg() != 1 || in.by != "proc" && in.by != "9p" || in.workers < 1 {
			return fmt.Errorf("%w: ingest takes one folder", errUsage)
		}
		in.source = fs.Arg(0)
		return inTemp(*dir, func(tmp string) error { return in.run(ctx, tmp) })
	case "million":
		m := million{}
		fs.IntVar(&m.files, "files", 1_000_000, "files in the volume")
		fs.StringVar(&m.server, "server", "bazil", "the program to start on it")
		fs.Parse(args[1:])
		if fs.NArg() != 0 || m.files < perDir {
			return fmt.Errorf("%w: million takes no arguments and at least %d files", errUsage, perDir)
		}
		return inTemp(*dir, func(tmp string) error { return m.run(ctx, tmp) })
	}
	return errUsage
}

// inTemp runs f with a new folder in dir, and removes that.
func inTemp(dir string, f func(tmp string) error) (err error) {
	tmp, err := os.MkdirTemp(dir, "measure")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	return f(tmp)
}
