package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/hugelgupf/p9/linux"
	"github.com/hugelgupf/p9/p9"
	"github.com/rogpeppe/go-internal/diff"

	"bazil/ctlfs"
)

// ConflictsDiffCmd shows how the versions of a name differ.
type ConflictsDiffCmd struct {
	Path string `arg:"" name:"volume/path" help:"The name in conflict."`
}

// diffMax is the largest version that is compared line by line, in bytes.
const diffMax = 16 << 20

// Run compares the version that the tree shows with each of the others.
func (c *ConflictsDiffCmd) Run(g *Globals) error {
	volume, at, ok := strings.Cut(c.Path, "/")
	if !ok || volume == "" || at == "" {
		return usageError("conflicts diff takes VOLUME/PATH, not " + c.Path)
	}
	at = strings.Trim(at, "/")
	return g.session(func(root p9.File) error {
		all, err := versionsAt(root, volume, at)
		if err != nil {
			return err
		}
		return diffVersions(root, shownFirst(all))
	})
}

// versionsAt asks for the versions of one name.
func versionsAt(root p9.File, volume, at string) ([]sibling, error) {
	dir := []string{"ctl", "volumes", volume}
	if _, err := readPath(root, append(dir, "status")); errors.Is(err, linux.ENOENT) {
		return nil, fmt.Errorf("no volume %q: volume list tells those there are", volume)
	}
	dir = append(append(dir, "conflicts"), strings.Split(at, "/")...)
	info, err := readPath(root, append(dir, "info"))
	if errors.Is(err, linux.ENOENT) {
		return nil, fmt.Errorf("volume %q has no conflict at %q: conflicts tells those there are", volume, at)
	}
	if err != nil {
		return nil, fmt.Errorf("conflict at %s/%s: %w", volume, at, err)
	}
	var all []sibling
	err = eachRecord(strings.NewReader(info), func(r ctlfs.Record) error {
		s, err := parseSibling(r, volume, at)
		all = append(all, s)
		return err
	})
	return all, err
}

// shownFirst puts the version that the tree shows before the others.
func shownFirst(all []sibling) []sibling {
	var first, rest []sibling
	for _, s := range all {
		if s.shown {
			first = append(first, s)
		} else {
			rest = append(rest, s)
		}
	}
	return append(first, rest...)
}

func diffVersions(root p9.File, all []sibling) error {
	base, err := loadVersion(root, all[0])
	if err != nil {
		return err
	}
	for _, s := range all[1:] {
		other, err := loadVersion(root, s)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(compare(base, other)); err != nil {
			return err
		}
	}
	return nil
}

// loaded is a version to be compared.
type loaded struct {
	sibling
	name string
	text []byte
	what string // what it is, if it is no text
}

func loadVersion(root p9.File, s sibling) (loaded, error) {
	v := loaded{sibling: s, name: printable(path.Base(s.File))}
	switch {
	case s.kind != "file" && s.kind != "symlink":
		v.what = "a " + s.kind
		return v, nil
	case s.Size > diffMax:
		v.what = fmt.Sprintf("a file of %d bytes, too large to be compared by lines", s.Size)
		return v, nil
	}
	text, err := readPath(root, strings.Split(strings.Trim(s.File, "/"), "/"))
	if err != nil && s.missing {
		return v, fmt.Errorf("the content of %s, the version of %s, is not on this device, and could not be fetched: %w", v.name, s.Peer, err)
	}
	if err != nil {
		return v, fmt.Errorf("read %s: %w", s.File, err)
	}
	if v.text = []byte(text); !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		v.what = fmt.Sprintf("a binary file of %d bytes", s.Size)
	}
	if s.kind == "symlink" {
		v.text = append(v.text, '\n')
	}
	return v, nil
}

// compare is a unified diff of two texts, or says what they are.
func compare(a, b loaded) []byte {
	if a.what == "" && b.what == "" && a.kind == b.kind {
		d := diff.Diff(a.name, a.text, b.name, b.text)
		_, d, _ = bytes.Cut(d, []byte("\n")) // a line that diff(1) does not have
		return d
	}
	return fmt.Appendf(nil, "%s is %s\n%s is %s\n", a.name, a.is(), b.name, b.is())
}

func (v *loaded) is() string {
	switch {
	case v.what != "":
		return v.what
	case v.kind == "symlink":
		return "a symlink to " + strings.TrimSuffix(string(v.text), "\n")
	}
	return fmt.Sprintf("a text of %d bytes", v.Size)
}

// readPath reads a whole file of the served tree.
func readPath(root p9.File, names []string) (string, error) {
	const most = 16 // names in one message
	f := root
	for len(names) > 0 {
		n := min(most, len(names))
		found, next, err := f.Walk(names[:n])
		if f != root {
			f.Close()
		}
		if err == nil && len(found) < n { // the walk came to the first of them, not to the last
			err = linux.ENOENT
		}
		if err != nil {
			return "", err
		}
		f, names = next, names[n:]
	}
	defer f.Close()
	if _, _, err := f.Open(p9.ReadOnly); err != nil {
		return "", err
	}
	return readAll(f)
}
