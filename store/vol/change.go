package vol

import (
	"crypto/rand"
	"time"

	"bazil/merge"
)

// put stores the record that a local change makes of e: what it shares with
// peers is trimmed, the directories above and the index are told.
func (v *Volume) put(e *entry, rec *record) {
	v.spend()
	rec.Ctx = v.trim(e.dir, rec.Ctx)
	v.set(e, rec)
	v.tell(e)
	v.raise(e.dir)
}

// trim returns ctx without what is known anyhow in d.
func (v *Volume) trim(d *dir, ctx merge.Context) merge.Context {
	own := v.state.dot()
	if ctx = ctx.Without(merge.Context{own}); ctx == nil {
		return nil
	}
	return ctx.Without(d.view(own).Ctx)
}

// set stores rec as e's record and keeps all counts right. It is the only
// place where records change, but for the bytes of a file becoming known.
func (v *Volume) set(e *entry, rec *record) {
	old := e.rec
	e.rec = rec
	e.named = v.now.gen
	v.markEntry(e)
	v.resize(e)
	d := e.dir
	d.edit(e)
	if had, has := !old.empty(), !rec.empty(); had != has {
		count(&d.records, had, has)
		count(&d.cached, had, has)
		v.markDir(d)
	}
	if e == v.root.at {
		return
	}
	v.recount(d, old, rec)
	v.figures(old, rec)
	v.noteConflict(e, old, rec)
}

func count(n *uint64, had, has bool) {
	switch {
	case has && !had:
		*n++
	case had && !has:
		*n--
	}
}

// recount keeps the numbers of names that exist in d. A directory in which the
// first name comes to exist, or the last ceases to, may itself begin or cease
// to exist.
func (v *Volume) recount(d *dir, old, rec *record) {
	had, has := old.exists(), rec.exists()
	wasDir, isDir := old.kind() == merge.KindDir, rec.kind() == merge.KindDir
	if had == has && wasDir == isDir {
		return
	}
	count(&d.dirs, wasDir, isDir)
	count(&d.live, had, has)
	v.markDir(d)
	at := d.at
	if implied := d.live > 0; d != v.root && at.rec.Implied != implied {
		r := at.rec.clone()
		r.Implied = implied
		if was, is := at.rec.kind(), r.kind(); was != is {
			v.present(at, at.rec, r)
			v.touchDir(at.dir, now())
		}
		v.set(at, r)
	}
}

// figures keeps the volume's, but for that of conflicts.
func (v *Volume) figures(old, rec *record) {
	f := &v.state.figures
	f.add(old, -1)
	f.add(rec, 1)
}

func (f *figures) add(r *record, n int64) {
	switch r.kind() {
	case 0:
	case merge.KindDir:
		f.dirs += n
	default:
		f.files += n
		f.bytes += n * r.size()
	}
}

func (v *Volume) newIno() uint64 {
	v.state.ino++
	return v.state.ino
}

// changed says that an inode is no longer what it was.
func (v *Volume) changed(ino uint64) uint64 {
	v.state.change++
	v.watch.note(v.state.change, ino)
	return v.state.change
}

// touchDir notes that names came or went in d.
func (v *Volume) touchDir(d *dir, now int64) {
	d.touched = now
	d.change = v.changed(v.dirIno(d))
	v.markDir(d)
}

// dirIno is the number of the directory at a place.
func (v *Volume) dirIno(d *dir) uint64 {
	if in := d.at.node; in != nil {
		return in.num
	}
	if d.at.rec == nil {
		return 0
	}
	return d.at.rec.Ino
}

// foldDir puts what touchDir noted in the record of d's name.
func (v *Volume) foldDir(d *dir) {
	if d.touched == 0 {
		return
	}
	if d.at.rec.kind() != merge.KindDir { // it is gone, and its place remembers only deletions
		d.touched = 0
		return
	}
	r := d.at.rec.clone()
	r.MTime, r.CTime, r.Change = d.touched, max(r.CTime, d.touched), max(r.Change, d.change)
	d.touched = 0
	defer d.at.keepNamed()()
	v.set(d.at, r)
}

// placeOf returns the directory at e's place, which is made if there is none.
func (v *Volume) placeOf(e *entry) (*dir, error) {
	d, err := v.subdir(e)
	if d != nil || err != nil {
		return d, err
	}
	v.state.dir++
	d = v.addDir(v.state.dir, e, &dirRecord{Dir: e.dir.view(v.state.dot()).NewDir()})
	r := e.rec.clone()
	r.Sub = d.num
	v.set(e, r)
	v.markDir(d)
	return d, nil
}

// forget removes the directory at e's place if nothing is to be remembered of
// it, and says whether it did.
func (v *Volume) forget(e *entry) bool {
	d := e.sub
	if d == nil || d.records > 0 || !e.dir.view(v.state.dot()).Removable(d.Dir) {
		return false
	}
	for _, c := range d.children {
		if c.node != nil { // a writer holds it
			return false
		}
	}
	d.gone = true
	e.dir.Dir = e.dir.Remove(d.Dir)
	v.markDir(e.dir)
	for _, c := range d.children {
		v.evict(c)
	}
	v.markDir(d)
	delete(v.dirs, d.num)
	e.sub = nil
	r := e.rec.clone()
	r.Sub = 0
	v.set(e, r)
	return true
}

// now is the time that changes are stamped with, Unix nanoseconds.
func now() int64 { return time.Now().UnixNano() }

// newMark stands for a body that is not known yet. No Body begins so.
func newMark() string {
	var b [9]byte
	rand.Read(b[1:])
	return string(b[:])
}
