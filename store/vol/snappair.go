package vol

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"syscall"

	"bazil/merge"
	"bazil/store"
)

// eachPair calls fn for the names in which two directories of snapshots
// differ, in order: with the entry of each, nil where it has none. a or b may
// be nil for an empty directory. Chunks that both have are not opened.
func eachPair(ctx context.Context, a, b *SnapNode, fn func(x, y *SnapNode) error) error {
	ca, cb := newSnapCursor(a), newSnapCursor(b)
	for {
		pa, pb := ca.peek(), cb.peek()
		switch {
		case pa.end && pb.end:
			return nil
		case !pa.end && !pb.end && !pa.ptr.IsZero() && pa.ptr.ID == pb.ptr.ID:
			ca.skip()
			cb.skip()
			continue
		case !pa.ptr.IsZero() && pa.before(pb):
			if err := ca.expand(ctx, pa.ptr); err != nil {
				return err
			}
			continue
		case !pb.ptr.IsZero() && pb.before(pa):
			if err := cb.expand(ctx, pb.ptr); err != nil {
				return err
			}
			continue
		}
		x, y := ca.take(pa, pb), cb.take(pb, pa)
		if x != nil && y != nil && x.x.same(&y.x) {
			continue
		}
		if err := fn(x, y); err != nil {
			return err
		}
	}
}

// snapCursor goes through the entries of one directory, and through the
// chunks that hold them as long as these need not be opened.
type snapCursor struct {
	dir   *SnapNode
	top   store.Pointer // not opened yet; zero: it was, or there is none
	stack []snapStep
}

// snapStep is a place in an opened chunk.
type snapStep struct {
	n *snapNode
	i int
}

func newSnapCursor(dir *SnapNode) *snapCursor {
	c := &snapCursor{dir: dir}
	if dir != nil {
		c.top = dir.x.tree
	}
	return c
}

// snapPos is what a cursor stands before: an entry, or a chunk that begins
// with a name.
type snapPos struct {
	end   bool
	first string
	ptr   store.Pointer // zero: an entry
	x     *snapEntry
}

// before says whether p is to be dealt with before, or together with, q.
func (p *snapPos) before(q snapPos) bool { return !p.end && (q.end || p.first <= q.first) }

func (c *snapCursor) peek() snapPos {
	if !c.top.IsZero() {
		return snapPos{ptr: c.top} // it begins before all names
	}
	for len(c.stack) > 0 {
		s := &c.stack[len(c.stack)-1]
		switch {
		case s.i < len(s.n.entries):
			x := &s.n.entries[s.i]
			return snapPos{first: x.name, x: x}
		case s.i < len(s.n.children):
			return snapPos{first: s.n.children[s.i].first, ptr: s.n.children[s.i].ptr}
		}
		c.stack = c.stack[:len(c.stack)-1]
	}
	return snapPos{end: true}
}

// skip goes on behind what peek gave.
func (c *snapCursor) skip() {
	if !c.top.IsZero() {
		c.top = store.Pointer{}
		return
	}
	c.stack[len(c.stack)-1].i++
}

// expand opens the chunk that peek gave.
func (c *snapCursor) expand(ctx context.Context, p store.Pointer) error {
	n, err := c.dir.t.node(ctx, p)
	if err != nil {
		return err
	}
	if len(c.stack) > snapLevels || len(c.stack) > 0 && n.level >= c.stack[len(c.stack)-1].n.level {
		return fmt.Errorf("tree chunk %v: %w: %w", p.ID, syscall.EIO, errMalformed)
	}
	c.skip()
	c.stack = append(c.stack, snapStep{n: n})
	return nil
}

// take returns the entry at p, where the other directory's next is q, and
// goes on; nil if that one comes first.
func (c *snapCursor) take(p, q snapPos) *SnapNode {
	if p.end || !q.end && q.first < p.first {
		return nil
	}
	c.skip()
	return c.dir.child(*p.x)
}

// same says whether two entries of one name are alike, with all below them
// if they are directories. When the status changed and the file was born does
// not count.
func (x *snapEntry) same(y *snapEntry) bool {
	return x.sameContent(y) && x.mtime == y.mtime && x.sameSettings(y)
}

func (x *snapEntry) sameContent(y *snapEntry) bool {
	return x.kind == y.kind && x.content == y.content && x.tree.ID == y.tree.ID && x.rdev == y.rdev && x.block == y.block
}

func (x *snapEntry) sameSettings(y *snapEntry) bool {
	return x.sameMode(y) && maps.EqualFunc(x.xattrs, y.xattrs, bytes.Equal)
}

func (x *snapEntry) sameMode(y *snapEntry) bool {
	return x.mode == y.mode && x.uid == y.uid && x.gid == y.gid
}

func (n *SnapNode) isDir() bool { return n != nil && n.kind == merge.KindDir }
