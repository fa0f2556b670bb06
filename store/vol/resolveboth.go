package vol

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"bazil/merge"
)

// ResolveBoth ends a conflict by giving every version of the dots of seen a
// name: a directory or a device node keeps the one there is, else the newest
// version does; the others become files beside it, whose names are returned.
// No content moves. On all devices the same version stays and the others get
// the same names, so that two that resolve at once agree. Errors: as
// Resolve's, EBUSY (a version is being written).
func (v *Volume) ResolveBoth(ctx context.Context, path string, seen []merge.Dot) (names []string, err error) {
	err = v.resolve(ctx, path, func(r *resolution) error {
		names, err = r.both(seen)
		return err
	})
	return names, err
}

func (r *resolution) both(seen []merge.Dot) (names []string, err error) {
	stay := merge.Visible(r.rec.Versions, merge.Dot{})
	if r.rec.Device || r.rec.Implied && (stay < 0 || r.rec.Versions[stay].Kind != merge.KindDir) {
		stay = -1
	}
	var moves []aside
	free := newAsides(r.v, func(e *entry) *record { return e.rec })
	for i := range r.rec.Versions {
		ver := r.rec.Versions[i]
		if i == stay || !slices.Contains(seen, ver.Dot) {
			continue
		}
		if ver.Kind == merge.KindFile && Body(ver.Content).Validate() != nil {
			return nil, fmt.Errorf("%s: it is being written: %w", r.e.path(), syscall.EBUSY)
		}
		e, err := free.find(r.e, &ver)
		if err != nil {
			return nil, err
		}
		moves = append(moves, aside{e, ver})
	}
	for _, m := range moves {
		r.putAside(m)
		names = append(names, m.e.name)
	}
	if stay < 0 {
		return names, r.keepUnversioned(seen)
	}
	return names, r.keep(r.rec.Versions[stay], seen)
}

// aside is a version and the name that it gets.
type aside struct {
	e   *entry
	ver merge.Version
}

// AsideName is what a version of name is called when it becomes a file beside
// it; n counts from 1 where that name is taken: report.conflict-20060102T150405Z-0123abcd.txt,
// of the time of its last change and the replica that made it.
func AsideName(name string, ver *merge.Version, n int) string {
	ext := path.Ext(name)
	if ext == name || len(ext) > 16 {
		ext = ""
	}
	tag := ".conflict-" + time.Unix(0, ver.MTime).UTC().Format("20060102T150405Z") + "-" + ver.Dot.Replica.String()[:8]
	if n > 1 {
		tag += fmt.Sprintf("-%d", n)
	}
	stem := strings.TrimSuffix(name, ext)
	if room := nameMax - len(tag) - len(ext); len(stem) > room {
		stem = stem[:room]
		for len(stem) > 0 && !utf8.ValidString(stem[max(0, len(stem)-utf8.UTFMax):]) && utf8.ValidString(name) {
			stem = stem[:len(stem)-1]
		}
	}
	return stem + tag + ext
}

// putAside gives a name the version, with the settings of the name it had.
func (r *resolution) putAside(m aside) {
	v, e := r.v, m.e
	if _, kind := e.shows(); kind != 0 { // that version already
		return
	}
	t := now()
	rec := e.rec.clone()
	rec.Ino = v.newIno()
	rec.ATime, rec.MTime, rec.CTime, rec.BTime = t, t, t, t
	rec.Change = v.changed(rec.Ino)
	dot := v.spendFor(&rec.Entry, nil)
	stamp := merge.Stamp{Time: t, Dot: dot}
	m.ver.Dot, m.ver.MStamp = dot, stamp
	a := r.rec.Attr()
	a.Stamp = stamp
	rec.Entry, rec.Shown = rec.Put(m.ver, nil).SetAttr(a), dot
	old := e.rec
	v.put(e, rec)
	v.addInode(rec.Ino, m.ver.Kind, e)
	v.addWants(e, old)
}
