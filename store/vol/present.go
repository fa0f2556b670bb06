package vol

import (
	"slices"

	"bazil/merge"
)

// present makes rec, which is about to become the record of e in place of
// old, show what it has to: it settles the number, the version and the times
// that count here. While a writer stands before what the name showed, that
// stays (inode.held), and the record gets a number that nobody sees until the
// writer has gone, with the server if it must be: then the name shows something
// else, and must not have the version that the writer had.
func (v *Volume) present(e *entry, old, rec *record) {
	in := e.node
	if in != nil && in.pinned() {
		if in.held == nil {
			in.held = old
		}
		rec.Change = v.changed(in.num)
		return
	}
	was, is := old.kind(), rec.kind()
	if was != is {
		v.detach(in, old)
		rec.Ino, rec.Shown = 0, merge.Dot{}
	}
	if is == 0 {
		return
	}
	t := now()
	if rec.Ino == 0 {
		rec.Ino = v.newIno()
		rec.BTime, rec.ATime, rec.MTime = t, t, t
	}
	shown := rec.version()
	if shown != nil {
		rec.Shown = shown.Dot
	}
	if before := old.version(); was == is && shown != nil && before != nil {
		if !shown.SameContent(before) {
			v.replace(in)
		}
		if is == merge.KindDir && shown.MStamp != before.MStamp {
			rec.MTime = shown.MTime
		}
	}
	rec.CTime = t
	rec.Change = v.changed(rec.Ino)
}

// seat sees to a file that was put in the place of one whose writer held back a
// peer's directory (inode.held): the name goes on to show that, now if nobody
// writes to the new file. in may be nil.
func (v *Volume) seat(in *inode) {
	if in == nil || in.held != nil || in.at.rec.kind() == in.kind {
		return
	}
	file := in.at.rec.clone()
	file.Implied = false
	file.Versions = slices.DeleteFunc(slices.Clone(file.Versions), func(o merge.Version) bool { return o.Dot != file.Shown })
	in.held = file
	v.unpin(in)
}

// detach takes the name from an inode, which then lives as long as it is in
// use; last is what it showed. in may be nil.
func (v *Volume) detach(in *inode, last *record) {
	if in == nil {
		return
	}
	e := in.at
	if in.held != nil {
		last, in.held = in.held, nil
	}
	last = last.clone()
	last.Sub = 0
	last.CTime = now()
	last.Change = v.changed(in.num)
	e.node = nil
	in.at = &entry{name: e.name, rec: last, node: in}
	v.drop(in)
}

// drop lets go of an inode that has no name and is not in use.
func (v *Volume) drop(in *inode) {
	if in.linked() || in.inUse() {
		return
	}
	delete(v.inodes, in.num)
	in.evicted = true
	in.mark = ""
	if f := in.file; f != nil {
		in.file = nil
		f.dropped = true
		v.discard(f)
	}
}

// discard throws bytes away that nobody can reach any more, unless a commit
// group needs them still.
func (v *Volume) discard(f *file) {
	if !f.busy {
		delete(v.files, f)
		f.c.discard()
	}
}

// replace says that what in shows has other bytes now: who has it open goes
// on with those it opened.
func (v *Volume) replace(in *inode) {
	if in == nil || in.file == nil {
		return
	}
	f := in.file
	in.file = nil
	v.idleFile(f)
}
