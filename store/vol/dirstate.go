package vol

import (
	"context"
	"fmt"
	"syscall"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

// DirRequest asks for the state of one directory.
type DirRequest struct {
	Dir   uint64        // the sender's number of it, 0 for the root
	Known merge.Context // the receiver's View.Ctx of it
	After string        // only names behind this, the receiver had those up to it
}

// DirState is what a replica tells another of one directory: its committed
// state at one moment. Of a large one it is a piece: the names behind After and
// up to To are those of that moment, and of others it tells nothing.
type DirState struct {
	Dir     uint64       // the sender's number of the directory
	After   string       // "": from the first name on
	To      string       // "": to the last; else there is another piece behind it
	Same    bool         // the receiver knows all of it: no Entries follow
	View    merge.View   // of the sender
	Root    merge.Entry  // the settings of the root directory; of no other
	Partial bool         // names that are not here have no news; else they are absent
	Entries []NamedEntry // sorted by name
}

// NamedEntry is one name in a DirState.
type NamedEntry struct {
	Name string
	merge.Entry
	Sub     uint64        // the sender's number of the directory at this name, 0: none
	SubView merge.View    // its view, where Sub is not 0
	Last    merge.Context // in a partial listing: the last changes at this name and below that are news
}

// DirState returns the state of a directory, or the next piece of it. ESTALE:
// the directory is no more.
func (v *Volume) DirState(ctx context.Context, req DirRequest) (DirState, error) {
	if req.Dir == 0 {
		req.Dir = rootDir
	}
	var out DirState
	err := v.db.ViewDurable(func(tx *bbolt.Tx) (err error) {
		out, err = readDirState(ctx, tx, req)
		return err
	})
	if err != nil {
		return DirState{}, fmt.Errorf("directory %d: %w", req.Dir, err)
	}
	return out, nil
}

func readDirState(ctx context.Context, tx *bbolt.Tx, req DirRequest) (DirState, error) {
	view, err := readView(tx, req.Dir)
	if err != nil {
		return DirState{}, err
	}
	out := DirState{Dir: req.Dir, After: req.After, View: view}
	if req.After == "" {
		if known := req.Known; known.Covers(view.Max) {
			out.Same = true
			return out, nil
		} else if partial, err := readPartial(tx, &out, known); partial || err != nil {
			return out, err
		}
	}
	if req.Dir == rootDir {
		if out.Root, err = rootEntry(tx); err != nil {
			return out, err
		}
	}
	return out, readPiece(ctx, tx, &out)
}

func readNamed(tx *bbolt.Tx, view merge.View, name string, rec *record) (NamedEntry, error) {
	e := NamedEntry{Name: name, Entry: rec.Entry, Sub: rec.Sub}
	if rec.Sub == 0 {
		return e, nil
	}
	r, err := readDirRecord(tx, rec.Sub)
	if err == nil && r == nil {
		err = fmt.Errorf("%w: no directory %d", ErrDamaged, rec.Sub)
	}
	if err != nil {
		return e, err
	}
	e.SubView = view.Sub(r.Dir)
	return e, nil
}

// readView works out the view of a directory from those above it.
func readView(tx *bbolt.Tx, num uint64) (merge.View, error) {
	r, err := readDirRecord(tx, num)
	if err != nil {
		return merge.View{}, err
	}
	if r == nil {
		return merge.View{}, syscall.ESTALE
	}
	if num == rootDir {
		s, err := readState(tx)
		if err != nil {
			return merge.View{}, err
		}
		return merge.RootView(s.dot(), r.Dir), nil
	}
	if r.Parent >= num {
		return merge.View{}, fmt.Errorf("%w: directory %d in %d", ErrDamaged, num, r.Parent)
	}
	above, err := readView(tx, r.Parent)
	return above.Sub(r.Dir), err
}

// View returns the view of a directory here, changes that are not durable
// included; 0 stands for the root.
func (v *Volume) View(dir uint64) (merge.View, error) {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return merge.View{}, errClosed
	}
	d, err := v.dirByNumber(dir)
	if err != nil {
		return merge.View{}, err
	}
	return d.view(v.state.dot()), nil
}
