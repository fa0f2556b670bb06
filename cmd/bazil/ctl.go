package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hugelgupf/p9/p9"

	"bazil/ctlfs"
	"bazil/p9srv/export"
)

// socketName is the server's own socket in the data directory.
const socketName = "9p.sock"

// CtlCmd sends a line as it is.
type CtlCmd struct {
	Tokens []string `arg:"" optional:"" name:"line" help:"The command: one quoted line, or its words. Without: print the configuration."`
}

// Run writes the line, or reads the file.
func (c *CtlCmd) Run(g *Globals) error {
	if len(c.Tokens) == 1 {
		return g.line(c.Tokens[0])
	}
	return g.do(c.Tokens...)
}

// do sends a command to the server and prints what it answers.
func (g *Globals) do(tokens ...string) error { return g.line(ctlfs.Join(tokens)) }

func (g *Globals) line(line string) error {
	answer, err := g.ask(line)
	if err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, answer)
	return err
}

// ask sends a line to the server's ctl file and returns the answer; for an
// empty line, the configuration.
func (g *Globals) ask(line string) (string, error) {
	var answer string
	err := g.session(func(root p9.File) error {
		_, f, err := root.Walk([]string{"ctl", "ctl"})
		if err != nil {
			return err
		}
		defer f.Close()
		if _, _, err := f.Open(p9.ReadWrite); err != nil {
			return err
		}
		if line == "" {
			answer, err = readAll(f)
		} else {
			answer, err = exchange(f, []byte(line))
		}
		return err
	})
	return answer, err
}

// exchange writes p to an open file of the ctl directory and reads the answer
// back, which is the error's text if the write failed.
func exchange(f p9.File, p []byte) (string, error) {
	_, failed := f.WriteAt(p, 0)
	answer, err := readAll(f)
	switch {
	case failed == nil:
		return answer, err
	case err == nil && answer != "":
		return "", errors.New(answer)
	default:
		return "", failed
	}
}

// readAll reads an open file to its end.
func readAll(f p9.File) (string, error) {
	var all []byte
	p := make([]byte, 32<<10)
	for {
		n, err := f.ReadAt(p, int64(len(all)))
		all = append(all, p[:n]...)
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return string(all), nil
		}
		if err != nil {
			return string(all), err
		}
	}
}

// session attaches to the server's tree. An interrupt hangs up, which cancels
// what the server does for us.
func (g *Globals) session(use func(root p9.File) error) error {
	conn, err := g.dial(g.ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(g.ctx, func() { conn.Close() })()
	client, err := p9.NewClient(conn)
	if err != nil {
		return fmt.Errorf("talk to the server: %w", err)
	}
	root, err := client.Attach("")
	if err != nil {
		return fmt.Errorf("attach to the server: %w", err)
	}
	defer root.Close()
	return use(root)
}

// dial connects to the server of the data directory, unless another was named.
func (g *Globals) dial(ctx context.Context) (net.Conn, error) {
	if g.at != "" {
		return export.Dial(ctx, g.at)
	}
	dir, err := g.dataDir()
	if err != nil {
		return nil, err
	}
	c, err := export.DialUnix(ctx, filepath.Join(dir, socketName))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, g.notRunning(dir)
	}
	return c, err
}

// notRunning says what to do when nobody answers in dir.
func (g *Globals) notRunning(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no data directory %s: %s makes it", dir, g.command("create"))
	}
	return fmt.Errorf("no server runs on %s: %s starts one", dir, g.command("server run"))
}

// option is the token of a command's option, none if it was not given.
func option(key, value string) []string {
	if value == "" {
		return nil
	}
	return []string{key + "=" + value}
}

// flag is the token of a command's flag.
func flag(word string, on bool) []string {
	if !on {
		return nil
	}
	return []string{word}
}
