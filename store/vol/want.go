package vol

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"go.etcd.io/bbolt"

	"bazil/merge"
	"bazil/store"
)

// want is content that came in from a peer and whose chunks may not be here.
type want struct {
	seq  uint64
	ino  uint64 // what the name showed then: it leads to where that is now
	dir  uint64 // of the name it came in at
	name string
	body Body
}

// Want is a file whose content came in and may not be here.
type Want struct {
	Seq  uint64 // its number: they are given in the order in which content came in
	Ino  uint64 // the file, 0 if the version is not what its name shows
	Path string // slash-separated, from the root
	Size int64  // bytes
	body Body
}

const wantVersion = 1

func appendWant(b []byte, w *want) []byte {
	e := encoder{b: b}
	e.byte(wantVersion)
	e.uint(w.ino)
	e.uint(w.dir)
	e.string(w.name)
	e.string(string(w.body))
	return e.b
}

func decodeWant(seq uint64, b []byte) (want, error) {
	d := decoder{b: b}
	if v := d.byte(); v != wantVersion && d.err == nil {
		return want{}, unknownVersion("wanted content", v, wantVersion)
	}
	w := want{seq: seq, ino: d.uint(), dir: d.uint(), name: d.string(), body: Body(d.string())}
	return w, d.end()
}

// addWants notes the bodies of e that a peer brought.
func (v *Volume) addWants(e *entry, old *record) {
	for i := range e.rec.Versions {
		ver := &e.rec.Versions[i]
		body := Body(ver.Content)
		if ver.Kind != merge.KindFile || !body.remote() || old.has(ver) {
			continue
		}
		v.state.want++
		v.now.wants = append(v.now.wants, want{v.state.want, e.rec.Ino, e.dir.num, e.name, body})
	}
}

// remote says whether a body refers to chunks.
func (b Body) remote() bool {
	info, err := b.parse()
	return err == nil && (info.form == formChunk || info.form == formExtents)
}

func (r *record) has(v *merge.Version) bool {
	if r == nil {
		return false
	}
	for i := range r.Versions {
		if r.Versions[i].SameContent(v) {
			return true
		}
	}
	return false
}

// wants writes what a group has of wanted content.
func (w *writer) wants(g *group) {
	fetched := make(map[uint64]bool, len(g.fetched))
	for _, seq := range g.fetched {
		fetched[seq] = true
	}
	for i := range g.wants {
		if fetched[g.wants[i].seq] {
			continue
		}
		w.wantings = append(w.wantings, change{numKey(g.wants[i].seq, ""), appendWant(nil, &g.wants[i])})
	}
	for _, seq := range g.fetched {
		w.wantings = append(w.wantings, change{numKey(seq, ""), nil})
	}
}

// Wanted returns up to n files whose content came in and is not yet known to
// be here (Fetched), those with a number above after, in order. What a peer
// or a local change has replaced meanwhile is left out and forgotten.
func (v *Volume) Wanted(ctx context.Context, after uint64, n int) ([]Want, error) {
	var out []Want
	for len(out) < n {
		ws, err := v.rawWants(after, n)
		if err != nil || len(ws) == 0 {
			return out, err
		}
		v.mu.Lock()
		for i := range ws {
			w, err := v.checkWant(&ws[i])
			if err != nil {
				v.unlock()
				return out, err
			}
			if w != nil && len(out) < n {
				out = append(out, *w)
			}
			after = ws[i].seq
		}
		v.unlock()
	}
	return out, ctx.Err()
}

// rawWants are wants that Bolt or a group has.
func (v *Volume) rawWants(after uint64, n int) (ws []want, err error) {
	v.mu.Lock()
	gone := make(map[uint64]bool)
	var fresh []want
	for _, g := range []*group{v.commit, v.now} {
		if g == nil {
			continue
		}
		for _, seq := range g.fetched {
			gone[seq] = true
		}
		fresh = append(fresh, g.wants...)
	}
	v.mu.Unlock()
	err = v.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketWanted).Cursor()
		for k, b := c.Seek(numKey(after+1, "")); k != nil && len(ws) < n; k, b = c.Next() {
			seq, _ := splitKey(k)
			b, err := checkSum(k, b)
			var w want
			if err == nil {
				w, err = decodeWant(seq, b)
			}
			if err != nil {
				return fmt.Errorf("wanted content %d: %w", seq, damaged(err))
			}
			ws = append(ws, w)
		}
		return nil
	})
	if err != nil {
		return nil, v.damage(err)
	}
	last := after
	if len(ws) > 0 {
		last = ws[len(ws)-1].seq
	}
	for _, w := range fresh {
		if w.seq > last && len(ws) < n {
			ws = append(ws, w)
		}
	}
	kept := ws[:0]
	for _, w := range ws {
		if !gone[w.seq] {
			kept = append(kept, w)
		}
	}
	if len(kept) == 0 && len(ws) > 0 {
		return v.rawWants(ws[len(ws)-1].seq, n)
	}
	return kept, nil
}

// checkWant returns w for the outside, nil where its version is gone.
func (v *Volume) checkWant(w *want) (*Want, error) {
	for _, find := range []func(*want) (*entry, error){v.wantByNumber, v.wantByName} {
		e, err := find(w)
		if err != nil && !errors.Is(err, syscall.ESTALE) {
			return nil, err
		}
		if err == nil {
			if out := e.want(w); out != nil {
				return out, nil
			}
		}
	}
	v.now.fetched = append(v.now.fetched, w.seq)
	return nil, nil
}

func (v *Volume) wantByNumber(w *want) (*entry, error) {
	in, err := v.inodeByNumber(w.ino)
	if err != nil {
		return nil, err
	}
	return in.at, nil
}

func (v *Volume) wantByName(w *want) (*entry, error) {
	d, err := v.dirByNumber(w.dir)
	if err != nil {
		return nil, err
	}
	return v.find(d, w.name)
}

// want is w for the outside if e has it.
func (e *entry) want(w *want) *Want {
	if e.rec == nil || e.dir == nil {
		return nil
	}
	for i := range e.rec.Versions {
		if e.rec.Versions[i].Content == string(w.body) {
			out := &Want{Seq: w.seq, Path: e.path(), Size: w.body.Size(), body: w.body}
			if e.rec.shown() == i {
				out.Ino = e.rec.Ino
			}
			return out
		}
	}
	return nil
}

// WantChunks calls fn for the ID of each chunk that a file needs, manifests
// (chunks that list others) before what they lead to; some may come more than
// once. missing are the manifests that are not here: when they have been
// fetched, WantChunks is called again. It looks at this device's chunks only.
func (v *Volume) WantChunks(ctx context.Context, w Want, fn func(id store.ID, manifest bool) error) (missing []store.ID, err error) {
	return walkChunks(ctx, v.o.Chunks, v.o.Sealer, w.body, fn)
}

// Fetched says that all chunks of these files are here. It is remembered with
// the next commit group.
func (v *Volume) Fetched(ctx context.Context, seqs ...uint64) error {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return errClosed
	}
	v.now.fetched = append(v.now.fetched, seqs...)
	return nil
}
