package vol

import (
	"bytes"
	"context"
	"slices"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

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

// sweepMost is how many durable names of a directory are looked at in one sweep.
// All that came in by pieces have a context of their own when their directory
// is finished. To write so many once more, at once, would take memory and time;
// until their turn comes, or they are changed, they keep it.
const sweepMost = 256

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

// looseNames are the names of d of which something may be forgotten, those that
// are durable in turn.
func (v *Volume) looseNames(d *dir) (names []string, err error) {
	prefix := numKey(d.num, "")
	err = v.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLoose).Cursor()
		k, _ := c.Seek(numKey(d.num, d.swept))
		for ; bytes.HasPrefix(k, prefix) && len(names) < sweepMost; k, _ = c.Next() {
			names = append(names, string(k[len(prefix):]))
		}
		d.swept = ""
		if bytes.HasPrefix(k, prefix) {
			d.swept = string(k[len(prefix):])
		}
		return nil
	})
	if err != nil {
		return nil, v.damage(err)
	}
	v.eachDirty(d, func(e *entry) {
		if e.rec.loose() {
			names = append(names, e.name)
		}
	})
	slices.Sort(names)
	return slices.Compact(names), nil
}

// eachDirty calls fn for the names of d that are not durable, some perhaps
// twice. It looks at the names of d or at those of the groups, whichever are
// fewer.
func (v *Volume) eachDirty(d *dir, fn func(e *entry)) {
	groups := [][]*entry{v.now.entries}
	if v.commit != nil {
		groups = append(groups, v.commit.entries)
	}
	n := 0
	for _, g := range groups {
		n += len(g)
	}
	if n > len(d.children) {
		for _, e := range d.children {
			if v.dirty(e.gen) {
				fn(e)
			}
		}
		return
	}
	for _, g := range groups {
		for _, e := range g {
			if e.dir == d {
				fn(e)
			}
		}
	}
}
