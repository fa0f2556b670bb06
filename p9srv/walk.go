package p9srv

import (
	"bytes"
	"syscall"
)

// walk answers Twalk: fid[4] newfid[4] nwname[2] nwname*(wname[s]).
func walk(r *request) error {
	num, newNum, count := r.in.U32(), r.in.U32(), int(r.in.U16())
	if count > MaxWalk {
		return syscall.EINVAL
	}
	if err := r.parsed(); err != nil {
		return err
	}
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	r.out = put16(r.out, 0)
	to := newFid(r.c, f.node.hold(), f.at)
	if f.dir != nil {
		to.dir = f.dir.hold()
	}
	n, err := r.steps(to, count)
	if n < count {
		to.put()
		if n == 0 {
			return err
		}
		r.setWalked(n)
		return nil
	}
	r.setWalked(n)
	return r.arrive(num, newNum, f, to)
}

// setWalked notes in the reply how many names were walked.
func (r *request) setWalked(n int) { r.out[HeaderSize], r.out[HeaderSize+1] = byte(n), byte(n>>8) }

// steps walks f, which nobody else knows yet, along count names and adds
// their qids to the reply. It says how many names that were, and what ended
// it.
func (r *request) steps(f *fid, count int) (n int, err error) {
	for ; n < count; n++ {
		name := r.in.StringBytes()
		if r.in.Bad() {
			return 0, syscall.EINVAL
		}
		next, qid, err := r.step(f.node, &f.at, name)
		if err != nil {
			return n, err
		}
		f.setDir(r.sess.dialect, f.node, next)
		f.node.drop()
		f.node = next
		r.out = AppendQID(r.out, plainQID(qid, r.sess.dialect))
	}
	return n, nil
}

// step walks one name, to a node with that QID.
func (r *request) step(node *nodeRef, at *place, name []byte) (*nodeRef, QID, error) {
	if !node.isDir {
		return nil, QID{}, syscall.ENOTDIR
	}
	up := string(name) == ".."
	if up {
		if qid := node.QID(); at.depth <= 0 || qid.Path == at.root {
			at.depth, at.name = 0, ""
			return node.hold(), qid, nil
		}
	} else if err := checkWalkName(name); err != nil {
		return nil, QID{}, err
	}
	s := string(name)
	next, err := node.Walk(&r.ctx, s)
	if err != nil {
		return nil, QID{}, err
	}
	if up {
		at.depth, at.name = at.depth-1, ""
	} else {
		at.depth, at.name = at.depth+1, s
	}
	qid := next.QID()
	return newNodeRef(next, qid), qid, nil
}

// arrive enters what was walked to.
func (r *request) arrive(num, newNum uint32, old, f *fid) error {
	if num != newNum {
		err := r.install(newNum, f)
		if err != nil {
			f.put()
		}
		return err
	}
	if old.file.Load() != nil {
		f.put()
		return errOpen
	}
	if err := r.replace(num, old, f); err != nil {
		f.put()
		return err
	}
	old.put()
	return nil
}

// errOpen refuses what only a fid that is not open can do.
var errOpen = &Error{Errno: syscall.EINVAL, Text: "fid is open"}

// checkWalkName refuses what can be no name.
func checkWalkName(name []byte) error {
	switch {
	case len(name) > MaxName:
		return syscall.ENAMETOOLONG
	case len(name) == 0, string(name) == ".", bytes.IndexByte(name, '/') >= 0, bytes.IndexByte(name, 0) >= 0:
		return syscall.ENOENT
	}
	return nil
}

// newName takes the name of an entry to be made, moved or removed.
func (r *request) newName() (string, error) {
	name := r.in.StringBytes()
	if r.in.Bad() {
		return "", syscall.EINVAL
	}
	return checkNewName(name)
}
