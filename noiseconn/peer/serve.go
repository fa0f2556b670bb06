package peer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"bazil/merge"
	"bazil/store"
	"bazil/store/vol"
)

// infoBody is the body of an 'i' record.
type infoBody struct {
	Volume  []byte `cbor:"1,keyasint"` // 16 bytes
	Replica uint64 `cbor:"2,keyasint"`
	Counter uint64 `cbor:"3,keyasint"`
	Epoch   uint64 `cbor:"4,keyasint"`
}

// eventBody is the body of a 'v' record, and the question of events. Counters
// of different epochs have nothing to do with each other.
type eventBody struct {
	Counter uint64 `cbor:"1,keyasint"`
	Epoch   uint64 `cbor:"2,keyasint"`
}

// newEpoch returns a number that no earlier connection had.
func newEpoch() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) | 1
}

// once is a producer of one record.
func once(record func(ctx context.Context, dst []byte) ([]byte, error)) producer {
	done := false
	return func(ctx context.Context, dst []byte) ([]byte, error) {
		if done {
			return dst, io.EOF
		}
		dst, err := record(ctx, dst)
		done = err == nil
		return dst, err
	}
}

// info answers with what a volume is.
func (t *tree) info(name string) answers {
	return func(context.Context, []byte) (producer, error) {
		return once(func(ctx context.Context, dst []byte) ([]byte, error) {
			v, err := t.volume(name)
			if err != nil {
				return dst, err
			}
			now, _, _, err := v.Watch(ctx, 0)
			if err != nil {
				return dst, fmt.Errorf("volume %s: %w", name, err)
			}
			id := v.ID()
			return appendRecord(dst, kindInfo, infoBody{id[:], uint64(v.Replica()), now, t.epoch})
		}), nil
	}
}

func (t *tree) volume(name string) (*vol.Volume, error) {
	v, err := t.backend.Volume(t.key, name)
	if err == nil && v == nil {
		err = &Absent{What: "volume", Name: name}
	}
	return v, err
}

// events answers when the volume has changed.
func (t *tree) events(name string) answers {
	return func(_ context.Context, question []byte) (producer, error) {
		var since eventBody
		if err := wire.decode("question", question, &since); err != nil {
			return nil, &askedError{err}
		}
		if since.Epoch != t.epoch {
			since.Counter = 0
		}
		return once(func(ctx context.Context, dst []byte) ([]byte, error) {
			v, err := t.volume(name)
			if err != nil {
				return dst, err
			}
			now, _, _, err := v.Watch(ctx, since.Counter)
			if err != nil {
				return dst, fmt.Errorf("volume %s: %w", name, err)
			}
			if _, err := t.volume(name); err != nil { // it may have waited for long
				return dst, err
			}
			return appendRecord(dst, kindEvent, eventBody{now, t.epoch})
		}), nil
	}
}

// pull answers with the states of directories.
func (t *tree) pull(name string) answers {
	return func(ctx context.Context, question []byte) (producer, error) {
		reqs, err := parseDirs(question)
		if err != nil {
			return nil, &askedError{err}
		}
		if slices.ContainsFunc(reqs, func(r vol.DirRequest) bool { return r.Dir == 0 }) {
			if err := t.syncVolume(ctx, name); err != nil {
				return nil, err
			}
		}
		p := &pulling{tree: t, name: name, reqs: reqs}
		return p.next, nil
	}
}

func (t *tree) syncVolume(ctx context.Context, name string) error {
	v, err := t.volume(name)
	if err != nil {
		return err
	}
	if err := v.Sync(ctx); err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	return nil
}

// pulling is an answer of pull on its way.
type pulling struct {
	tree  *tree
	name  string
	reqs  []vol.DirRequest // not begun, but perhaps the first: it has an After then
	names []vol.NamedEntry // of the directory or piece begun, not sent
}

// next appends the next record or, of small directories, some.
func (p *pulling) next(ctx context.Context, dst []byte) ([]byte, error) {
	v, err := p.tree.volume(p.name)
	if err != nil {
		return dst, err
	}
	if len(p.names) > 0 {
		dst, n, err := appendNames(dst, p.names)
		if err != nil {
			return dst, fmt.Errorf("volume %s: %w", p.name, err)
		}
		p.names = p.names[n:]
		return dst, nil
	}
	if len(p.reqs) == 0 {
		return dst, io.EOF
	}
	return p.begin(ctx, dst, v)
}

// begin appends the head of a directory, or of the next piece of one.
func (p *pulling) begin(ctx context.Context, dst []byte, v *vol.Volume) ([]byte, error) {
	req := p.reqs[0]
	d, err := v.DirState(ctx, req)
	if errors.Is(err, syscall.ESTALE) {
		return dst, &Absent{What: "directory", Name: fmt.Sprintf("%d of volume %s", req.Dir, p.name)}
	}
	if err != nil {
		return dst, fmt.Errorf("volume %s: directory %d: %w", p.name, req.Dir, err)
	}
	if dst, err = appendHead(dst, &d); err != nil {
		return dst, fmt.Errorf("volume %s: directory %d: %w", p.name, req.Dir, err)
	}
	p.names = d.Entries
	if p.reqs[0].After = d.To; d.To == "" {
		p.reqs = p.reqs[1:]
	}
	return dst, nil
}

// chunks answers with sealed chunks.
func (t *tree) chunks(backend string) answers {
	return func(_ context.Context, question []byte) (producer, error) {
		ids, err := parseIDs(question)
		if err != nil {
			return nil, &askedError{err}
		}
		return func(ctx context.Context, dst []byte) ([]byte, error) {
			c, err := t.backend.Chunks(t.key, backend)
			if err == nil && c == nil {
				err = &Absent{What: "storage", Name: backend}
			}
			if err != nil {
				return dst, err
			}
			if len(ids) == 0 {
				return dst, io.EOF
			}
			dst, err = t.appendChunk(ctx, dst, c, ids[0])
			if err == nil {
				ids = ids[1:]
			}
			return dst, err
		}, nil
	}
}

// appendChunk appends a 'c' record, or an 'm' record for a chunk that is not
// here or not whole any more.
func (t *tree) appendChunk(ctx context.Context, dst []byte, c *store.Chunks, id store.ID) ([]byte, error) {
	start := len(dst)
	if n := recordHead + c.Length(id); cap(dst)-start < n {
		return dst, needsRoom(n)
	}
	out, err := c.Stored(ctx, id, beginRecord(dst, kindChunk)) // who asks verifies it
	switch {
	case err == nil:
		return endRecord(out, start), nil
	case errors.Is(err, store.ErrDamaged):
		t.log.Error("a chunk that a peer asked for is damaged", "chunk", id.String(), "err", err)
	case !errors.Is(err, store.ErrNotFound):
		return dst[:start], fmt.Errorf("chunk %v: %w", id, err)
	}
	return endRecord(beginRecord(dst[:start], kindMissing), start), nil
}

// parseIDs reads the question of chunks: a byte string of IDs.
func parseIDs(question []byte) ([]store.ID, error) {
	var b []byte
	if err := wire.decode("question", question, &b); err != nil {
		return nil, err
	}
	const size = len(store.ID{})
	if len(b) == 0 || len(b)%size != 0 || len(b) > maxIDs*size {
		return nil, fmt.Errorf("a question of %d bytes, want 1 to %d chunk IDs of %d bytes", len(b), maxIDs, size)
	}
	ids := make([]store.ID, len(b)/size)
	for i := range ids {
		ids[i] = store.ID(b[i*size:])
	}
	return ids, nil
}

// appendDirs appends the question for reqs.
func appendDirs(dst []byte, reqs []vol.DirRequest) ([]byte, error) {
	t := newTables()
	var w wireDirs
	for _, r := range reqs {
		w.Dirs = append(w.Dirs, wireDirRequest{Dir: r.Dir, Known: t.putDots(r.Known)})
	}
	w.Replicas = t.replicas
	return wire.appendItem(dst, w)
}

// questionSize is about how many bytes the question for r takes, not too few.
func questionSize(r vol.DirRequest) int { return 16 + 21*len(r.Known) }

// appendIDs appends the question for ids.
func appendIDs(dst []byte, ids []store.ID) ([]byte, error) {
	b := make([]byte, 0, len(ids)*len(store.ID{}))
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return wire.appendItem(dst, b)
}

// parseInfo reads the body of an 'i' record.
func parseInfo(body []byte) (vol.Info, eventBody, error) {
	var w infoBody
	if err := wire.decode("info", body, &w); err != nil {
		return vol.Info{}, eventBody{}, err
	}
	if len(w.Volume) != len(vol.ID{}) || w.Replica == 0 {
		return vol.Info{}, eventBody{}, errors.New("malformed info: a volume ID of another length, or replica 0")
	}
	in := vol.Info{ID: vol.ID(w.Volume), Replica: merge.ReplicaID(w.Replica)}
	return in, eventBody{w.Counter, w.Epoch}, nil
}
