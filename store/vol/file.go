package vol

import (
	"slices"

	"bazil/merge"
)

// file is the bytes of an inode while they are open or not durable.
type file struct {
	c       *content
	in      *inode
	body    Body // what it had when it was opened or last flushed
	handles int
	busy    bool  // a commit group is flushing it
	dropped bool  // its inode is gone
	stuck   error // why the last flush failed, where only this file is concerned

	logged    *logBatch // the last of its bytes in the log, or that failed to get there; nil for none
	loggedSeq uint64    // and the record
	loggedAt  uint64    // the group from which on records of it count, 0 if none does
}

// fileOf opens the bytes of an inode.
func (v *Volume) fileOf(in *inode) *file {
	if in.file == nil {
		var body Body
		if ver := in.rec().version(); ver != nil {
			body = Body(ver.Content)
		}
		in.file = &file{c: newContent(v.env, body), in: in, body: body}
		in.file.c.noted = func() error { return v.wroteSome(in) } // else no group could make room for the rest
		v.files[in.file] = struct{}{}
	}
	return in.file
}

// idleFile lets go of bytes that nobody has open and that are durable.
func (v *Volume) idleFile(f *file) {
	if f.handles > 0 {
		return
	}
	if f.in.file == f {
		if f.in.mark != "" || f.in.writers > 0 {
			return
		}
		f.in.file = nil
	}
	delete(v.files, f)
}

// beginWrite notes one who may change the bytes of in from now on.
func (v *Volume) beginWrite(in *inode) *file {
	f := v.fileOf(in)
	if !in.pinned() {
		in.seen = slices.Clone(in.rec().seen())
	}
	in.writers++
	return f
}

// endWrite undoes beginWrite. When the last writer is gone, the end of a file
// that was made durable piece by piece is put right.
func (v *Volume) endWrite(in *inode) {
	if in.writers--; in.writers > 0 {
		return
	}
	if f := in.file; in.linked() {
		f.c.settle()
		if in.mark == "" && f.c.Changed() {
			v.newVersion(in, in.rec().mtime())
		}
	}
	v.unpin(in)
}

// unpin lets a name show what has come in meanwhile.
func (v *Volume) unpin(in *inode) {
	if in.pinned() {
		return
	}
	in.seen = nil
	if old := in.held; old != nil {
		in.held = nil
		e := in.at
		rec := e.rec.clone()
		v.present(e, old, rec)
		v.set(e, rec)
		if old.kind() != rec.kind() {
			v.touchDir(e.dir, now())
		}
	}
}

// wroteSome makes what was written a part of the present group, unless the
// volume makes its last one: then it will not be durable.
func (v *Volume) wroteSome(in *inode) error {
	v.mu.Lock()
	defer v.unlock()
	if v.ended || v.closed {
		return errClosed
	}
	v.wrote(in)
	return nil
}

// wrote notes that the bytes of in were changed.
func (v *Volume) wrote(in *inode) {
	t := now()
	if in.mark == "" || in.wrote != v.now.gen {
		v.newVersion(in, t)
	}
	in.mtime = t
	in.change = v.changed(in.num)
	if d := in.at.dir; d != nil {
		d.edit(in.at)
	}
	if n := in.file.smallSize(); n != in.small {
		in.small = n
		v.resize(in.at)
	}
	v.clearSetID(in)
}

// smallSize is how many bytes f has if they will be part of its name's record,
// else 0.
func (f *file) smallSize() int {
	if n := f.c.Size(); n <= inlineMax {
		return int(n)
	}
	return 0
}

// newVersion gives the name of in a version that will have the bytes of in
// when the group is made durable. It takes the place of what its writers had
// before them; what has come in since stays beside it.
func (v *Volume) newVersion(in *inode, mtime int64) {
	e := in.at
	base := e.rec
	rec := base.clone()
	dot := v.spendFor(&rec.Entry, in.seen)
	in.mark, in.wrote, in.mtime = newMark(), v.now.gen, mtime
	in.change = in.rec().Change
	stamp := merge.Stamp{Time: now(), Dot: dot}
	rec.Entry = rec.Put(merge.Version{
		Dot: dot, Kind: merge.KindFile, Content: in.mark,
		Size: in.file.c.Size(), MTime: mtime, MStamp: stamp,
	}, in.seen)
	in.seen = []merge.Dot{dot}
	named := in.held != nil // other bytes than those below come to show
	if held := in.held; held != nil {
		rec.revive(held, stamp)
		if rec.kind() == merge.KindFile {
			in.held = nil
		}
	}
	rec.Shown = dot
	v.now.files = append(v.now.files, in.file)
	if in.linked() {
		if !named {
			defer e.keepNamed()()
		}
		v.put(e, rec)
	} else {
		e.rec = rec
	}
}

// revive gives r, whose name may be gone, what it needs to show again what
// held showed.
func (r *record) revive(held *record, stamp merge.Stamp) {
	if len(r.Attrs) == 0 {
		a := held.Attr()
		a.Stamp = stamp
		r.Entry = r.SetAttr(a)
	}
	if r.Ino == 0 {
		r.Ino, r.ATime, r.MTime, r.CTime, r.BTime = held.Ino, held.ATime, held.MTime, held.CTime, held.BTime
	}
}

// clearSetID takes the set-user-ID bit, and that for the group where it means
// one, from a file that was written.
func (v *Volume) clearSetID(in *inode) {
	a := in.rec().Attr()
	mode := dropSetID(a.Mode)
	if mode == a.Mode || in.held != nil {
		return
	}
	rec := in.at.rec.clone()
	a.Mode = mode
	v.putAttr(in, rec, a)
}

// dropSetID is what a write or a change of owner leaves of a mode.
func dropSetID(mode uint32) uint32 {
	const setUID, setGID, groupExec = 0o4000, 0o2000, 0o010
	if mode&groupExec != 0 {
		mode &^= setGID
	}
	return mode &^ setUID
}

// fold puts what was written of in in the record of its name, as it goes into
// the group.
func (v *Volume) fold(in *inode) {
	e := in.at
	i := e.rec.marked(in.mark)
	if i < 0 {
		return
	}
	rec := e.rec.clone().withVersions()
	ver := &rec.Versions[i]
	ver.Size, ver.MTime = in.file.c.Size(), in.mtime
	rec.CTime, rec.Change = max(rec.CTime, in.mtime), max(rec.Change, in.change)
	if in.linked() {
		defer e.keepNamed()()
		v.set(e, rec)
	} else {
		e.rec = rec
	}
}

// marked is the index of the version with that mark, -1 for none.
func (r *record) marked(mark string) int {
	if r == nil || mark == "" {
		return -1
	}
	return slices.IndexFunc(r.Versions, func(v merge.Version) bool { return v.Content == mark })
}

// filled returns r with the body in the place of its mark.
func (r *record) filled(mark string, body Body) *record {
	i := r.marked(mark)
	if i < 0 {
		return r
	}
	r = r.clone().withVersions()
	r.Versions[i].Content, r.Versions[i].Size = string(body), body.Size()
	return r
}
