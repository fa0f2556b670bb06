package vol

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"bazil/store"
)

var collectSeeds = flag.Int("collectseeds", 20, "histories of collections under load to try")

// loadedVolume is a volume that one goroutine works on while others make
// groups durable, snapshots and collections. Contents are drawn from a few, so
// that chunks that are about to die are wanted again.
type loadedVolume struct {
	t     *testing.T
	v     *Volume
	c     *store.Chunks
	r     *rand.Rand
	files files
	snaps map[string]files
}

func (l *loadedVolume) step(i int) {
	name := fmt.Sprint(l.r.IntN(6))
	root := l.v.Root()
	switch k := l.r.IntN(10); {
	case k < 4:
		c := string(randomBytes(l.r.Uint64N(8), 5000+int(l.r.Uint64N(3))*40_000))
		if err := root.Unlink(ctx, name); err != nil && !errors.Is(err, syscall.ENOENT) {
			l.t.Error(err)
		}
		ok(l.t, writeSome(l.v, name, c))
		l.files[name] = c
	case k < 6:
		if err := root.Unlink(ctx, name); (err == nil) != (l.files[name] != "") {
			l.t.Error(err)
		}
		delete(l.files, name)
	case k < 7:
		s := fmt.Sprint("s", i)
		must[SnapshotInfo](l.t)(l.v.Snapshot(ctx, s))
		l.snaps[s] = files{}
		for n, c := range l.files {
			l.snaps[s][n] = c
		}
	case k < 8:
		for s := range l.snaps {
			ok(l.t, l.v.RemoveSnapshot(ctx, s))
			delete(l.snaps, s)
			break
		}
	default:
		l.check()
	}
}

// check reads everything.
func (l *loadedVolume) check() {
	if d := l.files.differs(must[files](l.t)(rootFiles(l.v))); len(d) > 0 {
		l.t.Errorf("%q differ", d)
	}
	for s, want := range l.snaps {
		if d := want.differs(must[files](l.t)(readSnapshot(l.v, s))); len(d) > 0 {
			l.t.Errorf("snapshot %s: %q differ", s, d)
		}
	}
}

func (l *loadedVolume) collect() {
	_, err := l.c.Collect(ctx, l.v.MarkChunks, store.CollectOptions{MinDead: 1e-9})
	if err != nil {
		l.t.Error(err)
	}
}

// TestCollectVolumeUnderLoad: nothing live is lost, and after two collections
// everything dead is gone.
func TestCollectVolumeUnderLoad(t *testing.T) {
	for seed := range *collectSeeds {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { collectUnderLoad(t, uint64(seed)) }) {
			return
		}
	}
}

func collectUnderLoad(t *testing.T, seed uint64) {
	s := openSmall(t)
	chunks := s.Chunks()
	d := &disk{t, filepath.Join(s.Dir(), "v.db"), chunks, store.NewSealer(store.SharingKey{1})}
	ok(t, Create(d.path, NewID(), d.options()))
	l := &loadedVolume{t: t, v: d.open(), c: chunks, r: rand.New(rand.NewPCG(seed, 3)), files: files{}, snaps: map[string]files{}}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, work := range []func(){l.collect, func() { ok(t, l.v.Sync(ctx)) }} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					work()
				}
			}
		})
	}
	for i := range 30 {
		l.step(i)
	}
	close(stop)
	wg.Wait()
	ok(t, l.v.Sync(ctx))
	l.collect()
	l.collect()
	l.check()
	live := must[map[store.ID]bool](t)(markOf(l.v))
	if n := chunks.Stats().Chunks; n != int64(len(live)) {
		t.Errorf("%d chunks, %d of them live", n, len(live))
	}
	ok(t, l.v.Close())
}

// openSmall opens a new store with small segments.
func openSmall(t *testing.T) *store.Store {
	dir := filepath.Join(memoryDir(t), "data")
	ok(t, store.Create(dir))
	s := must[*store.Store](t)(store.Open(dir, store.Options{SegmentSize: 100_000}))
	t.Cleanup(func() { s.Close() })
	return s
}
