package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"bazil/ctlfs"
)

// CLI is the command line.
type CLI struct {
	Globals

	Create     CreateCmd     `cmd:"" help:"Make the data directory of a new device."`
	Up         UpCmd         `cmd:"" help:"Do all it takes to have files at DIR: data directory, server, volume, mount."`
	Server     ServerCmd     `cmd:"" help:"Run the server."`
	Status     StatusCmd     `cmd:"" help:"Tell how everything stands."`
	Mount      MountCmd      `cmd:"" help:"Mount the whole tree, ctl included."`
	Unmount    UnmountCmd    `cmd:"" help:"Take a mount away."`
	Volume     VolumeCmd     `cmd:"" help:"Make, connect, mount and sync volumes."`
	Sync       SyncCmd       `cmd:""`
	Conflicts  ConflictsCmd  `cmd:"" help:"List conflicts, or show how their versions differ."`
	Resolve    ResolveCmd    `cmd:""`
	Peer       PeerCmd       `cmd:"" help:"Say who the peers are, where, and what they may see."`
	Sharing    SharingCmd    `cmd:"" help:"Keep the sharing keys that volumes are sealed under."`
	Snapshot   SnapshotCmd   `cmd:"" help:"Keep volumes as they were, and bring things back."`
	Store      StoreCmd      `cmd:"" help:"Look after the chunks: free space, check, repair."`
	Passphrase PassphraseCmd `cmd:"" help:"Wrap the data directory's keys in a passphrase."`
	Export     ExportCmd     `cmd:"" help:"Serve the tree on more listeners."`
	Pubkey     PubkeyCmd     `cmd:"" help:"Print this device's public key."`
	Ctl        CtlCmd        `cmd:"" help:"Write a line to the server's ctl file and print the answer."`
	Debug      DebugCmd      `cmd:"" help:"Look at the data directory without the server."`
	Help       HelpCmd       `cmd:"" help:"Tell about a command."`
	FuseHost   FuseHostCmd   `cmd:"" hidden:"" help:"Hold a FUSE mount."`
}

// run executes one command line and returns the exit status.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cli := CLI{Globals: Globals{ctx: ctx}}
	parser, err := newParser(&cli)
	if err != nil {
		panic(err) // the tags above are wrong
	}
	cmd, err := parser.Parse(longFlags(parser.Model, args))
	if err != nil {
		return fail(2, usage(err))
	}
	if err := cmd.Run(&cli.Globals, parser); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return fail(status(err), err)
	}
	return 0
}

// fail tells an error, all its lines, and returns the exit status.
func fail(status int, err error) int {
	fmt.Fprintf(os.Stderr, "bazil: %s\n", strings.TrimRight(err.Error(), "\n"))
	return status
}

// status is the exit status for an error: 2 for one of usage.
func status(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// usageError is a command line that cannot be meant.
type usageError string

func (e usageError) Error() string { return string(e) }

// usage adds where to look to an error of the parser.
func usage(err error) error {
	if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context != nil {
		if n := p.Context.Selected(); n != nil {
			return fmt.Errorf("%w\nusage: %s", err, n.Summary())
		}
	}
	return fmt.Errorf("%w\n\"bazil help\" tells the commands", err)
}

// newParser makes the parser of the command line. The commands that ctl
// knows too get their help from its table.
func newParser(cli *CLI) (*kong.Kong, error) {
	parser, err := kong.New(cli, kong.Name("bazil"),
		kong.Description("A distributed filesystem as a 9P server."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}))
	if err != nil {
		return nil, err
	}
	for _, n := range parser.Model.Leaves(false) {
		if v := ctlfs.Lookup(words(n)); v != nil && n.Help == "" {
			n.Help = strings.TrimSuffix(v.Help, ".") + "."
			n.Detail = v.Detail
		}
	}
	return parser, nil
}

// words is a command's path without the program's name.
func words(n *kong.Node) string {
	var w []string
	for ; n != nil && n.Type == kong.CommandNode; n = n.Parent {
		w = append([]string{n.Name}, w...)
	}
	return strings.Join(w, " ")
}
