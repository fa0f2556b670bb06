package peer

import (
	"errors"
	"fmt"
	"strings"

	"bazil/merge"
	"bazil/store/vol"
)

// lookup is a record's tables, as read and checked.
type lookup struct {
	replicas []merge.ReplicaID
	contexts []merge.Context
}

var errTable = errors.New("a replica or context that is not in the record's table")

func newLookup(replicas []uint64, contexts []wireDots) (*lookup, error) {
	l := &lookup{replicas: make([]merge.ReplicaID, len(replicas))}
	for i, r := range replicas {
		l.replicas[i] = merge.ReplicaID(r)
	}
	l.contexts = make([]merge.Context, len(contexts))
	for i, w := range contexts {
		c, err := l.context(w)
		if err != nil {
			return nil, err
		}
		l.contexts[i] = c
	}
	return l, nil
}

// context reads a context where it stands.
func (l *lookup) context(w wireDots) (merge.Context, error) {
	dots, err := l.dots(w)
	if err != nil {
		return nil, err
	}
	c := merge.Context(dots)
	return c, c.Valid()
}

// dots reads dots; what must hold between them is for others to check.
func (l *lookup) dots(w wireDots) ([]merge.Dot, error) {
	if len(w) == 0 {
		return nil, nil
	}
	if len(w)%2 != 0 {
		return nil, errors.New("half a dot")
	}
	out := make([]merge.Dot, len(w)/2)
	for i := range out {
		r, err := l.replica(w[2*i])
		if err != nil {
			return nil, err
		}
		out[i] = merge.Dot{Replica: r, N: w[2*i+1]}
	}
	return out, nil
}

func (l *lookup) replica(i uint64) (merge.ReplicaID, error) {
	if i >= uint64(len(l.replicas)) {
		return 0, errTable
	}
	return l.replicas[i], nil
}

func (l *lookup) at(i uint64) (merge.Context, error) {
	if i >= uint64(len(l.contexts)) {
		return nil, errTable
	}
	return l.contexts[i], nil
}

func (l *lookup) view(w wireView) (v merge.View, err error) {
	if v.Ctx, err = l.at(w.Ctx); err != nil {
		return v, err
	}
	if v.Max, err = l.at(w.Max); err != nil {
		return v, err
	}
	v.Gone, err = l.at(w.Gone)
	return v, err
}

func (l *lookup) stamp(w wireStamp) (merge.Stamp, error) {
	r, err := l.replica(w.Replica)
	return merge.Stamp{Time: w.Time, Dot: merge.Dot{Replica: r, N: w.N}}, err
}

// entry reads an entry and checks that merge could have made it.
func (l *lookup) entry(w *wireEntry) (e merge.Entry, err error) {
	if e.Ctx, err = l.at(w.Ctx); err != nil {
		return e, err
	}
	if len(w.Versions) > 0 {
		e.Versions = make([]merge.Version, len(w.Versions))
	}
	for i := range w.Versions {
		if e.Versions[i], err = l.version(&w.Versions[i]); err != nil {
			return e, err
		}
	}
	if len(w.Attrs) > 0 {
		e.Attrs = make([]merge.Attr, len(w.Attrs))
	}
	for i := range w.Attrs {
		if e.Attrs[i], err = l.attr(&w.Attrs[i]); err != nil {
			return e, err
		}
	}
	return e, e.Validate()
}

func (l *lookup) version(w *wireVersion) (v merge.Version, err error) {
	v = merge.Version{Kind: merge.Kind(w.Kind), Content: string(w.Content), Size: w.Size, MTime: w.MTime}
	if v.Dot.Replica, err = l.replica(w.Dot.Replica); err != nil {
		return v, err
	}
	v.Dot.N = w.Dot.N
	v.MStamp, err = l.stamp(w.MStamp)
	return v, err
}

func (l *lookup) attr(w *wireAttr) (a merge.Attr, err error) {
	a = merge.Attr{Mode: w.Mode, UID: w.UID, GID: w.GID}
	if a.Stamp, err = l.stamp(w.Stamp); err != nil {
		return a, err
	}
	if a.Dots, err = l.dots(w.Dots); err != nil {
		return a, err
	}
	a.Xattrs, err = xattrs(w.Xattrs)
	return a, err
}

func xattrs(w []wireXattr) (map[string][]byte, error) {
	if len(w) == 0 {
		return nil, nil
	}
	out := make(map[string][]byte, len(w))
	for i, x := range w {
		if i > 0 && w[i-1].Name >= x.Name {
			return nil, errors.New("attribute names out of order")
		}
		if strings.ContainsRune(string(x.Name), 0) {
			return nil, errors.New("attribute name with a zero byte")
		}
		out[string(x.Name)] = x.Value
	}
	return out, nil
}

// parseDirs reads the question of pull.
func parseDirs(question []byte) ([]vol.DirRequest, error) {
	var w wireDirs
	if err := wire.decode("question", question, &w); err != nil {
		return nil, err
	}
	if len(w.Dirs) == 0 || len(w.Dirs) > maxDirs {
		return nil, fmt.Errorf("a question for %d directories, want 1 to %d", len(w.Dirs), maxDirs)
	}
	l, err := newLookup(w.Replicas, nil)
	if err != nil {
		return nil, err
	}
	reqs := make([]vol.DirRequest, len(w.Dirs))
	for i, d := range w.Dirs {
		reqs[i].Dir = d.Dir
		if reqs[i].Known, err = l.context(d.Known); err != nil {
			return nil, fmt.Errorf("context known of directory %d: %w", d.Dir, err)
		}
	}
	return reqs, nil
}

// parseHead reads the body of a 'd' record. more says that another piece
// follows.
func parseHead(body []byte) (d vol.DirState, more bool, err error) {
	var w wireHead
	if err := wire.decode("directory", body, &w); err != nil {
		return d, false, err
	}
	l, err := newLookup(w.Replicas, w.Contexts)
	if err != nil {
		return d, false, err
	}
	if more = w.Flags&headMore != 0; w.Flags&^(headSame|headPartial|headMore) != 0 || more && w.Flags != headMore {
		return d, false, fmt.Errorf("unknown flags %#x of a directory", w.Flags)
	}
	d.Dir, d.Same, d.Partial = w.Dir, w.Flags&headSame != 0, w.Flags&headPartial != 0
	if d.View, err = l.view(w.View); err != nil {
		return d, false, err
	}
	d.Root, err = l.entry(&w.Root)
	return d, more, err
}

// parseNames reads the body of an 'n' record and adds its names to d.
func parseNames(body []byte, d *vol.DirState) error {
	var w wireNames
	if err := wire.decode("names", body, &w); err != nil {
		return err
	}
	if len(w.Names) == 0 || len(w.Names) > maxNames {
		return fmt.Errorf("a record of %d names", len(w.Names))
	}
	l, err := newLookup(w.Replicas, w.Contexts)
	if err != nil {
		return err
	}
	for i := range w.Names {
		n, err := l.name(&w.Names[i])
		if err != nil {
			return fmt.Errorf("name %q: %w", w.Names[i].Name, err)
		}
		if last := len(d.Entries) - 1; last >= 0 && d.Entries[last].Name >= n.Name {
			return fmt.Errorf("name %q: names out of order", n.Name)
		}
		d.Entries = append(d.Entries, n)
	}
	return nil
}

func (l *lookup) name(w *wireName) (n vol.NamedEntry, err error) {
	n.Name, n.Sub = string(w.Name), w.Sub
	if !validName(n.Name) || n.Name == ".." {
		return n, errors.New("no name of a file")
	}
	if n.Last, err = l.at(w.Last); err != nil {
		return n, err
	}
	if n.Entry, err = l.entry(&w.Entry); err != nil || n.Sub == 0 {
		return n, err
	}
	n.SubView, err = l.view(w.View)
	return n, err
}
