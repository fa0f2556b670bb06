package vol

import (
	"context"
	"errors"
	"fmt"

	"bazil/store"
)

// chunkGetter is where sealed chunks are: a store.Chunks, or a store.Checked.
type chunkGetter interface {
	Get(ctx context.Context, id store.ID, dst []byte) ([]byte, error)
}

// walkChunks calls fn for the ID of each chunk that a body needs, manifests
// (extent chunks) before what they lead to; others may come more than once. A
// manifest stands for one part of a file: one that comes again is of a body that
// nobody has written, and that may be endless.
// Only this device's chunks are looked at: manifests that are not here, whose
// chunks are therefore unknown, are returned as missing. A damaged manifest
// and fn's errors end the walk.
func walkChunks(ctx context.Context, chunks chunkGetter, sealer *store.Sealer, body Body, fn func(id store.ID, manifest bool) error) (missing []store.ID, err error) {
	return walkSizes(ctx, chunks, sealer, body, func(id store.ID, manifest bool, _ int64) error { return fn(id, manifest) })
}

// walkSizes is walkChunks with the bytes of content that a chunk has, as far
// as the body needs them: 0 for a manifest.
func walkSizes(ctx context.Context, chunks chunkGetter, sealer *store.Sealer, body Body, fn func(id store.ID, manifest bool, content int64) error) (missing []store.ID, err error) {
	info, err := body.parse()
	if err != nil {
		return nil, err
	}
	w := &chunkWalk{ctx: ctx, chunks: chunks, sealer: sealer, fn: fn}
	switch info.form {
	case formChunk:
		err = fn(info.ptr.ID, false, info.size)
	case formExtents:
		err = w.node(extentRef{count: -1, alloc: info.allocated, ptr: info.ptr}, info.level, 0, true)
	}
	return w.missing, err
}

type chunkWalk struct {
	ctx     context.Context
	chunks  chunkGetter
	sealer  *store.Sealer
	fn      func(id store.ID, manifest bool, content int64) error
	missing []store.ID
	below   map[store.ID]bool // manifests that others have led to
	sealed  []byte            // scratch
}

func (w *chunkWalk) node(r extentRef, level int, lo int64, root bool) error {
	if err := w.fn(r.ptr.ID, true, 0); err != nil {
		return err
	}
	n, err := w.open(r, level, lo, root)
	if errors.Is(err, store.ErrNotFound) {
		w.missing = append(w.missing, r.ptr.ID)
		return nil
	}
	if err != nil {
		return err
	}
	for i := range n.extents {
		x := &n.extents[i]
		if err := w.fn(x.ptr.ID, false, x.at+x.n); err != nil {
			return err
		}
	}
	for i := range n.children {
		if err := w.once(n.children[i].ptr.ID); err != nil {
			return err
		}
		clo, _ := partBounds(level, lo, int(n.children[i].index))
		if err := w.node(n.children[i].extentRef, level-1, clo, false); err != nil {
			return err
		}
	}
	return nil
}

// once fails for a manifest that came before.
func (w *chunkWalk) once(id store.ID) error {
	if w.below[id] {
		return fmt.Errorf("extent chunk %v: %w: it is in two places", id, ErrBody)
	}
	if w.below == nil {
		w.below = make(map[store.ID]bool)
	}
	w.below[id] = true
	return nil
}

func (w *chunkWalk) open(r extentRef, level int, lo int64, root bool) (*extentNode, error) {
	var err error
	if w.sealed, err = w.chunks.Get(w.ctx, r.ptr.ID, w.sealed[:0]); err != nil {
		return nil, fmt.Errorf("extent chunk %v: %w", r.ptr.ID, err)
	}
	plain, err := w.sealer.Open(nil, r.ptr, store.ChunkExtents, w.sealed)
	if err != nil {
		return nil, fmt.Errorf("extent chunk %v: %w", r.ptr.ID, err)
	}
	n, err := decodeExtentNode(plain, level, lo, root)
	if err != nil {
		return nil, fmt.Errorf("extent chunk %v: %w", r.ptr.ID, err)
	}
	if n.alloc != r.alloc || r.count >= 0 && n.count != r.count {
		return nil, fmt.Errorf("extent chunk %v: %w: its parent states other counts", r.ptr.ID, ErrBody)
	}
	return n, nil
}
