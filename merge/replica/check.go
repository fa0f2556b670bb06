package replica

import (
	"errors"
	"fmt"
	"strings"

	"bazil/merge"
	"bazil/store/vol"
)

const (
	maxName  = 255  // bytes of a name
	maxDepth = 2048 // directories in each other: what a path of PATH_MAX can name
)

// errPeer is wrapped by the errors that a peer's answer brings about.
var errPeer = errors.New("peer sent what no volume holds")

// checkState returns an error unless a peer's directory can be joined.
func checkState(d *vol.DirState) error {
	if err := d.View.Valid(); err != nil {
		return fmt.Errorf("%w: %w", errPeer, err)
	}
	if err := d.Root.Validate(); err != nil {
		return fmt.Errorf("%w: root: %w", errPeer, err)
	}
	for i := range d.Entries {
		if err := checkEntry(&d.Entries[i]); err != nil {
			return fmt.Errorf("%w: name %q: %w", errPeer, clip(d.Entries[i].Name), err)
		}
		if i > 0 && d.Entries[i-1].Name >= d.Entries[i].Name {
			return fmt.Errorf("%w: name %q is out of order", errPeer, clip(d.Entries[i].Name))
		}
	}
	return nil
}

func clip(name string) string { return name[:min(len(name), maxName)] }

func checkEntry(e *vol.NamedEntry) error {
	if err := checkName(e.Name); err != nil {
		return err
	}
	if err := e.Entry.Validate(); err != nil {
		return err
	}
	return errors.Join(e.SubView.Valid(), e.Last.Valid())
}

// checkName returns an error unless name can stand in a directory.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return errors.New("not a name")
	case len(name) > maxName:
		return errors.New("too long")
	case strings.ContainsAny(name, "/\x00"):
		return errors.New("has a slash or a NUL")
	}
	return nil
}

// knowsMore says whether a peer's directory tells of changes of the replica
// self beyond those it has made.
func knowsMore(d *vol.DirState, self merge.Dot) bool {
	more := func(c merge.Context) bool { return c.Get(self.Replica) > self.N }
	if more(d.View.Ctx) || more(d.View.Max) || more(d.View.Gone) || entryKnowsMore(d.Root, self) {
		return true
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		if more(e.SubView.Ctx) || more(e.SubView.Max) || more(e.SubView.Gone) || entryKnowsMore(e.Entry, self) {
			return true
		}
	}
	return false
}

func entryKnowsMore(e merge.Entry, self merge.Dot) bool {
	if e.Ctx.Get(self.Replica) > self.N {
		return true
	}
	for i := range e.Versions {
		if dotsKnowMore([]merge.Dot{e.Versions[i].Dot}, self) {
			return true
		}
	}
	for i := range e.Attrs {
		if dotsKnowMore(e.Attrs[i].Dots, self) {
			return true
		}
	}
	return false
}

func dotsKnowMore(dots []merge.Dot, self merge.Dot) bool {
	for _, d := range dots {
		if d.Replica == self.Replica && d.N > self.N {
			return true
		}
	}
	return false
}
