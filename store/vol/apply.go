package vol

import (
	"context"
	"fmt"
	"syscall"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

// Sub is a subdirectory to be pulled after an Apply.
type Sub struct {
	Name   string
	Remote uint64        // the sender's number; 0: it has no such directory
	Local  uint64        // the number here
	Known  merge.Context // where Remote is not 0: what to ask with
	Lack   *DirState     // where Remote is 0: the state to apply, without asking
}

// Apply joins a peer's state of a directory, or a piece of it, with the one
// here, 0 standing for the root: all names or, after an error, none. subs are
// the directories in it that are to be applied next; when all pieces and all
// of those, and all below, were applied and finished, the directory can be
// finished, with the view that its first piece had. changed says whether
// anything here changed. One peer's directories are applied at a time.
//
// A file that is open for writing goes on showing what its writer sees until
// it is closed. The state is checked; device nodes in it are left out.
// ESTALE: there is no such directory here any more.
func (v *Volume) Apply(ctx context.Context, local uint64, remote DirState) (subs []Sub, changed bool, err error) {
	if err := remote.check(); err != nil {
		return nil, false, fmt.Errorf("apply a peer's directory %d: %w", remote.Dir, err)
	}
	if err := v.begin(ctx); err != nil {
		return nil, false, err
	}
	defer v.unlock()
	d, err := v.dirByNumber(local)
	if err != nil {
		return nil, false, err
	}
	v.meetOwn(remote.View)
	a := applier{v: v, d: d, remote: &remote, meeting: merge.Meeting{Mine: d.view(v.state.dot()), Theirs: remote.View}}
	if err := a.prepare(); err != nil {
		return nil, false, fmt.Errorf("apply a peer's directory %d: %w", remote.Dir, err)
	}
	if err := a.install(); err != nil {
		return nil, false, err
	}
	return a.subs, a.changed, nil
}

// applier is one Apply under way: it works out what becomes of each name
// before it changes any.
type applier struct {
	v       *Volume
	d       *dir
	remote  *DirState
	meeting merge.Meeting
	joins   []join
	subs    []Sub
	changed bool
	settled bool // something took a change of its own
	crowded bool // a name will have too many versions
	thin    []*crowd
}

// join is what becomes of one name.
type join struct {
	e       *entry
	theirs  *NamedEntry
	entry   merge.Entry
	changed bool
	store   bool
}

// prepare works out what becomes of all names of either side.
func (a *applier) prepare() error {
	if a.d.num == rootDir {
		if err := a.join(a.d.at, &NamedEntry{Entry: a.remote.Root}); err != nil {
			return err
		}
	}
	local, err := a.localNames()
	if err != nil {
		return err
	}
	remote := a.remote.Entries
	for len(local) > 0 || len(remote) > 0 {
		var b *NamedEntry
		if len(local) == 0 || len(remote) > 0 && remote[0].Name <= local[0] {
			b, remote = &remote[0], remote[1:]
		} else {
			b = &NamedEntry{Name: local[0]}
		}
		if len(local) > 0 && local[0] == b.Name {
			local = local[1:]
		}
		e, err := a.v.find(a.d, b.Name)
		if err == nil {
			err = a.join(e, b)
		}
		if err != nil {
			return err
		}
	}
	return a.crowds()
}

// localNames are the names here, sorted, where those that the peer did not
// list count.
func (a *applier) localNames() ([]string, error) {
	if a.remote.Partial {
		return nil, nil
	}
	return a.v.namesIn(a.d, a.remote)
}

// join works out what becomes of e when it meets what the peer has.
func (a *applier) join(e *entry, theirs *NamedEntry) error {
	if _, err := a.v.subdir(e); err != nil {
		return err
	}
	var mine merge.Entry
	if e.rec != nil {
		mine = e.rec.Entry
	}
	j := join{e: e, theirs: theirs}
	j.entry, j.changed, j.store = a.meeting.Join(mine, theirs.Entry)
	if len(j.entry.Attrs) > merge.MaxAttrs {
		return fmt.Errorf("%q: %d settings of one name: %w", e.name, len(j.entry.Attrs), syscall.EOVERFLOW)
	}
	a.crowded = a.crowded || len(j.entry.Versions) > a.v.o.MaxVersions
	a.joins = append(a.joins, j)
	return nil
}

// install makes it so.
func (a *applier) install() error {
	for i := range a.joins {
		j := &a.joins[i]
		if j.store {
			a.store(j)
		}
		if err := a.below(j.e, j.theirs); err != nil {
			return err
		}
		if len(j.theirs.Last) > 0 && a.remote.Partial {
			a.v.addNews(news{j.e, j.theirs.Last})
		}
	}
	v, d := a.v, a.d
	v.learned(d, d.Apply(a.remote.View, !a.remote.Partial), a.remote.View)
	if a.changed {
		v.touchDir(d, now())
	}
	if a.settled {
		v.spend()
		v.raise(d)
	}
	for _, c := range a.thin {
		v.thin(c)
	}
	return nil
}

// store stores what becomes of a name.
func (a *applier) store(j *join) {
	v, e, old := a.v, j.e, j.e.rec
	rec := old.clone()
	rec.Entry = j.entry
	if j.changed && e != v.root.at {
		if x, ok := rec.Settle(); ok {
			rec.Entry, a.settled = x, true
			v.tell(e)
		}
	}
	if j.changed {
		a.changed = true
		v.present(e, old, rec)
	}
	v.set(e, rec)
	v.addWants(e, old)
}

// below notes the directory at e's place if anything in it is news.
func (a *applier) below(e *entry, b *NamedEntry) error {
	local := e.sub
	if local == nil && b.Sub == 0 {
		return nil
	}
	mine, theirs := a.meeting.Mine.Lacking(), a.remote.View.Lacking()
	if local != nil {
		mine = a.meeting.Mine.Sub(local.Dir)
	}
	if b.Sub != 0 {
		theirs = b.SubView
	}
	if e == a.v.root.at || mine.Knows(theirs) {
		return nil
	}
	if local == nil {
		var err error
		if local, err = a.v.placeOf(e); err != nil {
			return err
		}
	}
	sub := Sub{Name: b.Name, Remote: b.Sub, Local: local.num, Known: mine.Ctx}
	if b.Sub == 0 {
		sub.Lack = &DirState{View: theirs}
	}
	a.subs = append(a.subs, sub)
	return nil
}

// learned stores what a directory becomes after something was taken from a
// peer's with view theirs, and tells those above.
func (v *Volume) learned(d *dir, dir merge.Dir, theirs merge.View) {
	d.Dir = dir
	v.markDir(d)
	for p := d.parent(); p != nil; d, p = p, p.parent() {
		p.Dir = p.Learn(theirs)
		v.markDir(p)
		v.tellLearned(d, theirs.Max)
	}
}

// loadNames brings all names of a directory into memory.
func (v *Volume) loadNames(d *dir) error {
	if d.cached == d.records {
		return nil
	}
	err := v.db.View(func(tx *bbolt.Tx) error {
		return eachName(tx, d.num, func(name, value []byte) error {
			if d.children[string(name)] != nil {
				return nil
			}
			rec, err := decodeRecord(value)
			if err != nil {
				return fmt.Errorf("%q in directory %d: %w", name, d.num, damaged(err))
			}
			v.insert(d, string(name), rec)
			return nil
		})
	})
	if err != nil {
		return v.damage(err)
	}
	return nil
}
