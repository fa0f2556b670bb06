package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"bazil/ctlfs"
)

// ConflictsCmd is the commands that show conflicts.
type ConflictsCmd struct {
	List ConflictsListCmd `cmd:"" default:"withargs" help:"List the names that have several versions."`
	Diff ConflictsDiffCmd `cmd:"" help:"Show how the versions of a name differ."`
}

// ConflictsListCmd lists the names that have several versions.
type ConflictsListCmd struct {
	JSON   bool   `name:"json" help:"Print an array of {volume, path, siblings: [{peer, time, size, file}]}."`
	Volume string `arg:"" optional:"" help:"The volume, if only one is meant."`
}

// Run asks the server.
func (c *ConflictsListCmd) Run(g *Globals) error {
	out := bufio.NewWriter(os.Stdout)
	show := printConflict
	var array jsonArray
	if c.JSON {
		show = array.add
	}
	err := g.conflicts(c.Volume, func(c *conflict) error { return show(out, c) })
	if err == nil && c.JSON {
		err = array.end(out)
	}
	return errors.Join(err, out.Flush())
}

// jsonArray prints the elements of an array as they come.
type jsonArray struct{ begun bool }

func (a *jsonArray) add(w io.Writer, c *conflict) error {
	before := ",\n  "
	if !a.begun {
		before, a.begun = "[\n  ", true
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	out.SetIndent("  ", "  ")
	if err := out.Encode(c); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s%s", before, bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	return err
}

func (a *jsonArray) end(w io.Writer) error {
	text := "\n]\n"
	if !a.begun {
		text = "[]\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// conflict is a name that has several versions, as --json prints it.
type conflict struct {
	Volume   string    `json:"volume"`
	Path     string    `json:"path"`
	Siblings []sibling `json:"siblings"`
}

// sibling is one of them.
type sibling struct {
	Peer string `json:"peer"`
	Time string `json:"time"` // RFC 3339
	Size int64  `json:"size"`
	File string `json:"file"` // path in the served tree

	kind    string
	shown   bool
	missing bool // its content is not here
}

// conflicts asks the server for the conflicts of a volume, or of all if it is
// "", and calls each for them as they come. The records of a name follow each
// other.
func (g *Globals) conflicts(volume string, each func(*conflict) error) error {
	line := []string{"conflicts"}
	if volume != "" {
		line = append(line, volume)
	}
	var c conflict
	err := g.askRecords(ctlfs.Join(line), func(r ctlfs.Record) error {
		volume, at := r.Get("volume"), r.Get("conflict")
		if len(c.Siblings) > 0 && (c.Volume != volume || c.Path != at) {
			if err := each(&c); err != nil {
				return err
			}
			c.Siblings = c.Siblings[:0]
		}
		s, err := parseSibling(r, volume, at)
		c = conflict{volume, at, append(c.Siblings, s)}
		return err
	})
	if err == nil && len(c.Siblings) > 0 {
		err = each(&c)
	}
	return err
}

func parseSibling(r ctlfs.Record, volume, at string) (s sibling, err error) {
	s = sibling{Peer: r.Get("peer"), kind: r.Get("kind"), shown: r.Get("shown") != "", missing: r.Get("content") == "missing"}
	s.File = path.Join("/ctl/volumes", volume, "conflicts", at, r.Get("file"))
	s.Size, err = strconv.ParseInt(r.Get("size"), 10, 64)
	t, bad := time.Parse(time.RFC3339Nano, r.Get("time"))
	s.Time = t.UTC().Format(time.RFC3339)
	if err = errors.Join(err, bad); err != nil {
		return s, fmt.Errorf("the server's answer: %w", err)
	}
	return s, nil
}

// printConflict prints a conflict for people.
func printConflict(w io.Writer, c *conflict) error {
	fmt.Fprintf(w, "%s/%s\n", c.Volume, printable(c.Path))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range c.Siblings {
		fmt.Fprintf(table, "\t%s\t%s\t%s\t%s%s\n", s.Peer, s.Time, s.size(), printable(path.Base(s.File)), s.remark())
	}
	return table.Flush()
}

// size is how large a version is, or what it is.
func (s sibling) size() string {
	if s.kind != "file" {
		return s.kind
	}
	return fmt.Sprintf("%d bytes", s.Size)
}

func (s sibling) remark() string {
	var words []string
	if s.shown {
		words = append(words, "shown")
	}
	if s.missing {
		words = append(words, "content not here")
	}
	if len(words) == 0 {
		return ""
	}
	return "  (" + strings.Join(words, ", ") + ")"
}
