package vol

import (
	"context"
	"syscall"

	"go.etcd.io/bbolt"
)

// Lookup returns what a name of a directory shows: ENOENT, ENOTDIR,
// ENAMETOOLONG.
func (n *Node) Lookup(ctx context.Context, name string) (*Node, error) {
	if err := checkName(name); err == syscall.ENAMETOOLONG {
		return nil, err
	} else if err != nil {
		return nil, syscall.ENOENT
	}
	v := n.v
	v.mu.Lock()
	defer v.unlock()
	d, err := n.dir()
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, syscall.ENOENT
	}
	e, err := v.findCold(d, name)
	if err != nil {
		return nil, err
	}
	in := v.inodeOf(e)
	if in == nil {
		return nil, syscall.ENOENT
	}
	return v.node(in), nil
}

// findCold is find for those who bring nothing from before: the lock is given
// free while the name is read.
func (v *Volume) findCold(d *dir, name string) (*entry, error) {
	if d.children[name] != nil || d.cached == d.records {
		return v.find(d, name)
	}
	done := v.done
	v.mu.Unlock()
	var rec *record
	err := v.db.View(func(tx *bbolt.Tx) (err error) {
		rec, err = readRecord(tx, d.num, name)
		return err
	})
	v.mu.Lock()
	switch {
	case v.closed:
		return nil, errClosed
	case d.gone:
		return nil, syscall.ENOENT
	case v.dirs[d.num] != d || v.done != done || d.children[name] != nil:
		return v.findAgain(d, name)
	case err != nil:
		return nil, v.damage(err)
	}
	return v.insert(d, name, rec), nil
}

// findAgain is find in a directory that may have left memory meanwhile.
func (v *Volume) findAgain(d *dir, name string) (*entry, error) {
	d, err := v.dirByNumber(d.num)
	if err != nil {
		return nil, err
	}
	return v.find(d, name)
}
