package vol

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

// A listing of all names of a large directory is told, and applied, in pieces:
// each has the names of a range, and is of a moment of its own (merge.Dir.Apply).
// So neither side has more of a directory in memory than a piece, and no other
// waits longer than one takes.
const (
	pieceBytes = 2 << 20 // of memory that a piece takes, about
	pieceName  = 256     // of them for a name without content
)

// within says whether the state is about a name.
func (s *DirState) within(name string) bool {
	return name > s.After && (s.To == "" || name <= s.To)
}

// checkRange returns an error unless the state's names are in its range.
func (s *DirState) checkRange() error {
	n := len(s.Entries)
	switch {
	case s.Partial && (s.After != "" || s.To != ""):
		return fmt.Errorf("a piece of a partial listing: %w", errMalformed)
	case s.To != "" && s.To <= s.After:
		return fmt.Errorf("a piece from %q to %q: %w", s.After, s.To, errMalformed)
	case n > 0 && !(s.within(s.Entries[0].Name) && s.within(s.Entries[n-1].Name)):
		return fmt.Errorf("names beyond the piece they are in: %w", errMalformed)
	}
	return nil
}

// readPiece adds to out the names behind out.After, as many as a piece has.
func readPiece(ctx context.Context, tx *bbolt.Tx, out *DirState) error {
	size, full := 0, false
	err := namesBehind(tx, out.Dir, out.After, func(name, value []byte) (more bool, err error) {
		rec, err := decodeRecord(value)
		if err != nil {
			return false, fmt.Errorf("%q: %w", name, damaged(err))
		}
		e, err := readNamed(tx, out.View, string(name), rec)
		if err != nil {
			return false, err
		}
		size += pieceName + len(value)
		if e.Sub != 0 || !e.Empty() {
			out.Entries = append(out.Entries, e)
			full = size >= pieceBytes
		}
		return !full, ctx.Err()
	})
	if err != nil {
		return err
	}
	if full {
		out.To = out.Entries[len(out.Entries)-1].Name
	}
	if out.After == "" || !full {
		return countNames(tx, out.Dir)
	}
	return nil
}

// namesBehind calls fn for what Bolt has of the names of a directory behind
// one, sorted, until it does not want more.
func namesBehind(tx *bbolt.Tx, dir uint64, after string, fn func(name, value []byte) (more bool, err error)) error {
	prefix := numKey(dir, "")
	c := tx.Bucket(bucketNames).Cursor()
	for k, value := c.Seek(numKey(dir, after)); bytes.HasPrefix(k, prefix); k, value = c.Next() {
		name := k[len(prefix):]
		if string(name) == after {
			continue
		}
		value, err := checkSum(k, value)
		if err != nil {
			return fmt.Errorf("%q in directory %d: %w", name, dir, err)
		}
		if more, err := fn(name, value); err != nil || !more {
			return err
		}
	}
	return nil
}

// countNames checks that there are as many names in a directory as its record
// says: those that are missing would be taken for deleted. Of a listing in
// pieces the first and the last are of a directory that was counted.
func countNames(tx *bbolt.Tx, dir uint64) error {
	prefix := numKey(dir, "")
	n := uint64(0)
	c := tx.Bucket(bucketNames).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		n++
	}
	return checkCount(tx, dir, n)
}

func checkCount(tx *bbolt.Tx, dir, n uint64) error {
	r, err := readDirRecord(tx, dir)
	if err == nil && (r == nil && n > 0 || r != nil && n != r.Records) {
		err = fmt.Errorf("directory %d: %w: not as many names as its record says", dir, ErrDamaged)
	}
	return err
}

// namesIn brings the names of d that s is about into memory and returns
// those of which anything is stored, sorted.
func (v *Volume) namesIn(d *dir, s *DirState) ([]string, error) {
	var names []string
	add := func(e *entry) {
		if e.name != "" && s.within(e.name) && !e.rec.empty() {
			names = append(names, e.name)
		}
	}
	if d.cached == d.records {
		for _, e := range d.children {
			add(e)
		}
	} else {
		if err := v.loadPiece(d, s, add); err != nil {
			return nil, v.damage(err)
		}
		v.eachDirty(d, add)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// loadPiece brings the durable names that s is about into memory.
func (v *Volume) loadPiece(d *dir, s *DirState, fn func(e *entry)) error {
	return v.db.View(func(tx *bbolt.Tx) error {
		err := namesBehind(tx, d.num, s.After, func(name, value []byte) (more bool, err error) {
			if !s.within(string(name)) && len(name) > 0 {
				return false, nil
			}
			e := d.children[string(name)]
			if e == nil {
				rec, err := decodeRecord(value)
				if err != nil {
					return false, fmt.Errorf("%q in directory %d: %w", name, d.num, damaged(err))
				}
				e = v.insert(d, string(name), rec)
			}
			fn(e)
			return true, nil
		})
		if err == nil && (s.After == "" || s.To == "") {
			err = countNames(tx, d.num)
		}
		return err
	})
}

// rootEntry is what stands for the settings of the root in its listings.
func rootEntry(tx *bbolt.Tx) (merge.Entry, error) {
	rec, err := readRecord(tx, rootDir, "")
	if err != nil || rec == nil {
		return merge.Entry{}, err
	}
	return rec.Entry, nil
}
