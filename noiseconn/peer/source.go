package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"bazil/store"
	"bazil/store/vol"
)

// VolumeSource is one volume of the other device, to be pulled from.
type VolumeSource struct {
	client  *Client
	name    string
	storage *Storage
	large   chan struct{} // capacity 1: held while a large directory comes in

	mu    sync.Mutex // guards event
	event eventBody  // the last one
}

// Volume returns the other device's volume of that name. It asks nothing.
func (c *Client) Volume(name string) *VolumeSource {
	return &VolumeSource{client: c, name: name, storage: c.Storage(LocalStorage), large: make(chan struct{}, 1)}
}

func (v *VolumeSource) path(file string) []string { return []string{"volumes", v.name, file} }

func (v *VolumeSource) describe(err error) error { return describe(err, "volume "+v.name) }

// Info asks which volume it is and which replica.
func (v *VolumeSource) Info(ctx context.Context) (in vol.Info, err error) {
	err = v.client.control.single(ctx, question{path: v.path("info")}, kindInfo, func(body []byte) (err error) {
		in, _, err = parseInfo(body)
		return err
	})
	return in, v.describe(err)
}

// Events blocks until the volume may have changed since the counter since, and
// returns the new one. Counter 0 is answered at once, and so is the first call
// on a connection that was made anew.
func (v *VolumeSource) Events(ctx context.Context, since uint64) (now uint64, err error) {
	text, err := wire.appendItem(nil, v.since(since))
	if err != nil {
		return 0, err
	}
	err = v.client.control.single(ctx, question{path: v.path("events"), text: text}, kindEvent, func(body []byte) error {
		var e eventBody
		if err := wire.decode("event", body, &e); err != nil {
			return err
		}
		v.seen(e)
		now = e.Counter
		return nil
	})
	return now, v.describe(err)
}

func (v *VolumeSource) since(counter uint64) eventBody {
	v.mu.Lock()
	defer v.mu.Unlock()
	if counter == 0 {
		return eventBody{}
	}
	return eventBody{Counter: counter, Epoch: v.event.Epoch}
}

func (v *VolumeSource) seen(e eventBody) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.event = e
}

// Chunks asks the other device's own storage; see Storage.Chunks.
func (v *VolumeSource) Chunks(ctx context.Context, ids []store.ID, got func(i int, sealed []byte) error) error {
	return v.storage.Chunks(ctx, ids, got)
}

// Fetch asks the other device's own storage; see Storage.Fetch.
func (v *VolumeSource) Fetch(ctx context.Context, id store.ID) ([]byte, error) {
	return v.storage.Fetch(ctx, id)
}

// Dirs asks for the states of directories, any number of them. got gets each
// once, in order, with its place in reqs, a large one in pieces; its error ends
// the call. What it
// gets is checked as far as that is possible without knowing the volume:
// names, versions and contexts have the right form and are bounded.
func (v *VolumeSource) Dirs(ctx context.Context, reqs []vol.DirRequest, got func(i int, d vol.DirState) error) error {
	for first := 0; first < len(reqs); {
		n := batchDirs(reqs[first:])
		batch := reqs[first : first+n]
		err := v.dirs(ctx, batch, func(i int, d vol.DirState) error { return got(first+i, d) })
		if err != nil {
			return v.describe(err)
		}
		first += n
	}
	return nil
}

// batchDirs is how many of reqs fit one question.
func batchDirs(reqs []vol.DirRequest) int {
	size := 64
	for i, r := range reqs {
		if size += questionSize(r); i == maxDirs || i > 0 && size > maxQuestion {
			return i
		}
	}
	return len(reqs)
}

func (v *VolumeSource) dirs(ctx context.Context, reqs []vol.DirRequest, got func(int, vol.DirState) error) error {
	text, err := appendDirs(nil, reqs)
	if err != nil {
		return err
	}
	in := &incoming{reqs: reqs, got: got, at: -1, ctx: ctx, large: v.large}
	defer in.giveTurn()
	q := question{path: v.path("pull"), text: text, expect: len(reqs) * 4 << 10}
	if err := v.client.control.ask(ctx, q, in.record); err != nil {
		return err
	}
	return in.end()
}

// Bounds of the memory that directories on their way take, or pieces of large
// ones, as their records' bytes and nameBytes for each name, or each version or
// setting of one that has several. One that is larger
// than fewBytes, as a piece of names with many settings may be, waits for its
// turn: only one of them comes in at a time.
const (
	maxDirBytes = 64 << 20
	fewBytes    = 8 << 20
	nameBytes   = 256
)

// incoming puts the directories of an answer together.
type incoming struct {
	reqs []vol.DirRequest
	got  func(i int, d vol.DirState) error
	at   int // place in reqs of the one that is coming; -1: none yet
	dir  vol.DirState
	more bool // another piece of it is to come
	size int  // of its records and names

	ctx   context.Context
	large chan struct{} // the source's
	turn  bool          // it holds a token of large
}

func (in *incoming) record(k kind, body []byte) error {
	switch k {
	case kindDir:
		return in.head(body)
	case kindNames:
		return in.names(body)
	}
	return unexpected(k)
}

func (in *incoming) head(body []byte) error {
	after, err := in.deliver()
	if err != nil {
		return err
	}
	if after == "" {
		in.at++
	}
	if in.at == len(in.reqs) {
		return lied(fmt.Errorf("more than the %d directories asked for", len(in.reqs)))
	}
	d, more, err := parseHead(body)
	if err == nil && after != "" && (d.Same || d.Partial) {
		err = fmt.Errorf("directory %d: a piece that is all of it", d.Dir)
	}
	if want := in.reqs[in.at].Dir; err == nil && want != 0 && d.Dir != want {
		err = fmt.Errorf("directory %d in place of %d", d.Dir, want)
	}
	if err != nil {
		return lied(err)
	}
	d.After = after
	in.dir, in.more, in.size = d, more, len(body)
	return nil
}

func (in *incoming) names(body []byte) error {
	before := len(in.dir.Entries)
	if in.size += len(body); in.size > fewBytes {
		if err := in.takeTurn(); err != nil {
			return err
		}
	}
	switch {
	case in.at < 0:
		return lied(errors.New("names without a directory"))
	case in.dir.Same:
		return lied(errors.New("names of a directory that is to be skipped"))
	case in.size > maxDirBytes:
		return lied(fmt.Errorf("directory %d takes more than %d bytes", in.dir.Dir, maxDirBytes))
	}
	if err := parseNames(body, &in.dir); err != nil {
		return lied(fmt.Errorf("directory %d: %w", in.dir.Dir, err))
	}
	for i := range in.dir.Entries[before:] {
		in.size += memoryOf(&in.dir.Entries[before+i])
	}
	return nil
}

// memoryOf is about what a name takes beside its record's bytes: versions and
// settings may be a few of these each and take much more.
func memoryOf(n *vol.NamedEntry) int {
	size := nameBytes * max(1, len(n.Versions), len(n.Attrs))
	for i := range n.Attrs {
		size += 16 * len(n.Attrs[i].Dots)
	}
	return size
}

// takeTurn waits until no other large directory is on its way.
func (in *incoming) takeTurn() error {
	if in.turn {
		return nil
	}
	select {
	case in.large <- struct{}{}:
		in.turn = true
		return nil
	case <-in.ctx.Done():
		return in.ctx.Err()
	}
}

func (in *incoming) giveTurn() {
	if in.turn {
		in.turn = false
		<-in.large
	}
}

// deliver hands on the directory that is complete, or the piece. after is
// where the next piece begins, "" if there is none to come.
func (in *incoming) deliver() (after string, err error) {
	if in.at < 0 {
		return "", nil
	}
	defer in.giveTurn()
	d := in.dir
	if in.more {
		if len(d.Entries) == 0 {
			return "", lied(fmt.Errorf("directory %d: a piece without names", d.Dir))
		}
		d.To = d.Entries[len(d.Entries)-1].Name
	}
	in.dir = vol.DirState{}
	return d.To, in.got(in.at, d)
}

// end hands on the last directory, and checks that none is missing.
func (in *incoming) end() error {
	if in.at != len(in.reqs)-1 || in.more {
		return lied(fmt.Errorf("%d directories in place of %d", in.at+1, len(in.reqs)))
	}
	_, err := in.deliver()
	return err
}
