package export

import (
	"context"
	"slices"
	"sync/atomic"
	"syscall"

	"bazil/p9srv"
	"bazil/store/vol"
)

// volDir is an opened directory: the names as they were when reading began,
// so that cookies stay right while entries come and go.
type volDir struct {
	readOnlyDir
	n       *volNode
	entries []vol.DirEntry
	budget  *listings
	held    int64
}

// listings bounds the names that the open directories of one connection hold.
type listings struct{ used atomic.Int64 }

// maxListings is how many bytes of names a connection may hold; one directory
// it may always list. A name takes about 80.
const maxListings = 256 << 20

// entryOverhead is what an entry takes beside the bytes of its name.
const entryOverhead = 64

type listingsKey struct{}

// withListings gives a connection's context its bound.
func withListings(ctx context.Context) context.Context {
	return context.WithValue(ctx, listingsKey{}, new(listings))
}

// take holds n bytes, or refuses: ENOMEM. No bound allows everything.
func (l *listings) take(n int64) error {
	if l == nil {
		return nil
	}
	if used := l.used.Add(n); used > maxListings && used > n {
		l.used.Add(-n)
		return syscall.ENOMEM
	}
	return nil
}

func (l *listings) give(n int64) {
	if l != nil {
		l.used.Add(-n)
	}
}

// ReadDir's cookies count the entries of the listing that was taken at 0.
func (d *volDir) ReadDir(ctx context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	if off == 0 || d.entries == nil {
		if err := d.list(ctx); err != nil {
			return err
		}
	}
	for i := off; i < uint64(len(d.entries)); i++ {
		e := d.entries[i]
		if !yield(p9srv.Dirent{QID: d.n.entryQID(e), Offset: i + 1, Type: uint8(modeType(e.Kind, e.Block) >> 12), Name: e.Name}) {
			break
		}
	}
	return nil
}

// list takes the names as they are now.
func (d *volDir) list(ctx context.Context) error {
	entries, err := d.n.n.List(ctx)
	if err != nil {
		return err
	}
	entries = d.n.shown(entries)
	n := int64(0)
	for _, e := range entries {
		n += entryOverhead + int64(len(e.Name))
	}
	d.forget()
	d.budget, _ = ctx.Value(listingsKey{}).(*listings)
	if err := d.budget.take(n); err != nil {
		return err
	}
	d.entries, d.held = entries, n
	return nil
}

// shown leaves out what the directory of snapshots hides.
func (n *volNode) shown(entries []vol.DirEntry) []vol.DirEntry {
	i := slices.IndexFunc(entries, func(e vol.DirEntry) bool { return e.Name == snapName })
	if i < 0 || !n.isRoot() {
		return entries
	}
	return slices.Delete(slices.Clone(entries), i, i+1) // others have entries too
}

func (d *volDir) forget() {
	d.budget.give(d.held)
	d.entries, d.held = nil, 0
}

func (n *volNode) entryQID(e vol.DirEntry) p9srv.QID {
	return p9srv.QID{Type: qidType(e.Kind), Version: qidVersion(e.Version), Path: n.path(e.Ino)}
}

// Sync of a directory makes what was changed in it durable.
func (d *volDir) Sync(ctx context.Context, _ bool) error { return d.n.vol.Sync(ctx) }

func (d *volDir) Close() error {
	d.forget()
	return nil
}
