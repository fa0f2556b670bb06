package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bazil/p9srv/fusemount"
)

// A FUSE mount lives as long as the process that answers the kernel. That is
// a process of its own, which we start with the hidden command fuse-host and
// leave behind. It writes "ok" to a pipe when the mount can be used, and until
// then what is wrong to its standard error, as fusermount3 does below it. From
// then on its standard error is the data directory's mounts.log.

// ready is what a host tells when the mount can be used.
const ready = "ok\n"

// hostPipe is the descriptor that a host tells on.
const hostPipe = 3

// mountFUSE starts a host and waits until its mount can be used.
func (f *mountFlags) mountFUSE(g *Globals, aname, dir string) error {
	if _, err := f.fuseOptions(); err != nil {
		return err
	}
	data, err := g.dataDir()
	if err != nil && f.Dial == "" {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd, err := f.host(data, aname, dir, w)
	if err == nil {
		err = cmd.Start()
	}
	w.Close()
	if err != nil {
		return fmt.Errorf("start the FUSE bridge: %w", err)
	}
	return await(g.ctx, cmd, r)
}

// await waits for a host's word; an interrupt ends the host.
func await(ctx context.Context, cmd *exec.Cmd, r io.Reader) error {
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	said, err := io.ReadAll(r)
	if string(said) == ready && stop() {
		return cmd.Process.Release()
	}
	stop()
	err = errors.Join(err, cmd.Wait())
	text := strings.TrimPrefix(strings.TrimSpace(cmd.Stderr.(*bytes.Buffer).String()), "bazil: ")
	if text != "" {
		return errors.New(strings.ReplaceAll(text, "\nbazil: ", "\n"))
	}
	return fmt.Errorf("the FUSE bridge ended: %w", err)
}

// host is the command that runs a host, in a session of its own.
func (f *mountFlags) host(data, aname, dir string, pipe *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{os.Args[0], "--data-dir=" + data, "fuse-host", "--aname=" + aname, "--dial=" + f.Dial}
	if f.ReadOnly {
		args = append(args, "--read-only")
	}
	for _, o := range f.Option {
		args = append(args, "--option="+o)
	}
	cmd := &exec.Cmd{Path: self, Args: append(args, "--", dir), Dir: "/", ExtraFiles: []*os.File{pipe}, Stderr: new(bytes.Buffer)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, nil
}

// fuseOptions are what Mount takes.
func (f *mountFlags) fuseOptions() (fusemount.Options, error) {
	rest, other := takeOption(f.Option, "allow_other")
	rest, ro := takeOption(rest, "ro")
	rest, _ = takeOption(rest, nonempty)
	if len(rest) > 0 {
		return fusemount.Options{}, usageError(fmt.Sprintf("the FUSE bridge knows no option %q, only allow_other, nonempty and ro", rest[0]))
	}
	return fusemount.Options{ReadOnly: f.ReadOnly || ro, AllowOther: other}, nil
}

// FuseHostCmd is the process behind a FUSE mount.
type FuseHostCmd struct {
	mountFlags
	Aname string
	Dir   string `arg:""`
}

// Run returns when the tree is unmounted, which a signal does too.
func (c *FuseHostCmd) Run(g *Globals) error {
	g.at = c.Dial
	pipe := os.NewFile(hostPipe, "pipe")
	log := hostLog(g)
	m, err := c.mountHere(g, c.Aname, c.Dir, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer context.AfterFunc(g.ctx, func() { m.Close() })()
	err = unix.Dup3(int(log.Fd()), int(os.Stderr.Fd()), 0)
	_, failed := io.WriteString(pipe, ready)
	return errors.Join(err, failed, pipe.Close(), m.Wait())
}

// mountHere mounts with this process as the host.
func (f *mountFlags) mountHere(g *Globals, aname, dir string, log *slog.Logger) (*fusemount.Mounted, error) {
	o, err := f.fuseOptions()
	if err != nil {
		return nil, err
	}
	o.Dial, o.Aname, o.Log = g.dial, aname, log
	o.FSName, o.Events = ourName, changesOf(aname)
	if aname != "" {
		o.FSName = aname
	}
	return fusemount.Mount(g.ctx, dir, o)
}

// hostLog is where a host writes what goes wrong later: it has no terminal.
// Without a data directory, as on a machine that mounts another's tree, nobody
// gets it.
func hostLog(g *Globals) *os.File {
	if dir, err := g.dataDir(); err == nil {
		f, err := os.OpenFile(filepath.Join(dir, "mounts.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			return f
		}
	}
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return os.Stderr
	}
	return f
}
