package p9srv

import (
	"testing"

	"pgregory.net/rapid"
)

// lockModel says byte by byte who holds which lock; the last byte stands for
// all behind it.
type lockModel [26]map[lockOwner]LockType

// conflict is true if another owner's lock on one of the bytes is in the way.
func (m *lockModel) conflict(h heldLock) bool {
	for i := h.start; i <= min(h.last, uint64(len(m)-1)); i++ {
		for o, typ := range m[i] {
			if o != h.owner && (typ == LockWrite || h.typ == LockWrite) {
				return true
			}
		}
	}
	return false
}

func (m *lockModel) set(h heldLock) {
	for i := h.start; i <= min(h.last, uint64(len(m)-1)); i++ {
		if m[i] == nil {
			m[i] = make(map[lockOwner]LockType)
		}
		if delete(m[i], h.owner); h.typ != LockUnlock {
			m[i][h.owner] = h.typ
		}
	}
}

// TestLockTable compares the table with the model, through random requests
// of some owners.
func TestLockTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table LockTable
		var model lockModel
		c := &conn{}
		node := newNodeRef(noNode{}, QID{})
		fids := [...]*fid{{conn: c, node: node}, {conn: c, node: node}}
		for range rapid.IntRange(1, 40).Draw(t, "requests") {
			start := rapid.Uint64Range(0, 19).Draw(t, "start")
			last := rapid.SampledFrom([]uint64{start, start + 1, start + 5, ^uint64(0)}).Draw(t, "last")
			which := rapid.IntRange(0, 1).Draw(t, "fid")
			h := heldLock{
				owner: lockOwner{c, "c", rapid.Uint32Range(0, 2).Draw(t, "proc")}, fid: fids[which],
				typ: LockType(rapid.IntRange(0, 2).Draw(t, "type")), start: start, last: last,
			}
			blocked := h.typ != LockUnlock && model.conflict(h)
			if _, found := table.get(5, h); h.typ != LockUnlock && found != blocked {
				t.Fatalf("get says %v, the model %v", found, blocked)
			}
			status, err := table.set(5, h)
			if err != nil || (status == LockBlocked) != blocked {
				t.Fatalf("set says %v %v, the model %v", status, err, blocked)
			}
			if !blocked {
				model.set(h)
			}
			compareLocks(t, &table, &model)
		}
		for _, f := range fids {
			table.releaseFid(f)
		}
		if len(table.files) != 0 || len(table.held) != 0 {
			t.Fatalf("left: %v %v", table.files, table.held)
		}
	})
}

// compareLocks compares byte by byte, and what is counted with what is there.
func compareLocks(t *rapid.T, table *LockTable, model *lockModel) {
	var got lockModel
	for _, h := range table.files[5] {
		got.set(h)
	}
	for i := range model {
		for o, typ := range model[i] {
			if have, ok := got[i][o]; !ok || have != typ {
				t.Fatalf("byte %d: %v, not %v", i, got[i], model[i])
			}
		}
		if len(got[i]) != len(model[i]) {
			t.Fatalf("byte %d: %v, not %v", i, got[i], model[i])
		}
	}
	n := 0
	for _, k := range table.held {
		n += k
	}
	if n != len(table.files[5]) {
		t.Fatalf("%d locks counted, %d there", n, len(table.files[5]))
	}
}

// noNode is the node of locks whose file is number 5.
type noNode struct{ Node }

func (noNode) QID() QID { return QID{Path: 5} }
func (noNode) Release() {}

// TestLocksAreBounded sets more locks than a connection may have.
func TestLocksAreBounded(t *testing.T) {
	var table LockTable
	c := &conn{}
	for i := range uint64(maxLocks + 10) {
		h := heldLock{owner: lockOwner{c, "c", 1}, fid: &fid{}, typ: LockWrite, start: 2 * i, last: 2 * i}
		if _, err := table.set(i, h); (err != nil) != (i >= maxLocks) {
			t.Fatal(i, err)
		}
	}
}

// TestLocksOfAFileAreBounded has many connections lock parts of one file:
// others are not kept waiting for long, and can lock other files.
func TestLocksOfAFileAreBounded(t *testing.T) {
	var table LockTable
	last := &conn{}
	lock := func(i uint64) heldLock {
		return heldLock{owner: lockOwner{last, "c", 1}, fid: &fid{}, typ: LockWrite, start: 2 * i, last: 2 * i}
	}
	for i := range uint64(maxFileLocks) - 1 {
		if i%1000 == 0 {
			last = &conn{}
		}
		table.add(5, last, []heldLock{lock(i)})
	}
	for i := range uint64(10) {
		if _, err := table.set(5, lock(maxFileLocks+i)); (err != nil) != (i > 0) {
			t.Fatal(i, err)
		}
	}
	h := lock(0)
	if _, err := table.set(6, h); err != nil {
		t.Error(err)
	}
	h.typ, h.last = LockUnlock, ^uint64(0)
	if _, err := table.set(5, h); err != nil || len(table.files[5]) > maxFileLocks-10 {
		t.Error(len(table.files[5]), err)
	}
}
