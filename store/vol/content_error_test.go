package vol

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"

	"bazil/store"
)

// twoStores are two stores of one sharing key, as two devices have them.
func twoStores(t *testing.T) (a, b *store.Chunks, sealer *store.Sealer) {
	a, sealer = testStore(t)
	b, _ = testStore(t)
	return a, b, sealer
}

// fetchFrom is another device.
type fetchFrom struct {
	chunks  *store.Chunks
	fetched atomic.Int32
}

func (f *fetchFrom) Fetch(ctx context.Context, id store.ID) ([]byte, error) {
	f.fetched.Add(1)
	return f.chunks.Get(ctx, id, nil)
}

// copyManifests gives b the extent chunks of a body and nothing else.
func copyManifests(t *testing.T, a, b *store.Chunks, sealer *store.Sealer, body Body) {
	t.Helper()
	for {
		missing, err := walkChunks(context.Background(), b, sealer, body, func(store.ID, bool) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if len(missing) == 0 {
			return
		}
		for _, id := range missing {
			sealed, err := a.Get(context.Background(), id, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Put(context.Background(), id, sealed); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestManifestLoop: a few extent chunks that lead to each other again and again
// are no file of any size, but a malformed one.
func TestManifestLoop(t *testing.T) {
	env := testEnv(t, 0)
	child := extentRef{count: 2, alloc: 2, ptr: testPointer(1)} // nobody has it
	level := 1
	for ; level <= 2; level++ {
		children := make([]extentChild, 256)
		for i := range children {
			children[i] = extentChild{index: uint8(i), extentRef: child}
		}
		p, _, err := env.seal(ctx, store.ChunkExtents, plaintext{bytes: encodeExtentInner(nil, level, children)}, nil)
		ok(t, err)
		child = extentRef{count: 256 * child.count, alloc: 256 * child.alloc, ptr: p}
	}
	body := bodyInfo{form: formExtents, size: levelSize(level - 1), allocated: child.alloc, level: level - 1, ptr: child.ptr}.encode()
	calls := 0
	missing, err := walkChunks(ctx, walkable(env), env.sealer, body, func(store.ID, bool) error {
		calls++
		return nil
	})
	if !errors.Is(err, ErrBody) || calls > 10 {
		t.Errorf("%v after %d chunks, %d of them missing", err, calls, len(missing))
	}
	m := &marker{ctx: ctx, chunks: walkable(env), sealer: env.sealer, keep: func(store.ID) {}}
	if err := m.body(body); err != nil || len(m.found.Damaged) != 1 { // force may free the rest
		t.Errorf("marking: %v, %v damaged", err, m.found.Damaged)
	}
}

func TestMissingChunks(t *testing.T) {
	a, b, sealer := twoStores(t)
	data := randomBytes(30, 3<<20)
	c := newContent(startEnv(t, a, sealer, a.NewReader(sealer, nil), 0), "")
	mustWrite(t, c, data, 0)
	body := mustFlush(t, c)

	away := startEnv(t, b, sealer, b.NewReader(sealer, nil), 0)
	for range 2 { // without any chunk, then without data chunks
		_, err := newContent(away, body).ReadAt(context.Background(), make([]byte, 10), 100)
		if !errors.Is(err, syscall.EIO) || !errors.Is(err, store.ErrNotFound) {
			t.Errorf("reading a missing chunk: %v", err)
		}
		_, err = newContent(away, body).ReadBuffers(context.Background(), nil, 100, 10)
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("reading a missing chunk: %v", err)
		}
		copyManifests(t, a, b, sealer, body)
	}
	there := startEnv(t, b, sealer, b.NewReader(sealer, &fetchFrom{chunks: a}), 0)
	mustHold(t, newContent(there, body), data)
	mustHold(t, newContent(away, body), data)
}

// Changing a file of which only the extents are here fetches nothing.
func TestRewriteOfAbsentData(t *testing.T) {
	a, b, sealer := twoStores(t)
	data := randomBytes(31, 6<<20)
	home := startEnv(t, a, sealer, a.NewReader(sealer, nil), 0)
	c := newContent(home, "")
	mustWrite(t, c, data, 0)
	body := mustFlush(t, c)
	copyManifests(t, a, b, sealer, body)

	other := &fetchFrom{chunks: a}
	env := startEnv(t, b, sealer, b.NewReader(sealer, other), 0)
	c = newContent(env, body)
	for _, w := range []struct{ off, n int }{{1000, 10}, {70_000, 4096}, {1 << 20, 2 << 20}, {len(data), 100_000}} {
		p := randomBytes(uint64(w.off), w.n)
		data = append(data[:w.off], append(p, data[min(w.off+w.n, len(data)):]...)...)
		mustWrite(t, c, p, int64(w.off))
	}
	body = mustFlush(t, c)
	if n := other.fetched.Load(); n != 0 {
		t.Errorf("%d chunks were fetched", n)
	}
	mustHold(t, newContent(env, body), data)
}

func TestMalformedBody(t *testing.T) {
	env := testEnv(t, 0)
	c := newContent(env, "\x01\x09nonsense")
	ctx := context.Background()
	_, err := c.ReadAt(ctx, make([]byte, 1), 0)
	_, err2 := c.ReadBuffers(ctx, nil, 0, 1)
	_, err3 := c.WriteAt(ctx, make([]byte, 1), 0)
	_, err4 := c.Flush(ctx)
	for _, err := range []error{err, err2, err3, err4, c.Truncate(ctx, 1)} {
		if !errors.Is(err, syscall.EIO) || !errors.Is(err, ErrBody) {
			t.Errorf("%v", err)
		}
	}
	if c.Size() != 0 || c.Allocated() != 0 {
		t.Errorf("size %d, allocated %d", c.Size(), c.Allocated())
	}
}

func TestArguments(t *testing.T) {
	c := newContent(testEnv(t, 0), "")
	ctx := context.Background()
	_, err := c.ReadAt(ctx, nil, -1)
	_, err2 := c.WriteAt(ctx, []byte("x"), -1)
	for _, err := range []error{err, err2, c.Truncate(ctx, -1)} {
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v, want EINVAL", err)
		}
	}
	_, err = c.WriteAt(ctx, []byte("x"), fileMax)
	for _, err := range []error{err, c.Truncate(ctx, fileMax+1)} {
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("%v, want EFBIG", err)
		}
	}
	mustTruncate(t, c, fileMax)
	mustTruncate(t, newContent(c.env, mustFlush(t, c)), 5)
}

// A failure to seal in the background is told by the next write, once, and
// what failed is tried again.
func TestBackgroundFailure(t *testing.T) {
	chunks, sealer := testStore(t)
	fc := &failingChunks{Chunks: chunks}
	env := startEnv(t, fc, sealer, chunks.NewReader(sealer, nil), 0)
	ctx := context.Background()
	data := randomBytes(32, 8<<20)
	c := newContent(env, "")
	fc.full.Store(true)
	mustWrite(t, c, data[:1<<20], 0)
	drain(env)
	if n, err := c.WriteAt(ctx, data[1<<20:], 1<<20); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write after a failure: %d, %v", n, err)
	}
	drain(env)
	if _, err := c.Flush(ctx); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("flush: %v", err)
	}
	fc.full.Store(false)
	mustWrite(t, c, data[1<<20:], 1<<20)
	mustHold(t, c, data)
	mustHold(t, newContent(env, mustFlush(t, c)), data)
	if n := env.dirtyBytes(); n != 0 {
		t.Errorf("%d bytes of the budget are gone", n)
	}
}

// Who waits for memory that cannot be freed gets the reason.
func TestWaitingWriterIsRefused(t *testing.T) {
	chunks, sealer := testStore(t)
	fc := &failingChunks{Chunks: chunks}
	env := startEnv(t, fc, sealer, chunks.NewReader(sealer, nil), 1<<20)
	c, other := newContent(env, ""), newContent(env, "")
	fc.full.Store(true)
	for off := int64(0); env.dirtyBytes() < 800_000; off += 100_000 {
		mustWrite(t, c, randomBytes(uint64(off), 100_000), off)
	}
	done := make(chan error)
	go func() {
		_, err := other.WriteAt(context.Background(), make([]byte, 256<<10), 0)
		done <- err
	}()
	<-env.pressed()
	if _, err := c.Flush(context.Background()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("flush: %v", err)
	}
	if err := <-done; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("waiting write: %v", err)
	}
}

func TestCancelledWaits(t *testing.T) {
	env := testEnv(t, 256<<10)
	c := newContent(env, "")
	mustWrite(t, c, randomBytes(1, 200_000), 0)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := c.WriteAt(ctx, make([]byte, 100_000), 200_000)
		done <- err
	}()
	<-env.pressed() // it waits for memory, and keeps others from writing
	late, stop := context.WithCancel(context.Background())
	stop()
	if err := c.Truncate(late, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("Truncate: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("WriteAt: %v", err)
	}
	if _, err := c.Flush(late); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v", err)
	}
	mustHold(t, newContent(env, mustFlush(t, c)), randomBytes(1, 200_000))
	if n := env.dirtyBytes(); n != 0 {
		t.Errorf("%d bytes of the budget are gone", n)
	}
}

func TestDiscard(t *testing.T) {
	env := testEnv(t, 0)
	c := newContent(env, "")
	mustWrite(t, c, randomBytes(1, 5<<20), 0)
	mustWrite(t, c, randomBytes(2, 5000), 100_000)
	c.freeze()
	mustWrite(t, c, randomBytes(2, 5000), 8<<20)
	c.discard()
	drain(env)
	if n, d := env.dirtyBytes(), c.Dirty(); n != 0 || d != 0 {
		t.Errorf("%d bytes of the budget are gone, %d dirty", n, d)
	}
	if _, err := c.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("read after discard: %v", err)
	}
}

// Chunks that were stored early are told until a body has them.
func TestPendingChunks(t *testing.T) {
	env := testEnv(t, 0)
	c := newContent(env, "")
	mustWrite(t, c, randomBytes(1, 5<<20), 0)
	drain(env)
	pending := make(map[store.ID]bool)
	c.pendingChunks(func(id store.ID) { pending[id] = true })
	if len(pending) == 0 {
		t.Error("nothing was stored while writing")
	}
	ids := chunkIDs(t, env, mustFlush(t, c))
	for id := range pending {
		if !ids[id] {
			t.Errorf("chunk %v is not in the body", id)
		}
	}
	c.pendingChunks(func(id store.ID) { t.Errorf("chunk %v is still pending", id) })
}

// A body does not print what it must not.
func TestBodyPrintsNoKeys(t *testing.T) {
	b := (&bodyInfo{form: formChunk, size: 5000, ptr: testPointer(77)}).encode()
	if got := b.String() + b.GoString() + b.LogValue().String(); got != "body(chunk, 5000 bytes)body(chunk, 5000 bytes)body(chunk, 5000 bytes)" {
		t.Error(got)
	}
}

// A write that needs bytes from another device gets them, or the error; the
// flush never does.
func TestWriteToAbsentSmallFile(t *testing.T) {
	a, b, sealer := twoStores(t)
	data := randomBytes(33, 50_000)
	c := newContent(startEnv(t, a, sealer, a.NewReader(sealer, nil), 0), "")
	mustWrite(t, c, data, 0)
	body := mustFlush(t, c)

	alone := startEnv(t, b, sealer, b.NewReader(sealer, nil), 0)
	c = newContent(alone, body)
	if _, err := c.WriteAt(context.Background(), []byte("x"), 100); !errors.Is(err, syscall.EIO) || c.Changed() {
		t.Errorf("write: %v, changed: %v", err, c.Changed())
	}
	mustTruncate(t, c, 0)
	mustWrite(t, c, data[:10], 0)
	mustHold(t, newContent(alone, mustFlush(t, c)), data[:10])

	other := &fetchFrom{chunks: a}
	c = newContent(startEnv(t, b, sealer, b.NewReader(sealer, other), 0), body)
	mustWrite(t, c, []byte("x"), 100)
	if n := other.fetched.Load(); n != 1 {
		t.Errorf("%d chunks were fetched by the write", n)
	}
	data[100] = 'x'
	mustHold(t, newContent(alone, mustFlush(t, c)), data)
}
