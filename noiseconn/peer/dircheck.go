package peer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bazil/merge"
	"bazil/store/vol"
)

// Bounds of what one name may hold.
const (
	maxContent = 64 << 10 // of a version, in bytes
	maxXattr   = 64 << 10 // of one value, in bytes
	maxName    = 255      // of a name of a file or an attribute, in bytes
)

// lookup is a record's tables, as read and checked.
type lookup struct {
	replicas []merge.ReplicaID
	contexts []merge.Context
}

var (
	errTable = errors.New("a replica or context that is not in the record's table")
	errDots  = errors.New("dots out of order or zero")
)

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

// dots reads dots in order, none of them zero.
func (l *lookup) dots(w wireDots) ([]merge.Dot, error) {
	if len(w)%2 != 0 {
		return nil, errDots
	}
	if len(w) == 0 {
		return nil, nil
	}
	out := make([]merge.Dot, len(w)/2)
	for i := range out {
		d, err := l.dot(w[2*i], w[2*i+1])
		if err != nil {
			return nil, err
		}
		if i > 0 && out[i-1].Compare(d) >= 0 {
			return nil, errDots
		}
		out[i] = d
	}
	return out, nil
}

func (l *lookup) dot(replica, n uint64) (merge.Dot, error) {
	if replica >= uint64(len(l.replicas)) {
		return merge.Dot{}, errTable
	}
	d := merge.Dot{Replica: l.replicas[replica], N: n}
	if d.Replica == 0 || d.N == 0 {
		return merge.Dot{}, errDots
	}
	return d, nil
}

func (l *lookup) at(i int) (merge.Context, error) {
	if i < 0 || i >= len(l.contexts) {
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
	if v.Gone, err = l.at(w.Gone); err == nil && !v.Max.Covers(v.Gone) {
		err = errors.New("a view in which more is gone than was changed")
	}
	return v, err
}

func (l *lookup) stamp(w wireStamp) (merge.Stamp, error) {
	if w.Replica < 0 {
		return merge.Stamp{}, errTable
	}
	d, err := l.dot(uint64(w.Replica), w.N)
	return merge.Stamp{Time: w.Time, Dot: d}, err
}

func (l *lookup) entry(w *wireEntry) (e merge.Entry, err error) {
	if e.Ctx, err = l.at(w.Ctx); err != nil {
		return e, err
	}
	for i := range w.Versions {
		v, err := l.version(&w.Versions[i])
		if err != nil {
			return e, fmt.Errorf("version %d: %w", i, err)
		}
		e.Versions = append(e.Versions, v)
	}
	for i := range w.Attrs {
		a, err := l.attr(&w.Attrs[i])
		if err != nil {
			return e, fmt.Errorf("attributes %d: %w", i, err)
		}
		e.Attrs = append(e.Attrs, a)
	}
	return e, checkOrder(&e)
}

// checkOrder checks what must hold between versions, and between attributes.
func checkOrder(e *merge.Entry) error {
	for i := 1; i < len(e.Versions); i++ {
		if e.Versions[i-1].Dots[0].Compare(e.Versions[i].Dots[0]) >= 0 {
			return errors.New("versions out of order")
		}
	}
	for i := 1; i < len(e.Attrs); i++ {
		if e.Attrs[i-1].Stamp.Compare(e.Attrs[i].Stamp) <= 0 {
			return errors.New("attributes out of order")
		}
	}
	if all := e.Seen(); len(all) > 1 {
		slices.SortFunc(all, merge.Dot.Compare)
		if len(slices.Compact(all)) < len(e.Seen()) {
			return errors.New("two versions with one dot")
		}
	}
	return nil
}

func (l *lookup) version(w *wireVersion) (v merge.Version, err error) {
	v = merge.Version{Kind: merge.Kind(w.Kind), Content: string(w.Content), Size: w.Size, MTime: w.MTime}
	switch {
	case v.Kind < merge.KindFile || v.Kind > merge.KindDevice:
		return v, fmt.Errorf("unknown %v", v.Kind)
	case v.Size < 0:
		return v, fmt.Errorf("size %d", v.Size)
	case len(v.Content) > maxContent:
		return v, fmt.Errorf("content of %d bytes", len(v.Content))
	case v.Kind == merge.KindDir && v.Content != "":
		return v, errors.New("a directory with content")
	}
	if v.Dots, err = l.dots(w.Dots); err == nil && len(v.Dots) == 0 {
		err = errDots
	}
	if err == nil {
		v.MStamp, err = l.stamp(w.MStamp)
	}
	return v, err
}

func (l *lookup) attr(w *wireAttr) (a merge.Attr, err error) {
	a = merge.Attr{Mode: w.Mode, UID: w.UID, GID: w.GID}
	if a.Mode&^0o7777 != 0 {
		return a, fmt.Errorf("mode %o", a.Mode)
	}
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
		switch {
		case x.Name == "" || len(x.Name) > maxName || strings.ContainsRune(string(x.Name), 0):
			return nil, fmt.Errorf("attribute name of %d bytes", len(x.Name))
		case len(x.Value) > maxXattr:
			return nil, fmt.Errorf("attribute of %d bytes", len(x.Value))
		case i > 0 && w[i-1].Name >= x.Name:
			return nil, errors.New("attribute names out of order")
		}
		out[string(x.Name)] = x.Value
	}
	return out, nil
}

// parseDirs reads the question of pull.
func parseDirs(question []byte) ([]DirRequest, error) {
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
	reqs := make([]DirRequest, len(w.Dirs))
	for i, d := range w.Dirs {
		reqs[i].Dir = d.Dir
		if reqs[i].Known, err = l.context(d.Known); err != nil {
			return nil, fmt.Errorf("context known of directory %d: %w", d.Dir, err)
		}
	}
	return reqs, nil
}

// parseHead reads the body of a 'd' record.
func parseHead(body []byte) (d vol.DirState, err error) {
	var w wireHead
	if err := wire.decode("directory", body, &w); err != nil {
		return d, err
	}
	l, err := newLookup(w.Replicas, w.Contexts)
	if err != nil {
		return d, err
	}
	d.Dir, d.Same, d.Partial = w.Dir, w.Flags&headSame != 0, w.Flags&headPartial != 0
	if d.View, err = l.view(w.View); err != nil {
		return d, err
	}
	d.Root, err = l.entry(&w.Root)
	return d, err
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
	if n.Entry, err = l.entry(&w.Entry); err != nil || n.Sub == 0 {
		return n, err
	}
	n.SubView, err = l.view(w.View)
	return n, err
}
