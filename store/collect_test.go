package store

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

var collectSeeds = flag.Int("collectseeds", 15, "histories of collections under load to try")

// simChunks opens a whole chunk store in memory.
func simChunks(t testing.TB, fs files, segmentSize int64) *Chunks {
	t.Helper()
	c, err := openChunks(fs, "d", Options{SegmentSize: segmentSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func markAll(live []chunk) func(context.Context, func(ID)) error {
	return func(_ context.Context, keep func(ID)) error {
		for _, ch := range live {
			keep(ch.id)
		}
		return nil
	}
}

func TestCollect(t *testing.T) {
	c := simChunks(t, newFaultFiles(), 16<<10)
	ctx := context.Background()
	all := putMany(t, c, 200, 1000)
	live := all[:50]
	before := c.Stats()

	boom := errors.New("boom")
	fail := func(ctx context.Context, keep func(ID)) error { keep(all[0].id); return boom }
	if _, err := c.Collect(ctx, fail, CollectOptions{}); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cut := func(ctx context.Context, keep func(ID)) error { cancel(); return nil }
	if _, err := c.Collect(cancelled, cut, CollectOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	dry, err := c.Collect(ctx, markAll(live), CollectOptions{DryRun: true})
	if err != nil || dry.Live != 50 || dry.Dead != 150 || dry.Freed <= 0 {
		t.Fatalf("dry run: %+v %v", dry, err)
	}
	if st := c.Stats(); st.Chunks != before.Chunks {
		t.Fatalf("freed too early: %+v", st)
	}

	calls := 0
	got, err := c.Collect(ctx, markAll(live), CollectOptions{Progress: func(CollectProgress) { calls++ }})
	if err != nil || got.Freed < 140_000 || calls == 0 {
		t.Fatalf("%+v %v, %d calls of progress", got, err, calls)
	}
	for _, ch := range live {
		mustGet(t, c, ch)
	}
	for _, ch := range all[50:] {
		if c.Has(ch.id) {
			t.Fatal("dead chunk is here")
		}
		if _, err := c.Get(ctx, ch.id, nil); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		mustPut(t, c, ch)
		mustGet(t, c, ch)
	}
}

// TestCollectRevives finds and Puts dying chunks while mark runs.
func TestCollectRevives(t *testing.T) {
	c := simChunks(t, newFaultFiles(), 16<<10)
	all := putMany(t, c, 100, 1000)
	mark := func(ctx context.Context, keep func(ID)) error {
		if isNew := mustPut(t, c, all[7]); isNew || !c.Has(all[8].id) {
			t.Error("gone before its time")
		}
		return nil
	}
	if _, err := c.Collect(context.Background(), mark, CollectOptions{MinDead: 1e-9}); err != nil {
		t.Fatal(err)
	}
	mustGet(t, c, all[7])
	mustGet(t, c, all[8])
	if n := c.Stats().Chunks; n != 2 {
		t.Errorf("%d chunks left", n)
	}
}

// TestCollectWaitsForHolds: a chunk found before a collection and referenced
// after it began is seen by its mark.
func TestCollectWaitsForHolds(t *testing.T) {
	c := simChunks(t, newFaultFiles(), 16<<10)
	all := putMany(t, c, 20, 1000)
	release := c.Hold()
	if !c.Has(all[3].id) {
		t.Fatal("absent")
	}
	var referenced []chunk
	done := make(chan error)
	go func() {
		_, err := c.Collect(context.Background(), func(ctx context.Context, keep func(ID)) error {
			return markAll(referenced)(ctx, keep)
		}, CollectOptions{MinDead: 1e-9})
		done <- err
	}()
	for !c.holds.barred() {
		runtime.Gosched()
	}
	later := c.Hold() // does not keep it waiting
	referenced = all[3:4]
	release()
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	later()
	mustGet(t, c, all[3])

	defer c.Hold()()
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	if _, err := c.Collect(ctx, markAll(nil), CollectOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	mustGet(t, c, all[3])
}

// barred says whether a barrier waits for earlier holds.
func (h *holds) barred() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.period != nil && h.period.before != nil
}

// TestCollectMergesSmall: many small segments become one.
func TestCollectMergesSmall(t *testing.T) {
	c := simChunks(t, newFaultFiles(), 1<<20)
	var all []chunk
	for i := range 20 {
		all = append(all, newChunk(uint64(i), 500))
		mustPut(t, c, all[i])
		if err := c.sealActive(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Collect(context.Background(), markAll(all), CollectOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, ch := range all {
		mustGet(t, c, ch)
	}
	if st := c.Stats(); st.Segments > 2 || st.Chunks != 20 {
		t.Errorf("%+v", st)
	}
}

// collectLoad is a collection under load: workers store, find and drop
// chunks from a small set, so that dying ones are wanted again.
type collectLoad struct {
	t    *testing.T
	c    *Chunks
	pool []chunk

	mu   sync.Mutex // guards refs
	refs map[ID]int
}

func (l *collectLoad) work(r *rand.Rand, steps int) {
	for range steps {
		ch := l.pool[r.IntN(len(l.pool))]
		switch r.IntN(5) {
		case 0, 1:
			release := l.c.Hold()
			if _, err := l.c.Put(context.Background(), ch.id, ch.sealed); err != nil {
				l.t.Error(err)
			}
			l.ref(ch.id)
			release()
		case 2:
			release := l.c.Hold()
			if l.c.Has(ch.id) {
				l.ref(ch.id)
			}
			release()
		case 3:
			l.unref(ch.id)
		case 4:
			l.read(ch)
		}
	}
}

func (l *collectLoad) ref(id ID) {
	l.mu.Lock()
	l.refs[id]++
	l.mu.Unlock()
}

func (l *collectLoad) unref(id ID) {
	l.mu.Lock()
	delete(l.refs, id)
	l.mu.Unlock()
}

// read reads a chunk and, if it was referenced all the time, insists on it.
func (l *collectLoad) read(ch chunk) {
	l.mu.Lock()
	before := l.refs[ch.id]
	l.mu.Unlock()
	got, err := l.c.Get(context.Background(), ch.id, nil)
	l.mu.Lock()
	after := l.refs[ch.id]
	l.mu.Unlock()
	if err == nil && !bytes.Equal(got, ch.sealed) {
		l.t.Error("wrong bytes")
	}
	if err != nil && before > 0 && after >= before {
		l.t.Errorf("live chunk: %v", err)
	}
}

func (l *collectLoad) mark(_ context.Context, keep func(ID)) error {
	l.mu.Lock()
	refs := maps.Clone(l.refs)
	l.mu.Unlock()
	for id := range refs {
		keep(id)
	}
	return nil
}

func (l *collectLoad) collect() {
	if _, err := l.c.Collect(context.Background(), l.mark, CollectOptions{MinDead: 1e-9}); err != nil {
		l.t.Error(err)
	}
}

func TestCollectUnderLoad(t *testing.T) {
	for seed := range *collectSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := &collectLoad{t: t, c: simChunks(t, newFaultFiles(), 4<<10), refs: map[ID]int{}}
			for i := range 60 {
				l.pool = append(l.pool, newChunk(uint64(seed*1000+i), 100+i*10))
			}
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() { l.work(rand.New(rand.NewPCG(uint64(seed), uint64(w))), 200) })
			}
			for range 6 {
				l.collect()
			}
			wg.Wait()
			l.collect()
			l.collect()
			for _, ch := range l.pool {
				if live := l.refs[ch.id] > 0; live != l.c.Has(ch.id) {
					t.Errorf("live %v, present %v", live, !live)
				}
			}
			if n := l.c.Stats().Chunks; n != int64(len(l.refs)) {
				t.Errorf("%d chunks for %d references", n, len(l.refs))
			}
		})
	}
}

// TestCollectFlushesFirst: a segment stays if the copies of what was live in it
// cannot be made durable.
func TestCollectFlushesFirst(t *testing.T) {
	fs := newFaultFiles()
	c, err := openSim(fs)
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	all := putMany(t, c, 4, 1000)
	fs.Fail = (&failing{call: "sync", suffix: segmentName(2), err: syscall.EIO, on: true}).fail
	got, err := c.Collect(t.Context(), markAll(all[:1]), CollectOptions{})
	if !errors.Is(err, ErrFailed) || got.Done != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	fs.Fail = nil
	if c.segments[1] == nil || !hasAfterCrash(t, fs, all[0]) {
		t.Error("a crash takes what was live")
	}
}
