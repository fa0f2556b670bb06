package vol

import (
	"errors"
	"fmt"

	"bazil/merge"
	"bazil/store"
)

// snapshot keeps the chunks of one snapshot. Directories that it shares with
// others are looked at once.
func (m *marker) snapshot(name, value []byte) error {
	s, err := decodeSnapshotInfo(string(name), value)
	if err != nil {
		return err
	}
	m.keep(s.Pointer.ID)
	var plain []byte
	if plain, err = m.open(s.Pointer, store.ChunkSnapshot); err != nil || plain == nil {
		return err
	}
	r, err := decodeSnapRoot(plain)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", name, err)
	}
	return m.tree(r.root.tree, true)
}

// cachedTree keeps the chunks of a directory's tree that a later snapshot may
// use again. What is in the directory is kept by its names.
func (m *marker) cachedTree(_, value []byte) error {
	t, err := decodeSnapTree(value)
	if err != nil {
		return damaged(err)
	}
	return m.tree(t.ptr, false)
}

// tree keeps a tree chunk and what it leads to, deep with the files and the
// directories in it.
func (m *marker) tree(p store.Pointer, deep bool) error {
	key := treeKey{p.ID, deep}
	if _, seen := m.trees[key]; seen || p.IsZero() {
		return m.ctx.Err()
	}
	m.trees[key] = struct{}{}
	m.keep(p.ID)
	plain, err := m.open(p, store.ChunkTree)
	if err != nil || plain == nil {
		return err
	}
	n, err := decodeSnapNode(plain)
	if err != nil {
		return fmt.Errorf("tree chunk %v: %w", p.ID, err)
	}
	for _, c := range n.children {
		if err := m.tree(c.ptr, deep); err != nil {
			return err
		}
	}
	if !deep {
		return nil
	}
	for i := range n.entries {
		x := &n.entries[i]
		if err := m.tree(x.tree, true); err != nil {
			return err
		}
		if x.kind == merge.KindFile {
			if err := m.body(Body(x.content)); err != nil {
				return err
			}
		}
	}
	return nil
}

// treeKey is a tree chunk that has been looked at.
type treeKey struct {
	id   store.ID
	deep bool
}

// open reads a chunk; nil if it is not here or damaged, and leads nowhere.
func (m *marker) open(p store.Pointer, t store.ChunkType) ([]byte, error) {
	sealed, err := m.chunks.Get(m.ctx, p.ID, nil)
	if errors.Is(err, store.ErrDamaged) {
		m.found.Damaged = append(m.found.Damaged, p.ID)
		return nil, nil
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	plain, err := m.sealer.Open(nil, p, t, sealed)
	if err != nil {
		return nil, fmt.Errorf("%v chunk %v: %w", t, p.ID, err)
	}
	return plain, nil
}
