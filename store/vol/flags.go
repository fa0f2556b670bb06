package vol

import (
	"context"
	"syscall"

	"bazil/merge"
)

// Flags are the bits of a regular file that Unix does not have: who serves the
// volume acts on them.
type Flags uint8

// The flags of a file.
const (
	FlagAppend    Flags = 1 << iota // writes go to the end of the file
	FlagExclusive                   // open once at a time
	FlagTemporary                   // of no lasting value

	flagsAll = FlagAppend | FlagExclusive | FlagTemporary
)

// flagsName is the name under which the flags stand among the extended
// attributes, one byte, where any are set. So they travel, merge and are kept
// in snapshots with a file's other settings. Clients neither see the name nor
// can they use it: theirs begin with "user.".
const flagsName = "bazil.flags"

// fileFlags are those that count for what the name shows, which is a regular file.
func (r *record) fileFlags() Flags {
	if r.Device || len(r.Attrs) == 0 || len(r.Attrs[0].Xattrs) == 0 {
		return 0
	}
	if b := r.Attrs[0].Xattrs[flagsName]; len(b) == 1 {
		return Flags(b[0]) & flagsAll
	}
	return 0
}

// Identity is what tells one state of a file from another, and its flags.
func (n *Node) Identity() (version uint64, flags Flags) {
	n.v.mu.Lock()
	defer n.v.unlock()
	in, err := n.inode()
	if err != nil {
		return 0, 0
	}
	if in.kind == merge.KindFile {
		flags = in.rec().fileFlags()
	}
	return in.version(), flags
}

// SetFlags sets the flags of a regular file: EPERM of anything else.
func (n *Node) SetFlags(ctx context.Context, f Flags) error {
	if n.kind != merge.KindFile {
		return syscall.EPERM
	}
	return n.changeXattrs(ctx, func(xs map[string][]byte) error {
		if f &= flagsAll; f == 0 {
			delete(xs, flagsName)
		} else {
			xs[flagsName] = []byte{byte(f)}
		}
		return nil
	})
}
