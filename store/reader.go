package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Fetcher gets sealed chunks from elsewhere: a peer, another store. What it
// returns is checked against the ID by the caller.
type Fetcher interface {
	Fetch(ctx context.Context, id ID) (sealed []byte, err error)
}

// Reader reads chunks of one sharing key: opened, verified, through a cache
// that all readers of a Chunks share. It is safe for concurrent use.
type Reader struct {
	chunks  *Chunks
	sealer  *Sealer
	fetch   Fetcher   // nil: what is not here cannot be read
	scratch sync.Pool // of *[]byte: sealed bytes
}

// NewReader returns a Reader that opens with s. Chunks that are not here, or
// damaged, come from fetch, which may be nil, and are stored.
func (c *Chunks) NewReader(s *Sealer, fetch Fetcher) *Reader {
	r := &Reader{chunks: c, sealer: s, fetch: fetch}
	r.scratch.New = func() any { return new([]byte) }
	return r
}

// Read returns the plaintext of a chunk. The slice never changes and must not
// be written to. Those who read one chunk at one time share one load. The
// errors are those of Chunks.Get and Sealer.Open, and the Fetcher's.
func (r *Reader) Read(ctx context.Context, p Pointer, t ChunkType) ([]byte, error) {
	for {
		plain, f, mine := r.chunks.cache.begin(r, &p, t)
		if f == nil {
			return plain, nil
		}
		if mine {
			before := r.chunks.removed()
			f.plain, f.err = r.load(ctx, p, t)
			r.chunks.cache.finish(f)
			if r.chunks.removed() != before && !r.chunks.present(p.ID) { // collected while it was read
				r.chunks.cache.forget(&p.ID)
			}
			return f.plain, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if r.shares(f, &p, t) {
			return f.plain, f.err
		}
	}
}

// Keep puts a chunk's plaintext into the cache, so that what was just written
// can be read without being opened. Plain must be what the Reader's own Sealer
// made p of, and must not change any more.
func (r *Reader) Keep(p Pointer, t ChunkType, plain []byte) {
	r.chunks.cache.add(r.sealer, &p, t, plain, false)
}

// KeepCopy is Keep for plain that may change afterwards.
func (r *Reader) KeepCopy(p Pointer, t ChunkType, plain []byte) {
	r.chunks.cache.add(r.sealer, &p, t, plain, true)
}

// shares says whether the outcome of a load answers this read, too: not if it
// was for other bytes, or failed for a reason of its own.
func (r *Reader) shares(f *flight, p *Pointer, t ChunkType) bool {
	if f.t != t || !f.p.Key.Equal(p.Key) {
		return false
	}
	return f.err == nil || f.reader == r && !isCancel(f.err)
}

func isCancel(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// load reads and opens a chunk.
func (r *Reader) load(ctx context.Context, p Pointer, t ChunkType) ([]byte, error) {
	buf := r.scratch.Get().(*[]byte)
	defer r.scratch.Put(buf)
	sealed, err := r.chunks.Get(ctx, p.ID, (*buf)[:0])
	if err == nil {
		*buf = sealed
	} else if sealed, err = r.fetchMissing(ctx, p.ID, err); err != nil {
		return nil, err
	}
	plain, err := r.sealer.openVerified(nil, p, t, sealed)
	if err == nil && plain == nil {
		plain = []byte{}
	}
	return plain, err
}

// fetchMissing fetches a chunk that could not be read for the reason given,
// and stores it. That it cannot be stored does not keep it from being read.
func (r *Reader) fetchMissing(ctx context.Context, id ID, why error) ([]byte, error) {
	if r.fetch == nil || !errors.Is(why, ErrNotFound) && !errors.Is(why, ErrDamaged) {
		return nil, why
	}
	sealed, err := r.fetch.Fetch(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("%w; fetch: %w", why, err)
	}
	if err := VerifyID(id, sealed); err != nil {
		return nil, fmt.Errorf("%w; fetched: %w", why, err)
	}
	if _, err := r.chunks.Put(ctx, id, sealed); err != nil && ctx.Err() == nil {
		r.chunks.log.Error("cannot store fetched chunk", "chunk", id, "err", err)
	}
	return sealed, nil
}
