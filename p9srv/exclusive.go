package p9srv

import "syscall"

// Files with QTExcl in their QID are opened once at a time, by all dialects
// and all servers that share a LockTable.

// claim takes a file for exclusive use; false: it is taken.
func (t *LockTable) claim(file uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sole[file] {
		return false
	}
	if t.sole == nil {
		t.sole = make(map[uint64]bool)
	}
	t.sole[file] = true
	return true
}

func (t *LockTable) unclaim(file uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sole, file)
}

// claim takes the file of n for the opened o alone, if it is one for
// exclusive use.
func (c *conn) claim(n Node, o *openFile) error {
	q := n.QID()
	if q.Type&QTExcl == 0 {
		return nil
	}
	if !c.srv.locks().claim(q.Path) {
		return syscall.EBUSY
	}
	o.sole, o.claimed = true, q.Path
	return nil
}

// unclaim lets others open the file of o.
func (c *conn) unclaim(o *openFile) {
	if o.sole {
		c.srv.locks().unclaim(o.claimed)
	}
}

// close closes the file and gives up its exclusive use.
func (o *openFile) close(c *conn) error {
	err := o.Close()
	c.unclaim(o)
	return err
}
