package vol

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

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

// Apply joins a peer's state of a directory with the one here, 0 standing for
// the root: all names or, after an error, none. subs are the directories in it
// that are to be applied next; when all of them, and all below, were applied
// and finished, the directory can be finished. changed says whether anything
// here changed. One peer's directories are applied at a time.
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
	if err := v.loadNames(d); err != nil {
		return nil, false, err
	}
	a := applier{v: v, d: d, remote: &remote, meeting: merge.Meeting{Mine: d.view(v.state.dot()), Theirs: remote.View}}
	if err := a.names(); err != nil {
		return nil, false, err
	}
	v.learned(d, d.Apply(remote.View, !remote.Partial), remote.View)
	if a.changed {
		v.touchDir(d, now())
	}
	if a.settled {
		v.spend()
		v.raise(d)
	}
	return a.subs, a.changed, nil
}

// applier is one Apply under way.
type applier struct {
	v       *Volume
	d       *dir
	remote  *DirState
	meeting merge.Meeting
	subs    []Sub
	changed bool
	settled bool // something took a change of its own
}

// learned stores what a directory becomes after something was taken from a
// peer's with view theirs, and tells those above.
func (v *Volume) learned(d *dir, dir merge.Dir, theirs merge.View) {
	d.Dir = dir
	v.markDir(d)
	for p := d.parent(); p != nil; p = p.parent() {
		p.Dir = p.Learn(theirs)
		v.markDir(p)
	}
}

// names joins all names of either side.
func (a *applier) names() error {
	if a.d.num == rootDir {
		a.join(a.d.at, a.remote.Root)
	}
	local := make([]string, 0, len(a.d.children))
	for name, e := range a.d.children {
		if name != "" && !e.rec.empty() && !a.remote.Partial {
			local = append(local, name)
		}
	}
	slices.Sort(local)
	remote := a.remote.Entries
	for len(local) > 0 || len(remote) > 0 {
		b := NamedEntry{}
		if len(local) == 0 || len(remote) > 0 && remote[0].Name <= local[0] {
			b, remote = remote[0], remote[1:]
		} else {
			b.Name = local[0]
		}
		if len(local) > 0 && local[0] == b.Name {
			local = local[1:]
		}
		if err := a.name(&b); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) name(b *NamedEntry) error {
	e, err := a.v.find(a.d, b.Name)
	if err != nil {
		return err
	}
	a.join(e, b.Entry)
	return a.below(e, b)
}

// join stores what becomes of e when it meets what the peer has.
func (a *applier) join(e *entry, theirs merge.Entry) {
	v, old := a.v, e.rec
	var mine merge.Entry
	if old != nil {
		mine = old.Entry
	}
	joined, changed, store := a.meeting.Join(mine, theirs)
	if !store {
		return
	}
	if changed && e != v.root.at {
		if x, ok := joined.Settle(); ok {
			joined, a.settled = x, true
		}
	}
	rec := old.clone()
	rec.Entry = joined
	if changed {
		a.changed = true
		v.present(e, old, rec)
	}
	v.set(e, rec)
	v.addWants(e, old)
}

// below notes the directory at e's place if anything in it is news.
func (a *applier) below(e *entry, b *NamedEntry) error {
	local, err := a.v.subdir(e)
	if err != nil || local == nil && b.Sub == 0 {
		return err
	}
	mine, theirs := a.meeting.Mine.Lacking(), a.remote.View.Lacking()
	if local != nil {
		mine = a.meeting.Mine.Sub(local.Dir)
	}
	if b.Sub != 0 {
		theirs = b.SubView
	}
	if mine.Knows(theirs) {
		return nil
	}
	if local == nil {
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
				return fmt.Errorf("%q in directory %d: %w: %w", name, d.num, ErrDamaged, err)
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

// Finish says that everything in a directory and below it, 0 standing for the
// root, was applied from a peer's that has view theirs.
func (v *Volume) Finish(ctx context.Context, local uint64, theirs merge.View) error {
	if err := v.begin(ctx); err != nil {
		return err
	}
	defer v.unlock()
	d, err := v.dirByNumber(local)
	if err != nil {
		return err
	}
	above := merge.View{Ctx: merge.Context{v.state.dot()}}
	if p := d.parent(); p != nil {
		above = p.view(v.state.dot())
	}
	v.learned(d, d.Finish(theirs).Trim(above), theirs)
	return v.sweep(d)
}

// sweep forgets what need not be remembered in a directory.
func (v *Volume) sweep(d *dir) error {
	names, err := v.looseNames(d)
	if err != nil {
		return err
	}
	ctx := d.view(v.state.dot()).Ctx
	for _, name := range names {
		e, err := v.find(d, name)
		if err != nil {
			return err
		}
		if e.rec == nil {
			continue
		}
		if left := e.rec.Ctx.Without(ctx); len(left) < len(e.rec.Ctx) {
			rec := e.rec.clone()
			rec.Ctx = left
			v.set(e, rec)
		}
		if e.rec.exists() {
			continue
		}
		if _, err := v.subdir(e); err != nil {
			return err
		}
		v.forget(e)
	}
	return nil
}

// looseNames are the names of d of which something may be forgotten.
func (v *Volume) looseNames(d *dir) (names []string, err error) {
	prefix := numKey(d.num, "")
	err = v.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLoose).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			names = append(names, string(k[len(prefix):]))
		}
		return nil
	})
	if err != nil {
		return nil, v.damage(err)
	}
	for name, e := range d.children {
		if v.dirty(e.gen) && e.rec.loose() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// meetOwn makes this another replica if a peer knows more of its changes than
// it made: it is then a copy that was put back.
func (v *Volume) meetOwn(theirs merge.View) {
	if max(theirs.Ctx.Get(v.state.replica), theirs.Max.Get(v.state.replica)) > v.state.n {
		v.renew()
	}
}

// renew makes this another replica.
func (v *Volume) renew() {
	old := v.state.dot()
	v.root.Ctx = v.root.Ctx.With(old)
	v.markDir(v.root)
	v.state.replica, v.state.n = newReplicaID(), 0
	v.now.spent = false
	for _, d := range v.dirs {
		d.raised = 0
	}
	v.o.Log.Warn("this copy of the volume takes a new replica ID: another has the old one",
		"volume", v.id.String(), "old", old.Replica.String(), "new", v.state.replica.String())
}

// NewReplica makes this another replica, for when a peer has the same ID.
func (v *Volume) NewReplica(ctx context.Context) error {
	if err := v.begin(ctx); err != nil {
		return err
	}
	v.renew()
	v.unlock()
	return v.Sync(ctx)
}

// listingMax bounds the names in one DirState.
const listingMax = 1 << 24

// check tells whether a state that a peer sent can be one, and takes device
// nodes out of it.
func (s *DirState) check() error {
	if err := checkView(s.View); err != nil {
		return err
	}
	if len(s.Entries) > listingMax {
		return fmt.Errorf("%d names: %w", len(s.Entries), errMalformed)
	}
	if err := checkEntry(&s.Root); err != nil || len(s.Root.Versions) > 0 {
		return fmt.Errorf("settings of the root: %w", errMalformed)
	}
	s.Entries = slices.Clone(s.Entries)
	for i := range s.Entries {
		e := &s.Entries[i]
		if err := e.check(); err != nil {
			return fmt.Errorf("%q: %w", e.Name, err)
		}
		if i > 0 && strings.Compare(s.Entries[i-1].Name, e.Name) >= 0 {
			return fmt.Errorf("%q: names out of order: %w", e.Name, errMalformed)
		}
	}
	return nil
}

func (e *NamedEntry) check() error {
	if err := checkName(e.Name); err != nil {
		return err
	}
	if err := checkEntry(&e.Entry); err != nil {
		return err
	}
	e.Versions = slices.DeleteFunc(slices.Clone(e.Versions), func(ver merge.Version) bool {
		return ver.Kind == merge.KindDevice
	})
	if len(e.Versions) == 0 {
		e.Versions = nil
	}
	return checkView(e.SubView)
}

func checkView(w merge.View) error {
	for _, c := range viewContexts(&w) {
		if err := c.Valid(); err != nil {
			return err
		}
	}
	return nil
}

func viewContexts(w *merge.View) []*merge.Context {
	return []*merge.Context{&w.Ctx, &w.Max, &w.Gone}
}
