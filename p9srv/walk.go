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
	node, at, n, err := r.steps(f, count)
	if n < count {
		node.drop()
		if n == 0 {
			return err
		}
		r.setWalked(n)
		return nil
	}
	r.setWalked(n)
	return r.arrive(num, newNum, f, newFid(r.c, node, at))
}

// setWalked notes in the reply how many names were walked.
func (r *request) setWalked(n int) { r.out[HeaderSize], r.out[HeaderSize+1] = byte(n), byte(n>>8) }

// steps walks count names from f, adds their qids to the reply, and says
// where it came to, how many names that were, and what ended it. The node is
// the caller's.
func (r *request) steps(f *fid, count int) (node *nodeRef, at place, n int, err error) {
	node, at = f.node.hold(), f.at
	for ; n < count; n++ {
		name := r.in.StringBytes()
		if r.in.Bad() {
			return node, at, 0, syscall.EINVAL
		}
		next, err := r.step(node, &at, name)
		if err != nil {
			return node, at, n, err
		}
		node.drop()
		node = next
		r.out = AppendQID(r.out, node.QID())
	}
	return node, at, n, nil
}

// step walks one name.
func (r *request) step(node *nodeRef, at *place, name []byte) (*nodeRef, error) {
	qid := node.QID()
	if qid.Type&QTDir == 0 {
		return nil, syscall.ENOTDIR
	}
	up := string(name) == ".."
	if up && (at.depth == 0 || qid.Path == at.root) {
		return node.hold(), nil
	}
	if !up {
		if err := checkWalkName(name); err != nil {
			return nil, err
		}
	}
	next, err := node.Walk(&r.ctx, string(name))
	if err != nil {
		return nil, err
	}
	if up {
		at.depth--
	} else {
		at.depth++
	}
	return newNodeRef(next), nil
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
	switch {
	case r.in.Bad():
		return "", syscall.EINVAL
	case len(name) == 0:
		return "", syscall.ENOENT
	case string(name) == ".", string(name) == "..":
		return "", syscall.EINVAL
	}
	if err := checkWalkName(name); err == syscall.ENOENT {
		return "", syscall.EINVAL
	} else if err != nil {
		return "", err
	}
	return string(name), nil
}
