package main

import (
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
	all, err := g.conflicts(c.Volume)
	if err != nil {
		return err
	}
	if c.JSON {
		out := json.NewEncoder(os.Stdout)
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		return out.Encode(all)
	}
	return printConflicts(os.Stdout, all)
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
// "".
func (g *Globals) conflicts(volume string) ([]conflict, error) {
	line := []string{"conflicts"}
	if volume != "" {
		line = append(line, volume)
	}
	answer, err := g.ask(ctlfs.Join(line))
	if err != nil {
		return nil, err
	}
	return parseConflicts(answer)
}

// parseConflicts reads the records of the command conflicts; those of a name
// follow each other.
func parseConflicts(records string) ([]conflict, error) {
	all := []conflict{}
	for line := range strings.Lines(records) {
		r, err := ctlfs.ParseRecord(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("the server's answer: %w", err)
		}
		volume, at := r.Get("volume"), r.Get("conflict")
		if n := len(all); n == 0 || all[n-1].Volume != volume || all[n-1].Path != at {
			all = append(all, conflict{Volume: volume, Path: at})
		}
		s, err := parseSibling(r, volume, at)
		if err != nil {
			return nil, err
		}
		c := &all[len(all)-1]
		c.Siblings = append(c.Siblings, s)
	}
	return all, nil
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

// printConflicts prints conflicts for people.
func printConflicts(w io.Writer, all []conflict) error {
	for _, c := range all {
		fmt.Fprintf(w, "%s/%s\n", c.Volume, c.Path)
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, s := range c.Siblings {
			fmt.Fprintf(table, "\t%s\t%s\t%s\t%s%s\n", s.Peer, s.Time, s.size(), path.Base(s.File), s.remark())
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
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
