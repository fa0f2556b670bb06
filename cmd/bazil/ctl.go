package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
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
func (g *Globals) ask(line string) (answer string, err error) {
	err = g.withCtl(func(f p9.File) error {
		if line == "" {
			answer, err = readAll(f)
		} else {
			answer, err = exchange(f, []byte(line))
		}
		return err
	})
	return answer, err
}

// askRecords sends a line as ask does, and calls each with the records of the
// answer: a long one is never whole in memory.
func (g *Globals) askRecords(line string, each func(ctlfs.Record) error) error {
	return g.withCtl(func(f p9.File) error {
		if _, failed := f.WriteAt([]byte(line), 0); failed != nil {
			return refusal(f, failed)
		}
		return eachRecord(&fileReader{f: f}, each)
	})
}

// withCtl opens the server's ctl file.
func (g *Globals) withCtl(use func(f p9.File) error) error {
	return g.session(func(root p9.File) error {
		_, f, err := root.Walk([]string{"ctl", "ctl"})
		if err != nil {
			return err
		}
		defer f.Close()
		if _, _, err := f.Open(p9.ReadWrite); err != nil {
			return err
		}
		return use(f)
	})
}

// exchange writes p to an open file of the ctl directory and reads the answer
// back, which is the error's text if the write failed.
func exchange(f p9.File, p []byte) (string, error) {
	if _, failed := f.WriteAt(p, 0); failed != nil {
		return "", refusal(f, failed)
	}
	return readAll(f)
}

// refusal is what the server says of a write that failed.
func refusal(f p9.File, failed error) error {
	if text, err := readAll(f); err == nil && text != "" {
		return errors.New(text)
	}
	return failed
}

// readAll reads an open file to its end.
func readAll(f p9.File) (string, error) {
	var all strings.Builder
	_, err := io.CopyBuffer(&all, &fileReader{f: f}, make([]byte, 32<<10))
	return all.String(), err
}

// fileReader reads an open file from its beginning.
type fileReader struct {
	f   p9.File
	off int64
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.f.ReadAt(p, r.off)
	r.off += int64(n)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
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
