package fusemount

import (
	"context"
	"syscall"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

// listCount is how many bytes of entries are asked for at once.
const listCount = 64 << 10

// listing is how far a directory was read. The kernel goes on behind any entry
// of the last answer, or begins anew.
//
// A cookie is good for the fid that gave it: our server counts the names as they
// were when that began to list. So a directory that was opened again over
// another connection is searched for the name that the cookie stood for.
type listing struct {
	fid   *client.Fid // that gave the batch
	batch []p9srv.Dirent
	at    int  // the next of batch to be passed on
	end   bool // nothing is behind batch
}

func (l *listing) more() bool { return l.at < len(l.batch) }

// seek makes l start behind the cookie off, with at least one entry unless
// the directory ends there. The start is always read anew.
func (l *listing) seek(ctx context.Context, fid *client.Fid, off uint64) error {
	known := l.find(off)
	if known && (l.more() || l.end) {
		return nil
	}
	ents, err := l.read(ctx, fid, off, known)
	switch {
	case err != nil:
		return err
	case known && len(ents) == 0:
		l.end = true
	default:
		*l = listing{fid: fid, batch: ents, end: len(ents) == 0}
	}
	return nil
}

// find goes behind the entry of the batch with that cookie, if there is one.
func (l *listing) find(off uint64) bool {
	if off == 0 {
		return false
	}
	if l.at > 0 && l.batch[l.at-1].Offset == off {
		return true
	}
	for i, e := range l.batch {
		if e.Offset == off {
			l.at = i + 1
			return true
		}
	}
	return false
}

// read asks for what is behind off, which, if it is known, l.at is behind.
func (l *listing) read(ctx context.Context, fid *client.Fid, off uint64, known bool) ([]p9srv.Dirent, error) {
	switch {
	case off == 0 || l.fid == nil || l.fid == fid:
		return fid.ReadDir(ctx, off, listCount)
	case !known:
		return nil, syscall.EIO
	}
	return behind(ctx, fid, l.batch[l.at-1].Name)
}

// behind reads what is behind a name. If that is gone, the order of the names
// tells the place, provided that they have one.
func behind(ctx context.Context, fid *client.Fid, name string) ([]p9srv.Dirent, error) {
	place, last, sorted := uint64(0), "", true
	for off := uint64(0); ; {
		ents, err := fid.ReadDir(ctx, off, listCount)
		switch {
		case err != nil:
			return nil, err
		case len(ents) == 0 && !sorted:
			return nil, syscall.EIO
		case len(ents) == 0:
			return fid.ReadDir(ctx, place, listCount)
		}
		for _, e := range ents {
			off = e.Offset
			dots := e.Name == "." || e.Name == ".."
			switch {
			case e.Name == name:
				return fid.ReadDir(ctx, off, listCount)
			case dots || e.Name < name:
				place = off
			}
			if !dots {
				sorted, last = sorted && last < e.Name, e.Name
			}
		}
	}
}
