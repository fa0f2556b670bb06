package vol

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"bazil/store"
)

// modelFile is what a file should hold: pages that were written to.
type modelFile struct {
	size  int64
	pages map[int64]*[pageSize]byte
}

func (m *modelFile) write(p []byte, off int64) {
	m.size = max(m.size, off+int64(len(p)))
	for len(p) > 0 {
		page := m.pages[off/pageSize]
		if page == nil {
			page = new([pageSize]byte)
			m.pages[off/pageSize] = page
		}
		n := copy(page[off%pageSize:], p)
		p = p[n:]
		off += int64(n)
	}
}

func (m *modelFile) truncate(size int64) {
	for i, page := range m.pages {
		if at := size - i*pageSize; at <= 0 {
			delete(m.pages, i)
		} else if at < pageSize {
			clear(page[at:])
		}
	}
	m.size = size
}

func (m *modelFile) read(off int64, n int) []byte {
	n = int(max(min(int64(n), m.size-off), 0))
	p := make([]byte, n)
	for i := 0; i < n; {
		at := off + int64(i)
		k := min(n-i, int(pageSize-at%pageSize))
		if page := m.pages[at/pageSize]; page != nil {
			copy(p[i:i+k], page[at%pageSize:])
		}
		i += k
	}
	return p
}

// failingChunks is a chunk store that can refuse to store.
type failingChunks struct {
	*store.Chunks
	full atomic.Bool
}

func (f *failingChunks) Put(ctx context.Context, id store.ID, sealed []byte) (bool, error) {
	if f.full.Load() {
		return false, syscall.ENOSPC
	}
	return f.Chunks.Put(ctx, id, sealed)
}

// modelRun is a content and the model it is compared with.
type modelRun struct {
	env    *contentEnv
	chunks *failingChunks
	c      *content
	m      modelFile
	cursor int64 // where a sequence of writes stands
}

func (r *modelRun) offset(t *rapid.T) int64 {
	switch rapid.IntRange(0, 6).Draw(t, "where") {
	case 0, 1:
		return r.m.size
	case 2, 3:
		return r.cursor
	case 4:
		return rapid.Int64Range(0, r.m.size).Draw(t, "off")
	case 5:
		return rapid.Int64Range(0, r.m.size/blockSize+1).Draw(t, "block") * blockSize
	}
	return 1<<rapid.IntRange(10, 44).Draw(t, "far") + rapid.Int64Range(-3, 3).Draw(t, "near")
}

func (r *modelRun) length(t *rapid.T) int {
	switch rapid.IntRange(0, 19).Draw(t, "how much") {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		return rapid.IntRange(1, 300).Draw(t, "n")
	case 8, 9, 10, 11, 12, 13:
		return rapid.IntRange(1, 20).Draw(t, "pages") * pageSize
	case 14:
		return rapid.IntRange(1<<20, 2<<20).Draw(t, "n")
	}
	return rapid.IntRange(300, 200_000).Draw(t, "n")
}

func (r *modelRun) write(t *rapid.T) {
	off := r.offset(t)
	p := randomBytes(rapid.Uint64().Draw(t, "seed"), r.length(t))
	if rapid.IntRange(0, 9).Draw(t, "zero") == 0 {
		clear(p)
	}
	n, err := r.c.WriteAt(context.Background(), p, off)
	if errors.Is(err, syscall.ENOSPC) { // what was written before; once
		k, err2 := r.c.WriteAt(context.Background(), p[n:], off+int64(n))
		n, err = n+k, err2
	}
	if err != nil || n != len(p) {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
	r.m.write(p, off)
	r.cursor = off + int64(len(p))
}

func (r *modelRun) truncate(t *rapid.T) {
	size := rapid.Int64Range(0, 2*r.m.size+100).Draw(t, "size")
	if rapid.Bool().Draw(t, "end") && r.m.size > 0 {
		size = r.m.size - rapid.Int64Range(0, min(r.m.size, 500_000)).Draw(t, "by")
	}
	mustTruncate(t, r.c, size)
	r.m.truncate(size)
	r.cursor = size
}

func (r *modelRun) flush(t *rapid.T) Body {
	b, err := r.c.Flush(context.Background())
	for err == nil && r.c.Changed() {
		b, err = r.c.Flush(context.Background())
	}
	if err != nil {
		t.Fatalf("Flush: %v", err)
	}
	if b.Size() != r.m.size || b.Allocated() > int64(len(r.m.pages)+1)*blockSize {
		t.Fatalf("%v with %d allocated: size should be %d, with %d pages", b, b.Allocated(), r.m.size, len(r.m.pages))
	}
	if r.c.Dirty() != 0 {
		drain(r.env) // chunks that a truncation made useless
	}
	if r.c.Dirty() != 0 {
		t.Fatalf("%d bytes dirty after a flush", r.c.Dirty())
	}
	return b
}

// drain returns when all jobs that were submitted before are done: when each
// worker is busy with nothing but waiting for the others.
func drain(env *contentEnv) {
	var all sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	all.Add(n)
	for range n {
		env.pool.submit(func(_ context.Context, buf []byte) []byte {
			all.Done()
			all.Wait()
			return buf
		})
	}
	all.Wait()
}

// failFlush tries a flush that cannot store anything.
func (r *modelRun) failFlush(t *rapid.T) {
	r.chunks.full.Store(true)
	_, err := r.c.Flush(context.Background())
	r.chunks.full.Store(false)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Flush: %v", err)
	}
}

func (r *modelRun) check(t *rapid.T) {
	if r.c.Size() != r.m.size {
		t.Fatalf("size is %d, want %d", r.c.Size(), r.m.size)
	}
	off := max(r.cursor-rapid.Int64Range(0, 100_000).Draw(t, "back"), 0)
	r.compare(t, off, rapid.IntRange(1, 100_000).Draw(t, "n"))
}

func (r *modelRun) compare(t *rapid.T, off int64, n int) {
	want := r.m.read(off, n)
	got := make([]byte, n)
	k, err := r.c.ReadAt(context.Background(), got, off)
	if err != nil || !bytes.Equal(got[:k], want) {
		t.Fatalf("ReadAt(%d, %d) = %d, %v: differs: %v", off, n, k, err, firstDifference(got[:k], want))
	}
	bufs, err := r.c.ReadBuffers(context.Background(), nil, off, n)
	if err != nil || !bytes.Equal(bytes.Join(bufs, nil), want) {
		t.Fatalf("ReadBuffers(%d, %d): %v, or differs", off, n, err)
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// compareAll compares all that was ever written, and what is around it.
func (r *modelRun) compareAll(t *rapid.T) {
	for i := range r.m.pages {
		if r.m.pages[i-1] == nil {
			n := int64(1)
			for r.m.pages[i+n] != nil && n < 1000 {
				n++
			}
			r.compare(t, max(i-2, 0)*pageSize, int(n+4)*pageSize)
		}
	}
}

func TestContentAgainstModel(t *testing.T) {
	chunks, sealer := testStore(t)
	fc := &failingChunks{Chunks: chunks}
	reader := chunks.NewReader(sealer, nil)
	rapid.Check(t, func(t *rapid.T) {
		env := newEnv(fc, sealer, reader, 0)
		env.start()
		t.Cleanup(env.close)
		r := &modelRun{env: env, chunks: fc, c: newContent(env, ""), m: modelFile{pages: make(map[int64]*[pageSize]byte)}}
		t.Repeat(map[string]func(*rapid.T){
			"write":    r.write,
			"write2":   r.write,
			"write3":   r.write,
			"truncate": r.truncate,
			"flush":    func(t *rapid.T) { r.flush(t) },
			"fail":     r.failFlush,
			"freeze":   func(*rapid.T) { r.c.freeze() },
			"settle":   func(*rapid.T) { r.c.settle() },
			"reopen":   func(t *rapid.T) { r.c = newContent(env, r.flush(t)) },
			"":         r.check,
		})
		r.compareAll(t)
		r.c = newContent(env, r.flush(t))
		r.compareAll(t)
		if env.dirtyBytes() != 0 {
			t.Fatalf("%d bytes of the budget are gone", env.dirtyBytes())
		}
	})
}

// Reads, writes and flushes of one file go on at the same time.
func TestContentConcurrently(t *testing.T) {
	env := testEnv(t, 4<<20)
	c := newContent(env, "")
	const size = 6 << 20
	data := randomBytes(20, size)
	stop := committer(t, env, c)
	done := make(chan error, 3)
	for w := range 3 { // each writes its own third, in sequence and again in place
		go func() {
			r := rand.New(rand.NewPCG(uint64(w), 5))
			lo, hi := w*size/3, (w+1)*size/3
			for off := lo; off < hi; {
				n := min(1+r.IntN(200_000), hi-off)
				if _, err := c.WriteAt(context.Background(), data[off:off+n], int64(off)); err != nil {
					done <- err
					return
				}
				at := lo + r.IntN(off+n-lo)
				k := min(1+r.IntN(9000), off+n-at)
				if _, err := c.WriteAt(context.Background(), data[at:at+k], int64(at)); err != nil {
					done <- err
					return
				}
				p := make([]byte, k)
				if got, err := c.ReadAt(context.Background(), p, int64(at)); err != nil || !bytes.Equal(p[:got], data[at:at+k]) {
					done <- errors.Join(err, errors.New("read something else than was written"))
					return
				}
				off += n
			}
			done <- nil
		}()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	stop()
	mustHold(t, c, data)
	mustHold(t, newContent(env, mustFlush(t, c)), data)
}

// committer flushes files whenever writers wait, as a volume does.
func committer(tb testing.TB, env *contentEnv, files ...*content) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-env.pressed():
			case <-ctx.Done():
				return
			}
			for _, c := range files {
				if _, err := c.Flush(context.Background()); err != nil {
					tb.Error(err)
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}

// Many files share a budget far smaller than any of them.
func TestTinyDirtyBudget(t *testing.T) {
	env := testEnv(t, 256<<10)
	const size, n = 2 << 20, 6
	files := make([]*content, n)
	for i := range files {
		files[i] = newContent(env, "")
	}
	stop := committer(t, env, files...)
	done := make(chan error, n)
	for i, c := range files {
		go func() {
			data := randomBytes(uint64(i), size)
			for off := 0; off < size; off += 50_000 {
				if _, err := c.WriteAt(context.Background(), data[off:min(off+50_000, size)], int64(off)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range files {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	stop()
	for i, c := range files {
		mustFlush(t, c)
		mustHold(t, c, randomBytes(uint64(i), size))
	}
	if n := env.dirtyBytes(); n != 0 {
		t.Errorf("%d bytes of the budget are gone", n)
	}
}
