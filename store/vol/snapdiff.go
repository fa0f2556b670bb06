package vol

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	"bazil/merge"
	"bazil/store"
)

// Change says what became of a name between two trees.
type Change uint8

// The kinds of changes.
const (
	Added Change = 1 + iota
	Removed
	Changed
	Renamed // the same content is at another name
)

// String is the word for it.
func (c Change) String() string {
	return [...]string{"none", "added", "removed", "changed", "renamed"}[c]
}

// Difference is one name that two trees do not have alike.
type Difference struct {
	Change Change
	Path   string // slash-separated, from the root
	From   string // of what was renamed, where it was
	Kind   merge.Kind
	Size   int64
	What   []string // of what was changed: content, kind, mode, mtime, xattrs
}

// Diff returns in what two trees differ, from a to b, sorted by path. What
// both share is not looked at, so it costs what changed. A directory is told
// as changed for settings of its own, not for what is in it.
func Diff(ctx context.Context, a, b *SnapNode) ([]Difference, error) {
	d := &differ{ctx: ctx}
	if what := changedIn(a, b); len(what) > 0 {
		d.out = append(d.out, Difference{Change: Changed, Kind: merge.KindDir, What: what})
	}
	if err := d.dirs("", a, b); err != nil {
		return nil, err
	}
	var err error
	if d.removed, err = d.unfold(d.removed); err != nil {
		return nil, err
	}
	if d.added, err = d.unfold(d.added); err != nil {
		return nil, err
	}
	d.pair()
	for _, x := range d.removed {
		d.out = append(d.out, x.difference(Removed))
	}
	for _, x := range d.added {
		d.out = append(d.out, x.difference(Added))
	}
	slices.SortFunc(d.out, func(x, y Difference) int { return strings.Compare(x.Path, y.Path) })
	return d.out, nil
}

// differ is one Diff under way.
type differ struct {
	ctx            context.Context
	out            []Difference
	removed, added []placed
}

// placed is an entry and where it stands.
type placed struct {
	path   string
	n      *SnapNode
	digest string // of a directory that is not empty, once it was unfolded
}

func (p placed) difference(c Change) Difference {
	return Difference{Change: c, Path: p.path, Kind: p.n.kind, Size: p.n.Attr().Size}
}

func joinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// dirs compares two directories. Of what only one has, the topmost directory
// stands for all below.
func (d *differ) dirs(path string, a, b *SnapNode) error {
	return eachPair(d.ctx, a, b, func(x, y *SnapNode) error {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if x == nil || y == nil || x.isDir() != y.isDir() {
			if x != nil {
				d.removed = append(d.removed, placed{path: joinPath(path, x.x.name), n: x})
			}
			if y != nil {
				d.added = append(d.added, placed{path: joinPath(path, y.x.name), n: y})
			}
			return nil
		}
		at := joinPath(path, x.x.name)
		if what := changedIn(x, y); len(what) > 0 {
			d.out = append(d.out, Difference{Change: Changed, Path: at, Kind: y.kind, Size: y.Attr().Size, What: what})
		}
		if x.isDir() && x.x.tree.ID != y.x.tree.ID {
			return d.dirs(at, x, y)
		}
		return nil
	})
}

// changedIn says what of an entry changed.
func changedIn(x, y *SnapNode) (what []string) {
	dir := x.isDir()
	add := func(when bool, word string) {
		if when {
			what = append(what, word)
		}
	}
	add(x.kind != y.kind, "kind")
	add(x.kind == y.kind && !dir && !x.x.sameContent(&y.x), "content")
	add(!x.x.sameMode(&y.x), "mode")
	add(!dir && x.x.mtime != y.x.mtime, "mtime")
	add(x.x.sameMode(&y.x) && !x.x.sameSettings(&y.x), "xattrs")
	return what
}

// pair finds what was removed again in what was added: whole directories
// first, then files.
func (d *differ) pair() {
	d.pairBy(func(p placed) string { return p.digest })
	d.pairBy(func(p placed) string {
		if p.n.kind == merge.KindFile {
			return p.n.x.content
		}
		return ""
	})
}

// pairBy makes one renamed entry of one removed and one added with the same
// key, and takes all below them with it. What has the key "" has no content to
// tell it by.
func (d *differ) pairBy(key func(placed) string) {
	from := make(map[string][]placed)
	for _, p := range d.removed {
		if k := key(p); k != "" {
			from[k] = append(from[k], p)
		}
	}
	gone, found := make(pathSet), make(pathSet)
	for _, p := range d.added {
		k := key(p)
		for was := from[k]; len(was) > 0; was = from[k] {
			from[k] = was[1:]
			if found.covers(p.path) || gone.covers(was[0].path) {
				continue
			}
			r := p.difference(Renamed)
			r.From = was[0].path
			d.out = append(d.out, r)
			gone[was[0].path], found[p.path] = true, true
			break
		}
	}
	d.removed = slices.DeleteFunc(d.removed, func(p placed) bool { return gone.covers(p.path) })
	d.added = slices.DeleteFunc(d.added, func(p placed) bool { return found.covers(p.path) })
}

// pathSet is paths with all that is below them.
type pathSet map[string]bool

func (s pathSet) covers(path string) bool {
	for len(s) > 0 {
		if s[path] {
			return true
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return false
		}
		path = path[:i]
	}
	return false
}

// unfold puts behind each directory all that is below it, and finds the
// directories' digests.
func (d *differ) unfold(ps []placed) (out []placed, err error) {
	for _, p := range ps {
		if out, err = d.unfoldOne(out, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *differ) unfoldOne(out []placed, p placed) ([]placed, error) {
	at := len(out)
	out = append(out, p)
	if !p.n.isDir() || p.n.x.tree.IsZero() {
		return out, d.ctx.Err()
	}
	h := sha256.New()
	err := eachPair(d.ctx, nil, p.n, func(_, y *SnapNode) (err error) {
		child := len(out)
		if out, err = d.unfoldOne(out, placed{path: joinPath(p.path, y.x.name), n: y}); err != nil {
			return err
		}
		h.Write(y.x.appendDigest(nil, out[child].digest))
		return nil
	})
	out[at].digest = string(h.Sum(nil))
	return out, err
}

// appendDigest appends what tells an entry by its content and settings,
// without the times that a renaming changes.
func (x *snapEntry) appendDigest(b []byte, below string) []byte {
	plain := *x
	plain.ctime, plain.btime, plain.tree = plain.mtime, plain.mtime, store.Pointer{}
	if x.kind == merge.KindDir {
		plain.mtime, plain.ctime, plain.btime = 0, 0, 0
	}
	return append(appendSnapEntry(b, &plain), below...)
}
