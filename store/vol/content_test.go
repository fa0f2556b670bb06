package vol

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"bazil/store"
)

// testStore opens a data directory of its own.
func testStore(tb testing.TB) (*store.Chunks, *store.Sealer) {
	tb.Helper()
	return testStoreWith(tb, store.Options{})
}

func testStoreWith(tb testing.TB, o store.Options) (*store.Chunks, *store.Sealer) {
	tb.Helper()
	dir := tb.TempDir() + "/data"
	if err := store.Create(dir); err != nil {
		tb.Fatal(err)
	}
	s, err := store.Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	key, err := s.SharingKey("default")
	if err != nil {
		tb.Fatal(err)
	}
	return s.Chunks(), store.NewSealer(key)
}

// testEnv starts an env on a store of its own.
func testEnv(tb testing.TB, dirtyLimit int64) *contentEnv {
	tb.Helper()
	chunks, sealer := testStore(tb)
	return startEnv(tb, chunks, sealer, chunks.NewReader(sealer, nil), dirtyLimit)
}

func startEnv(tb testing.TB, chunks chunkStore, sealer *store.Sealer, r *store.Reader, dirtyLimit int64) *contentEnv {
	e := newEnv(chunks, sealer, r, dirtyLimit)
	e.start()
	tb.Cleanup(e.close)
	return e
}

// randomBytes are the same for the same seed.
func randomBytes(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	p := make([]byte, n)
	rand.NewChaCha8(key).Read(p)
	return p
}

// textBytes compress, and do not repeat.
func textBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%d the quick brown fox %x jumps over the lazy dog\n", r.IntN(1000), r.IntN(1<<16))
	}
	return b.Bytes()[:n]
}

func mustWrite(tb testing.TB, c *content, p []byte, off int64) {
	tb.Helper()
	if n, err := c.WriteAt(context.Background(), p, off); err != nil || n != len(p) {
		tb.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
	}
}

func mustTruncate(tb rapid.TB, c *content, size int64) {
	tb.Helper()
	if err := c.Truncate(context.Background(), size); err != nil {
		tb.Fatalf("Truncate(%d): %v", size, err)
	}
}

// mustFlush flushes all there is.
func mustFlush(tb testing.TB, c *content) Body {
	tb.Helper()
	for {
		b, err := c.Flush(context.Background())
		if err != nil {
			tb.Fatalf("Flush: %v", err)
		}
		if err := b.Validate(); err != nil {
			tb.Fatalf("Flush returned %v: %v", b, err)
		}
		if !c.Changed() {
			return b
		}
	}
}

// mustHold compares all bytes of a file, read in two ways.
func mustHold(tb testing.TB, c *content, want []byte) {
	tb.Helper()
	if c.Size() != int64(len(want)) {
		tb.Fatalf("size is %d, want %d", c.Size(), len(want))
	}
	got := make([]byte, len(want)+1)
	n, err := c.ReadAt(context.Background(), got, 0)
	if err != nil {
		tb.Fatalf("ReadAt: %v", err)
	}
	mustEqual(tb, got[:n], want)
	bufs, err := c.ReadBuffers(context.Background(), nil, 0, len(got))
	if err != nil {
		tb.Fatalf("ReadBuffers: %v", err)
	}
	mustEqual(tb, bytes.Join(bufs, nil), want)
}

func mustEqual(tb testing.TB, got, want []byte) {
	tb.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			tb.Fatalf("byte %d of %d (of %d) is %#x, want %#x", i, len(got), len(want), got[i], want[i])
		}
	}
	tb.Fatalf("%d bytes, want %d", len(got), len(want))
}

func TestForms(t *testing.T) {
	env := testEnv(t, 0)
	for _, size := range []int{0, 1, 4096, 4097, 65536, 65537, 1 << 20, 5<<20 + 3} {
		data := randomBytes(uint64(size), size)
		c := newContent(env, "")
		mustWrite(t, c, data, 0)
		mustHold(t, c, data)
		body := mustFlush(t, c)
		mustHold(t, c, data)
		if body.Size() != int64(size) || body.Allocated() != int64(size) {
			t.Errorf("%d bytes: %v, allocated %d", size, body, body.Allocated())
		}
		again := newContent(env, body)
		mustHold(t, again, data)
		if b := mustFlush(t, again); b != body {
			t.Errorf("%d bytes: body changed without a write", size)
		}
	}
}

func TestHoles(t *testing.T) {
	env := testEnv(t, 0)
	c := newContent(env, "")
	const far = 16 << 40
	mustWrite(t, c, []byte("start"), 0)
	mustWrite(t, c, []byte("end"), far)
	body := mustFlush(t, c)
	if body.Size() != far+3 || body.Allocated() > 2*blockSize {
		t.Fatalf("%v, allocated %d", body, body.Allocated())
	}
	c = newContent(env, body)
	for off, want := range map[int64]string{0: "start\x00\x00\x00", far - 2: "\x00\x00end", 1 << 40: "\x00\x00\x00\x00"} {
		got := make([]byte, 8)
		n, err := c.ReadAt(context.Background(), got[:len(want)], off)
		if err != nil || string(got[:n]) != want {
			t.Errorf("at %d: %q, %v, want %q", off, got[:n], err, want)
		}
	}
	mustTruncate(t, c, 1<<40)
	mustTruncate(t, c, 3<<40)
	body = mustFlush(t, c)
	if body.Size() != 3<<40 || body.Allocated() > blockSize {
		t.Fatalf("%v, allocated %d", body, body.Allocated())
	}
	mustTruncate(t, c, 0)
	mustTruncate(t, c, 1<<20)
	if body = mustFlush(t, c); body.Allocated() != 0 {
		t.Fatalf("%v, allocated %d", body, body.Allocated())
	}
	mustHold(t, c, make([]byte, 1<<20))
}

// Zeros are holes, whoever wrote them.
func TestZerosAreNotStored(t *testing.T) {
	env := testEnv(t, 0)
	c := newContent(env, "")
	mustWrite(t, c, make([]byte, 5<<20), 0)
	if b := mustFlush(t, c); b.Allocated() != 0 || b.Size() != 5<<20 {
		t.Errorf("%v, allocated %d", b, b.Allocated())
	}
}

// One stream gives one body, however it was cut up by writes and flushes.
func TestCanonicalStream(t *testing.T) {
	env := testEnv(t, 0)
	for _, size := range []int{100, 5000, 60000, 70000, 400000, 5 << 20} {
		data := randomBytes(7, size)
		c := newContent(env, "")
		mustWrite(t, c, data, 0)
		want := mustFlush(t, c)
		for seed := range uint64(3) {
			r := rand.New(rand.NewPCG(seed, 3))
			c := newContent(env, "")
			for off := 0; off < size; {
				n := min(1+r.IntN(size/4), size-off)
				mustWrite(t, c, data[off:off+n], int64(off))
				off += n
				switch r.IntN(4) {
				case 0:
					mustFlush(t, c)
				case 1:
					c = newContent(env, mustFlush(t, c))
				case 2:
					c.freeze()
				}
			}
			c.settle()
			if got := mustFlush(t, c); got != want {
				t.Errorf("%d bytes, seed %d: another body", size, seed)
			}
			mustHold(t, c, data)
		}
	}
}

// Many small appends, each flushed, end up as one stream.
func TestCanonicalAppends(t *testing.T) {
	env := testEnv(t, 0)
	data := randomBytes(8, 3<<20)
	c := newContent(env, "")
	mustWrite(t, c, data, 0)
	want := mustFlush(t, c)
	c = newContent(env, "")
	for off := 0; off < len(data); {
		n := min(30000, len(data)-off)
		if at, _, err := c.Append(context.Background(), data[off:off+n]); err != nil || at != int64(off) {
			t.Fatal(at, err)
		}
		off += n
		mustFlush(t, c)
	}
	c.settle()
	if got := mustFlush(t, c); got != want {
		t.Error("appends gave another body than one write")
	}
	mustHold(t, c, data)
}

// Writes of one sequence that overtake each other give the same body.
func TestCanonicalReordered(t *testing.T) {
	env := testEnv(t, 0)
	data := randomBytes(9, 5<<20)
	c := newContent(env, "")
	mustWrite(t, c, data, 0)
	want := mustFlush(t, c)
	for seed := range uint64(2) {
		c := newContent(env, "")
		r := rand.New(rand.NewPCG(seed, 4))
		const step = 100_000
		var offs []int
		for off := 0; off < len(data); off += step {
			offs = append(offs, off)
		}
		for i := range offs {
			k := min(i+r.IntN(8), len(offs)-1)
			offs[i], offs[k] = offs[k], offs[i]
		}
		for _, off := range offs {
			mustWrite(t, c, data[off:min(off+step, len(data))], int64(off))
		}
		if got := mustFlush(t, c); got != want {
			t.Errorf("seed %d: another body", seed)
		}
		mustHold(t, c, data)
	}
}

// A sequence that is cut short and goes on gives the same body.
func TestCanonicalTruncated(t *testing.T) {
	env := testEnv(t, 0)
	data := randomBytes(15, 6<<20)
	c := newContent(env, "")
	mustWrite(t, c, data, 0)
	want := mustFlush(t, c)
	for _, at := range []int{3<<20 - 5, 2 << 20, 1_100_000, 300_000, 5000} {
		for _, flush := range []bool{false, true} {
			c := newContent(env, "")
			mustWrite(t, c, data[:at], 0)
			mustWrite(t, c, randomBytes(16, 3<<20), int64(at))
			if flush {
				mustFlush(t, c)
			}
			mustTruncate(t, c, int64(at))
			mustWrite(t, c, data[at:], int64(at))
			if got := mustFlush(t, c); got != want {
				t.Errorf("cut at %d, flushed before: %v: another body", at, flush)
			}
			mustHold(t, c, data)
		}
	}
}

// A sequence that goes on behind a flush that failed gives the same body.
func TestCanonicalAfterFailure(t *testing.T) {
	chunks, sealer := testStore(t)
	fc := &failingChunks{Chunks: chunks}
	env := startEnv(t, fc, sealer, chunks.NewReader(sealer, nil), 0)
	data := randomBytes(17, 5<<20)
	c := newContent(env, "")
	mustWrite(t, c, data, 0)
	want := mustFlush(t, c)
	c = newContent(env, "")
	mustWrite(t, c, data[:1<<20], 0)
	mustFlush(t, c)
	mustWrite(t, c, data[1<<20:1<<20+20_000], 1<<20)
	fc.full.Store(true)
	if _, err := c.Flush(context.Background()); err == nil {
		t.Fatal("the flush did not fail")
	}
	fc.full.Store(false)
	mustWrite(t, c, data[1<<20+20_000:], 1<<20+20_000)
	c.settle()
	if got := mustFlush(t, c); got != want {
		t.Error("another body")
	}
	mustHold(t, c, data)
}

// When a flush comes between writes that overtake each other, what follows is
// a sequence again.
func TestStreamGoesOnBehindGap(t *testing.T) {
	env := testEnv(t, 0)
	c := newContent(env, "")
	data := randomBytes(18, 5<<20)
	mustWrite(t, c, data[:1<<20], 0)
	mustWrite(t, c, data[1<<20+50_000:1<<20+100_000], 1<<20+50_000)
	mustFlush(t, c)
	mustWrite(t, c, data[1<<20+100_000:], 1<<20+100_000)
	mustWrite(t, c, data[1<<20:1<<20+50_000], 1<<20)
	drain(env)
	if n := c.Dirty(); n > 2<<20 {
		t.Errorf("%d bytes wait for a flush", n)
	}
	mustHold(t, c, data)
	mustHold(t, newContent(env, mustFlush(t, c)), data)
}

// A rewrite of a few bytes stores a block, not the chunk.
func TestRewriteInPlace(t *testing.T) {
	env := testEnv(t, 0)
	data := randomBytes(10, 8<<20)
	c := newContent(env, "")
	mustWrite(t, c, data, 0)
	before := chunkIDs(t, env, mustFlush(t, c))
	for i := range 20 {
		off := (i*777_777 + 13) % (len(data) - 5000)
		p := randomBytes(uint64(i), 5000)
		copy(data[off:], p)
		mustWrite(t, c, p, int64(off))
	}
	body := mustFlush(t, c)
	mustHold(t, c, data)
	mustHold(t, newContent(env, body), data)
	after := chunkIDs(t, env, body)
	fresh := 0
	for id := range after {
		if !before[id] {
			fresh++
		}
	}
	if fresh > 20*2+2 {
		t.Errorf("%d new chunks for 20 rewrites", fresh)
	}
}

// A long rewrite meets the old boundaries again behind its end.
func TestRewriteLongRun(t *testing.T) {
	env := testEnv(t, 0)
	data := randomBytes(11, 14<<20)
	c := newContent(env, "")
	mustWrite(t, c, data, 0)
	mustFlush(t, c)
	for i, run := range [][2]int{{3<<20 + 12345, 2<<20 + 77}, {1<<20 + 1, 10 << 20}} {
		p := randomBytes(uint64(12+i), run[1])
		copy(data[run[0]:], p)
		mustWrite(t, c, p, int64(run[0]))
		got := mustFlush(t, c)
		mustHold(t, c, data)
		whole := newContent(env, "")
		mustWrite(t, whole, data, 0)
		if want := mustFlush(t, whole); got != want {
			t.Errorf("%d bytes at %d: another body than that of the same file written at once", run[1], run[0])
		}
	}
}

func walkable(env *contentEnv) *store.Chunks {
	if f, ok := env.chunks.(*failingChunks); ok {
		return f.Chunks
	}
	return env.chunks.(*store.Chunks)
}

// chunkIDs are the chunks of a body.
func chunkIDs(tb testing.TB, env *contentEnv, b Body) map[store.ID]bool {
	tb.Helper()
	ids := make(map[store.ID]bool)
	missing, err := walkChunks(context.Background(), walkable(env), env.sealer, b, func(id store.ID, _ bool) error {
		ids[id] = true
		return nil
	})
	if err != nil || len(missing) > 0 {
		tb.Fatalf("walkChunks: %v, %d missing", err, len(missing))
	}
	return ids
}

// A sequence of writes runs over what was written in place beyond its end.
func TestStreamOverBlocks(t *testing.T) {
	env := testEnv(t, 0)
	c := newContent(env, "")
	data := randomBytes(13, 300_000)
	mustWrite(t, c, randomBytes(14, 100_000), 70_000)
	mustWrite(t, c, data[:150_000], 0)
	mustWrite(t, c, data[150_000:], 150_000)
	mustHold(t, c, data)
	body := mustFlush(t, c)
	mustHold(t, newContent(env, body), data)
	mustWrite(t, c, data[:10], 0)
	if mustFlush(t, c); c.Dirty() != 0 {
		t.Errorf("%d bytes dirty after a flush", c.Dirty())
	}
}

// A file that was made longer is appended to behind the hole.
func TestAppendBehindHole(t *testing.T) {
	env := testEnv(t, 0)
	c := newContent(env, "")
	data := make([]byte, 2<<20)
	copy(data, randomBytes(19, 200_000))
	copy(data[1<<20:], randomBytes(20, 1<<20))
	mustWrite(t, c, data[:200_000], 0)
	mustTruncate(t, c, 1<<20)
	mustWrite(t, c, data[1<<20:], 1<<20)
	mustHold(t, c, data)
	body := mustFlush(t, c)
	mustHold(t, newContent(env, body), data)
	if body.Allocated() > 1<<20+200_000 {
		t.Errorf("%d bytes allocated", body.Allocated())
	}
}

// A stream takes in what was rewritten before it in its unfinished chunk, and
// is then cut short.
func TestRewriteTakenIntoStream(t *testing.T) {
	env := testEnv(t, 0)
	data := randomBytes(21, 2_500_000)
	c := newContent(env, "")
	mustWrite(t, c, data[:700_000], 0)
	c = newContent(env, mustFlush(t, c))
	copy(data[690_000:], "rewritten")
	mustWrite(t, c, data[690_000:690_009], 690_000)
	mustWrite(t, c, data[700_000:], 700_000)
	mustHold(t, c, data)
	mustTruncate(t, c, 695_000)
	mustHold(t, c, data[:695_000])
	mustHold(t, newContent(env, mustFlush(t, c)), data[:695_000])
}

// TestPackedBody: a small file that compresses is kept packed, goes on as any
// other when it is rewritten or grows, and is refused when it was tampered with.
func TestPackedBody(t *testing.T) {
	env := testEnv(t, 0)
	want := textBytes(1, 3000)
	c := newContent(env, "")
	mustWrite(t, c, want, 0)
	body := mustFlush(t, c)
	if info, err := body.parse(); err != nil || info.form != formPacked || len(body) > 2000 || body.Size() != 3000 {
		t.Fatalf("%v of %d bytes, %v", body, len(body), err)
	}
	c = mustOpenContent(t, env, body)
	mustHold(t, c, want)
	mustWrite(t, c, []byte("other"), 1000)
	copy(want[1000:], "other")
	c = mustOpenContent(t, env, mustFlush(t, c))
	mustHold(t, c, want)
	more := randomBytes(1, 100_000)
	mustWrite(t, c, more, 3000)
	want = append(want, more...)
	c = mustOpenContent(t, env, mustFlush(t, c))
	mustHold(t, c, want)
	mustTruncate(t, c, 2999)
	c = mustOpenContent(t, env, mustFlush(t, c))
	mustHold(t, c, want[:2999])

	bad := []byte(body)
	bad[len(bad)/2] ^= 1
	bad = append(bad, 1, 2, 3)
	p := make([]byte, 10)
	if _, err := newContent(env, Body(bad)).ReadAt(context.Background(), p, 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("tampered body: %v", err)
	}
}

func mustOpenContent(t *testing.T, env *contentEnv, b Body) *content {
	t.Helper()
	c := newContent(env, b)
	if c.bad != nil {
		t.Fatal(c.bad)
	}
	return c
}

// TestInlineBytesBetween: a file that was inline and grows keeps what it had
// behind bytes that were rewritten at its beginning.
func TestInlineBytesBetween(t *testing.T) {
	c := newContent(testEnv(t, 0), "")
	want := make([]byte, 65537)
	write := func(p []byte, off int64) {
		mustWrite(t, c, p, off)
		copy(want[off:], p)
	}
	mustTruncate(t, c, 1)
	write([]byte("bcd"), 1)
	mustFlush(t, c)
	write([]byte("z"), 65536)
	write([]byte("a"), 0)
	mustHold(t, c, want)
	mustFlush(t, c)
	mustHold(t, c, want)
}
