package peer

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"bazil/store"
)

// Storage is one backend of the other device: chunks by ID.
type Storage struct {
	client *Client
	name   string

	mu      sync.Mutex // guards all below
	waiting []*fetch   // not asked for yet
	asking  int        // goroutines that ask
}

// Storage returns the other device's backend of that name. It asks nothing.
func (c *Client) Storage(backend string) *Storage {
	return &Storage{client: c, name: backend}
}

func (s *Storage) path() []string { return []string{"storage", s.name, "chunks"} }

func (s *Storage) describe(err error) error { return describe(err, "storage "+s.name) }

// How many chunks are asked for at once, and how many such questions are in
// flight: perLink on a connection for content, whoever asks, and maxAsking on the
// other. So what is on its way takes 4 MiB of memory for each of two connections
// (maxInFlight), and 8 for each of twelve where the peer is far (farInFlight).
const (
	minBulkIDs = 16
	maxBulkIDs = 512
	perLink    = 2
	fetchIDs   = 16
	maxAsking  = 4
)

// Chunks asks for chunks, any number of them. got gets each place in ids once,
// in no order, from several goroutines at once; its error ends the call. The
// sealed bytes belong to that ID and are valid until got returns; nil: the
// other device does not have the chunk.
func (s *Storage) Chunks(ctx context.Context, ids []store.ID, got func(i int, sealed []byte) error) error {
	if err := s.client.Connect(ctx); err != nil { // tells how long a round trip is
		return s.describe(err)
	}
	g, gctx := errgroup.WithContext(ctx)
	streams := perLink * s.client.width()
	g.SetLimit(streams)
	step := min(max(len(ids)/(4*streams), minBulkIDs), maxBulkIDs)
	for first := 0; first < len(ids) && gctx.Err() == nil; first += step {
		batch := ids[first:min(first+step, len(ids))]
		g.Go(func() error {
			l, done, err := s.client.takeBulk(gctx)
			if err != nil {
				return err
			}
			defer done()
			return s.ask(gctx, l, batch, func(i int, sealed []byte) error { return got(first+i, sealed) })
		})
	}
	err := g.Wait()
	if err == nil {
		err = ctx.Err() // then not all were asked for
	}
	return s.describe(err)
}

// ask puts one question.
func (s *Storage) ask(ctx context.Context, l *link, ids []store.ID, got func(i int, sealed []byte) error) error {
	text, err := appendIDs(nil, ids)
	if err != nil {
		return err
	}
	n := 0
	q := question{path: s.path(), text: text, expect: len(ids) * 64 << 10}
	err = l.ask(ctx, q, func(k kind, body []byte) error {
		if n == len(ids) {
			return lied(fmt.Errorf("more than the %d chunks asked for", len(ids)))
		}
		n++
		sealed, err := chunkOf(k, body, ids[n-1])
		if err != nil {
			return err
		}
		return got(n-1, sealed)
	})
	if err == nil && n < len(ids) {
		err = lied(fmt.Errorf("%d chunks in place of %d", n, len(ids)))
	}
	return err
}

// chunkOf returns the chunk in a record, nil where that says it is not there.
func chunkOf(k kind, body []byte, id store.ID) ([]byte, error) {
	switch {
	case k == kindMissing && len(body) == 0:
		return nil, nil
	case k != kindChunk:
		return nil, unexpected(k)
	case len(body) == 0 || len(body) > store.MaxSealed:
		return nil, lied(fmt.Errorf("a chunk of %d bytes", len(body)))
	}
	if err := store.VerifyID(id, body); err != nil {
		return nil, lied(err)
	}
	return body, nil
}

// fetch is a chunk that somebody waits for.
type fetch struct {
	ctx    context.Context
	id     store.ID
	sealed []byte
	err    error
	done   chan struct{}
}

// Fetch returns one chunk's sealed bytes, verified; store.ErrNotFound if the
// other device does not have it. Fetches that are called at the same time go
// out together, and not behind the content that Chunks moves.
func (s *Storage) Fetch(ctx context.Context, id store.ID) ([]byte, error) {
	f := &fetch{ctx: ctx, id: id, done: make(chan struct{})}
	if !s.enqueue(f) {
		return nil, errClosed
	}
	select {
	case <-f.done:
		return f.sealed, s.describe(f.err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enqueue adds f to those that wait, and starts a goroutine to ask for them
// unless enough of these are at work. False: the client is closed.
func (s *Storage) enqueue(f *fetch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking < maxAsking {
		if !s.client.spawn(s.askForWaiting) {
			return false
		}
		s.asking++
	}
	s.waiting = append(s.waiting, f)
	return true
}

// askForWaiting asks for what waits until nothing does.
func (s *Storage) askForWaiting() {
	for {
		batch := s.takeWaiting()
		if len(batch) == 0 {
			return
		}
		s.fetchAll(batch)
	}
}

// takeWaiting takes the next ones that are still wanted; none: the caller ends.
func (s *Storage) takeWaiting() (batch []*fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && len(batch) < fetchIDs {
		f := s.waiting[0]
		s.waiting = s.waiting[1:]
		if f.ctx.Err() == nil {
			batch = append(batch, f)
		}
	}
	if len(batch) == 0 {
		s.asking--
	}
	return batch
}

// fetchAll asks for batch, as long as anybody waits for one of it.
func (s *Storage) fetchAll(batch []*fetch) {
	ctx, cancel := context.WithCancel(s.client.ctx)
	defer cancel()
	defer whenAllEnded(batch, cancel)()
	ids := make([]store.ID, len(batch))
	for i, f := range batch {
		ids[i] = f.id
	}
	n := 0
	err := s.ask(ctx, s.client.control, ids, func(i int, sealed []byte) error {
		n = i + 1
		batch[i].finish(sealed)
		return nil
	})
	if s.client.ctx.Err() != nil {
		err = errClosed
	}
	for _, f := range batch[n:] {
		f.err = err
		close(f.done)
	}
}

// finish gives sealed, which it copies, to who waits.
func (f *fetch) finish(sealed []byte) {
	if sealed == nil {
		f.err = fmt.Errorf("chunk %v: the peer does not have it: %w", f.id, store.ErrNotFound)
	} else {
		f.sealed = append([]byte(nil), sealed...)
	}
	close(f.done)
}

// whenAllEnded calls cancel when the contexts of all of batch have ended. The
// function it returns ends that.
func whenAllEnded(batch []*fetch, cancel func()) (stop func()) {
	var mu sync.Mutex
	left := len(batch)
	stops := make([]func() bool, len(batch))
	for i, f := range batch {
		stops[i] = context.AfterFunc(f.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel()
			}
		})
	}
	return func() {
		for _, s := range stops {
			s()
		}
	}
}

var _ store.Fetcher = (*Storage)(nil)
