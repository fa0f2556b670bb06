package export

import (
	"context"
	"slices"
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
	account *p9srv.Account // of the connection, which is charged with held bytes
	held    int64
}

// entryOverhead is what an entry takes beside the bytes of its name.
const entryOverhead = 64

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
	d.account = p9srv.AccountOf(ctx)
	if !d.account.Take(n) {
		return syscall.ENOMEM
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
	d.account.Give(d.held)
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
