package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"bazil/store"
	"bazil/store/vol"
)

const (
	filesPerRound  = 1 << 14 // looked at together, at most
	bytesPerRound  = 2 << 30 // the same
	chunksPerCall  = 1 << 12 // asked for in one call of Source.Chunks
	fetchesAtOnce  = 2       // calls of Source.Chunks at once: one begins while the other ends
	maxRoundsAgain = 64      // levels of manifests that a file may have
)

// Fetch gets the content that the volume refers to and that is not here, in
// the order in which it was heard of. What the peer does not have is left for
// another. An error leaves what came in place, and a file whose content is not
// well formed does not keep that of others from being got.
func (r *Replica) Fetch(ctx context.Context, src Source, o Options) (Result, error) {
	f := &fetch{r: r, src: src, options: o, lacking: map[store.ID]bool{}}
	err := f.run(ctx)
	if err != nil {
		err = fmt.Errorf("fetch content of volume %v: %w", r.Volume.ID(), err)
	}
	return f.result, err
}

// fetch is one Fetch under way.
type fetch struct {
	r       *Replica
	src     Source
	options Options

	mu      sync.Mutex // guards result and lacking
	result  Result
	lacking map[store.ID]bool // asked for, and the peer has not

	bad error // why a file cannot be looked at, whoever may have its content
}

func (f *fetch) run(ctx context.Context) error {
	saving, saveCtx := errgroup.WithContext(ctx)
	saving.SetLimit(1) // one round is made durable while the next comes in
	err := f.rounds(saveCtx, func(whole []uint64) {
		saving.Go(func() error { return f.fetched(saveCtx, whole) })
	})
	if saved := saving.Wait(); saved != nil {
		return saved
	}
	if err == nil {
		err = f.bad
	}
	return err
}

// rounds gets one round of files after another; save is given those that are
// whole.
func (f *fetch) rounds(ctx context.Context, save func(whole []uint64)) error {
	after := uint64(0)
	for {
		wants, err := f.r.Volume.Wanted(ctx, after, filesPerRound)
		if err != nil || len(wants) == 0 {
			return err
		}
		wants = firstBytes(wants, bytesPerRound)
		after = wants[len(wants)-1].Seq
		if only := f.options.Only; only != nil {
			wants = slices.DeleteFunc(wants, func(w vol.Want) bool { return !only(w) })
		}
		whole, err := f.files(ctx, wants)
		save(whole)
		if err != nil {
			return err
		}
	}
}

// firstBytes returns the first of wants that have n bytes together; at least
// one.
func firstBytes(wants []vol.Want, n int64) []vol.Want {
	for i, w := range wants {
		if n -= w.Size; n < 0 {
			return wants[:i+1]
		}
	}
	return wants
}

// files gets the content of some files and returns those that are whole.
// Manifests are chunks that name others: when some came in, what they name is
// looked for.
func (f *fetch) files(ctx context.Context, wants []vol.Want) (whole []uint64, err error) {
	for range maxRoundsAgain {
		round, err := f.look(ctx, wants)
		if err != nil {
			return whole, err
		}
		if err := f.chunks(ctx, round.absent); err != nil {
			return whole, err
		}
		whole = append(whole, f.sort(round)...)
		if wants = round.open; len(wants) == 0 {
			break
		}
	}
	return whole, nil
}

// round is what a look at files has found.
type round struct {
	absent []store.ID   // chunks to ask for
	files  []fileChunks // files all of whose chunks are known
	open   []vol.Want   // files to be looked at again
}

// fileChunks are the chunks of a file that were not here.
type fileChunks struct {
	seq    uint64
	absent []store.ID
}

// look finds the chunks of files that are not here.
func (f *fetch) look(ctx context.Context, wants []vol.Want) (*round, error) {
	out := &round{}
	asked := map[store.ID]bool{}
	for _, w := range wants {
		file := fileChunks{seq: w.Seq}
		missing, err := f.r.Volume.WantChunks(ctx, w, func(id store.ID, _ bool) error {
			if f.r.Chunks.Has(id) {
				return nil
			}
			file.absent = append(file.absent, id)
			if !asked[id] && !f.lacks(id) {
				asked[id] = true
				out.absent = append(out.absent, id)
			}
			return ctx.Err()
		})
		if malformed(err) {
			f.result.Missing++
			f.bad = unreadable(w.Path, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(missing) > 0 && !f.lacksAny(missing) {
			out.open = append(out.open, w)
		} else {
			out.files = append(out.files, file)
		}
	}
	return out, nil
}

// unreadable is what to tell of a file that is malformed.
func unreadable(path string, err error) error {
	if !errors.Is(err, vol.ErrBody) { // which says what is needed, or is this disk's
		return fmt.Errorf("%q: %w", path, err)
	}
	return fmt.Errorf("%q has content that nobody can read: %w; write the file anew, restore it from a snapshot, or remove it", path, err)
}

// malformed says whether an error is about one file, and would be the same
// whoever is asked for its content.
func malformed(err error) bool {
	return errors.Is(err, vol.ErrBody) || errors.Is(err, vol.ErrVersion) || errors.Is(err, store.ErrDamaged)
}

func (f *fetch) lacks(id store.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lacking[id]
}

func (f *fetch) lacksAny(ids []store.ID) bool {
	for _, id := range ids {
		if f.lacks(id) {
			return true
		}
	}
	return false
}

// chunks asks for chunks and stores them.
func (f *fetch) chunks(ctx context.Context, ids []store.ID) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchesAtOnce)
	for len(ids) > 0 {
		batch := ids[:min(chunksPerCall, len(ids))]
		ids = ids[len(batch):]
		g.Go(func() error {
			return f.src.Chunks(ctx, batch, func(i int, sealed []byte) error {
				if i < 0 || i >= len(batch) {
					return fmt.Errorf("%w: chunk %d of %d", errPeer, i, len(batch))
				}
				return f.got(ctx, batch[i], sealed)
			})
		})
	}
	return g.Wait()
}

func (f *fetch) got(ctx context.Context, id store.ID, sealed []byte) error {
	if sealed != nil {
		if _, err := f.r.Chunks.Put(ctx, id, sealed); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if sealed == nil {
		f.lacking[id] = true
		return nil
	}
	f.result.Chunks++
	f.result.Bytes += int64(len(sealed))
	if f.options.Progress != nil {
		f.options.Progress(f.result)
	}
	return nil
}

// sort returns the files of a round that are whole now.
func (f *fetch) sort(r *round) []uint64 {
	var whole []uint64
	for _, file := range r.files {
		if f.lacksAny(file.absent) {
			f.result.Missing++
		} else {
			whole = append(whole, file.seq)
			f.result.Files++
		}
	}
	return whole
}

// fetched tells the volume, once it is on disk, that content is here.
func (f *fetch) fetched(ctx context.Context, seqs []uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	if err := f.r.Chunks.Sync(ctx); err != nil {
		return err
	}
	return f.r.Volume.Fetched(ctx, seqs...)
}
