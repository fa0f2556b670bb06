package vol

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"bazil/store"
)

// countedChunks counts what is put.
type countedChunks struct {
	chunkStore
	puts int
	gone bool // it has nothing
}

func (c *countedChunks) Put(ctx context.Context, id store.ID, sealed []byte) (bool, error) {
	c.puts++
	return c.chunkStore.Put(ctx, id, sealed)
}

func (c *countedChunks) Has(id store.ID) bool { return !c.gone && c.chunkStore.Has(id) }

// What was sealed before is not sealed again, unless the store lost it.
func TestSealedAgain(t *testing.T) {
	chunks, sealer := testStore(t)
	counted := &countedChunks{chunkStore: chunks}
	env := startEnv(t, counted, sealer, chunks.NewReader(sealer, nil), 0)
	for i, data := range [][]byte{textBytes(1, 50_000), randomBytes(1, 50_000)} {
		counted.puts = 0
		var bodies []Body
		for range 3 {
			c := newContent(env, "")
			mustWrite(t, c, data, 0)
			bodies = append(bodies, mustFlush(t, c))
		}
		if counted.puts != 1 || bodies[1] != bodies[0] || bodies[2] != bodies[0] {
			t.Errorf("data %d: %d chunks stored for one, bodies equal: %v %v", i, counted.puts, bodies[1] == bodies[0], bodies[2] == bodies[0])
		}
		counted.gone = true
		c := newContent(env, "")
		mustWrite(t, c, data, 0)
		if body := mustFlush(t, c); counted.puts != 2 || body != bodies[0] {
			t.Errorf("data %d: a chunk that the store does not have was stored %d times", i, counted.puts-1)
		}
		counted.gone = false
	}
}

// The types of chunks are kept apart.
func TestSealedAsAnother(t *testing.T) {
	env := testEnv(t, 0)
	ctx, plain := context.Background(), plaintext{bytes: randomBytes(1, 10_000)}
	a, _, err := env.seal(ctx, store.ChunkData, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := env.seal(ctx, store.ChunkExtents, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Error("one pointer for chunks of two types")
	}
}

func TestRecentSealsBound(t *testing.T) {
	r := newRecentSeals()
	sum := func(i int) *store.Key {
		var k store.Key
		binary.LittleEndian.PutUint64(k[:], uint64(i))
		return &k
	}
	used := sum(0)
	for i := range 4 * recentMax {
		r.add(sum(i), store.Pointer{Key: *sum(i)})
		if p, ok := r.find(used); !ok || p.Key != *used {
			t.Fatalf("what is used all the time is forgotten after %d others", i)
		}
		if n := len(r.young) + len(r.old); n > 2*recentMax {
			t.Fatalf("%d are remembered", n)
		}
	}
	if _, ok := r.find(sum(1)); ok {
		t.Error("what was sealed long ago is remembered")
	}
}

// What was cut off a stream stays as it is whatever is written afterwards, and
// is in memory that holds nothing else.
func TestTakenPiecesStay(t *testing.T) {
	data := randomBytes(3, 6<<20)
	s := splitStream{start: 0}
	var pieces []*streamPiece
	for at := 0; at < len(data); at += 300_000 {
		s.append(data[at:min(at+300_000, len(data))])
		if len(s.buf) >= store.MaxPlain {
			pieces = append(pieces, s.take(200_000))
		}
	}
	pieces = append(pieces, s.take(len(s.buf)))
	for _, p := range pieces {
		if !bytes.Equal(p.data, data[p.off:p.off+p.n]) {
			t.Fatalf("the piece at %d has changed", p.off)
		}
		if cap(p.data) > len(p.data)+len(p.data)/8+8<<10 {
			t.Fatalf("the piece at %d, of %d bytes, holds %d", p.off, len(p.data), cap(p.data))
		}
	}
}
