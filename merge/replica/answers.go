package replica

import (
	"fmt"

	"bazil/store/vol"
)

// answers checks the order in which a peer's directories come: one for each
// that was asked for, those of large ones in pieces that follow each other.
type answers struct {
	asked int
	next  int    // which one is to come
	dir   uint64 // the number of the one of which pieces are to come
	after string // up to where there were some; "": none yet
}

func (a *answers) take(i int, d *vol.DirState) error {
	switch {
	case i != a.next || i >= a.asked:
		return fmt.Errorf("%w: answer %d in place of %d", errPeer, i, a.next)
	case d.After != a.after || a.after != "" && (d.Dir != a.dir || d.Same || d.Partial):
		return fmt.Errorf("%w: directory %d behind %q in place of %d behind %q", errPeer, d.Dir, clip(d.After), a.dir, a.after)
	case d.To != "" && (d.Same || d.Partial || checkName(d.To) != nil || d.To <= d.After):
		return fmt.Errorf("%w: a piece of directory %d up to %q", errPeer, d.Dir, clip(d.To))
	}
	a.dir, a.after = d.Dir, d.To
	if d.To == "" {
		a.next++
	}
	return nil
}

// end says whether all have come.
func (a *answers) end() error {
	if a.next < a.asked {
		return fmt.Errorf("%w: %d of %d directories", errPeer, a.next, a.asked)
	}
	return nil
}
