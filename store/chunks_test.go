package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// chunk is a fake sealed chunk: any bytes will do, as long as the ID is theirs.
type chunk struct {
	id     ID
	sealed []byte
}

func newChunk(seed uint64, size int) chunk {
	b := make([]byte, max(size, MinSealed))
	for i := 0; i+8 <= len(b); i += 8 {
		seed = seed*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], seed^seed>>29)
	}
	return chunk{sealedID(b), b}
}

func mustPut(t testing.TB, c *Chunks, ch chunk) bool {
	t.Helper()
	isNew, err := c.Put(context.Background(), ch.id, ch.sealed)
	if err != nil {
		t.Fatal(err)
	}
	return isNew
}

func mustGet(t testing.TB, c *Chunks, ch chunk) {
	t.Helper()
	got, err := c.Get(context.Background(), ch.id, nil)
	if err != nil || !bytes.Equal(got, ch.sealed) {
		t.Fatalf("chunk of %d bytes: %v", len(ch.sealed), err)
	}
	if !c.Has(ch.id) {
		t.Fatalf("Has denies chunk %v", ch.id)
	}
}

func mustSync(t testing.TB, c *Chunks) {
	t.Helper()
	if err := c.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestChunksPutGet(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{SegmentSize: 256 << 10})
	c := s.Chunks()
	ctx := context.Background()
	var all []chunk
	for i := range 200 {
		ch := newChunk(uint64(i), 24+i*97)
		all = append(all, ch)
		if c.Has(ch.id) || !mustPut(t, c, ch) || mustPut(t, c, ch) {
			t.Fatal("wrong about what is new")
		}
		mustGet(t, c, ch)
	}
	if _, err := c.Get(ctx, ID{1}, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
	for _, n := range []int{0, MinSealed - 1, MaxSealed + 1} {
		if _, err := c.Put(ctx, ID{1}, make([]byte, n)); !errors.Is(err, ErrTooBig) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	pre := []byte("pre")
	if got, err := c.Get(ctx, all[5].id, pre); err != nil || !bytes.Equal(got, append(pre, all[5].sealed...)) {
		t.Errorf("does not append: %v", err)
	}
	mustSync(t, c)
	st := c.Stats()
	if st.Chunks != 200 || st.Segments < 8 {
		t.Errorf("stats %+v", st)
	}
	for round := range 3 {
		mustClose(t, s)
		if _, err := c.Put(ctx, newChunk(9999, 100).id, newChunk(9999, 100).sealed); !errors.Is(err, ErrClosed) {
			t.Errorf("put after close: %v", err)
		}
		s = mustOpen(t, dir, Options{SegmentSize: 256 << 10})
		c = s.Chunks()
		for _, ch := range all {
			mustGet(t, c, ch)
		}
		all = append(all, newChunk(uint64(1000+round), 5000))
		mustPut(t, c, all[len(all)-1])
	}
	mustClose(t, s)
}

// settle waits until every full segment has its footer and tables are merged.
func settle(t testing.TB, c *Chunks) {
	t.Helper()
	c.sealAll()
	if err := c.mergeTables(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestIndexTablesMerge(t *testing.T) {
	dir := newDir(t)
	o := Options{SegmentSize: 16 << 10}
	s := mustOpen(t, dir, o)
	var all []chunk
	for i := range 1500 {
		all = append(all, newChunk(uint64(i), 1000))
		mustPut(t, s.Chunks(), all[i])
	}
	mustSync(t, s.Chunks())
	settle(t, s.Chunks())
	if st := s.Chunks().Stats(); st.Tables >= 2*mergeFanIn || st.Segments < 90 {
		t.Errorf("stats %+v", st)
	}
	mustClose(t, s)

	// Nothing but segments: the index comes from footers.
	if err := os.RemoveAll(filepath.Join(dir, indexDir)); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, o)
	for _, ch := range all {
		mustGet(t, s.Chunks(), ch)
	}
	settle(t, s.Chunks())
	for _, ch := range all {
		mustGet(t, s.Chunks(), ch)
	}
	if st := s.Chunks().Stats(); st.Tables >= 2*mergeFanIn || st.Chunks != 1500 {
		t.Errorf("stats after rebuild %+v", st)
	}
	mustClose(t, s)
}

func TestChunksConcurrent(t *testing.T) {
	s := mustOpen(t, newDir(t), Options{SegmentSize: 128 << 10})
	defer mustClose(t, s)
	c := s.Chunks()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 150 {
				ch := newChunk(uint64(i/2+w%2*1000), 500+i*10)
				if _, err := c.Put(context.Background(), ch.id, ch.sealed); err != nil {
					t.Error(err)
				}
				if got, err := c.Get(context.Background(), ch.id, nil); err != nil || !bytes.Equal(got, ch.sealed) {
					t.Error(err)
				}
				if i%20 == 0 {
					if err := c.Sync(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := c.Stats().Chunks; n != 300 {
		t.Errorf("%d chunks, want 300: one copy each", n)
	}
}

func TestSyncCancelled(t *testing.T) {
	s := mustOpen(t, newDir(t), Options{})
	defer mustClose(t, s)
	mustPut(t, s.Chunks(), newChunk(1, 100))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Chunks().Sync(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Chunks().Get(ctx, newChunk(1, 100).id, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// put stores n synced chunks of the given size and returns them.
func putMany(t testing.TB, c *Chunks, n, size int) (all []chunk) {
	for i := range n {
		all = append(all, newChunk(uint64(i), size))
		mustPut(t, c, all[i])
	}
	mustSync(t, c)
	return all
}

func onlyFile(t testing.TB, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s: %v %v", pattern, paths, err)
	}
	return paths[0]
}

// TestTornTail cuts and spoils the end of the unsealed segment at every byte
// of the last record.
func TestTornTail(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{})
	all := putMany(t, s.Chunks(), 5, 100)
	mustClose(t, s)
	path := onlyFile(t, filepath.Join(dir, chunksDir, "*.seg"))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(whole) - recordHeaderSize // before the mark that closing leaves
	for cut := end - int(recordSize(100)); cut <= len(whole); cut += 3 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, dir, Options{})
		for _, ch := range all[:4] {
			mustGet(t, s.Chunks(), ch)
		}
		if _, err := s.Chunks().Get(context.Background(), all[4].id, nil); !errors.Is(err, ErrNotFound) && cut < end {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		mustPut(t, s.Chunks(), all[4])
		mustClose(t, s)
		s = mustOpen(t, dir, Options{})
		mustGet(t, s.Chunks(), all[4])
		mustClose(t, s)
	}
}

// TestDamageInTail flips a bit in a record that others follow.
func TestDamageInTail(t *testing.T) {
	for _, where := range []int64{0, 20, recordHeaderSize + 10} {
		dir := newDir(t)
		s := mustOpen(t, dir, Options{})
		all := putMany(t, s.Chunks(), 3, 100)
		more := newChunk(77, 100)
		mustPut(t, s.Chunks(), more)
		mustClose(t, s)
		flip(t, onlyFile(t, filepath.Join(dir, chunksDir, "*.seg")), segmentHeaderSize+recordSize(100)+where)
		s = mustOpen(t, dir, Options{})
		c := s.Chunks()
		for _, ch := range []chunk{all[0], all[2], more} {
			mustGet(t, c, ch)
		}
		if _, err := c.Get(context.Background(), all[1].id, nil); err == nil {
			t.Error("damaged chunk served")
		}
		if !mustPut(t, c, all[1]) {
			t.Error("damaged chunk counts as present")
		}
		mustGet(t, c, all[1])
		mustClose(t, s)
	}
}

func flip(t testing.TB, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
}

// TestFlipsAnywhere flips one bit at many places of all files of a store with
// sealed segments and merged tables: nothing wrong is served, and every chunk
// whose record was spared is still there.
func TestFlipsAnywhere(t *testing.T) {
	dir := newDir(t)
	o := Options{SegmentSize: 8 << 10}
	s := mustOpen(t, dir, o)
	all := putMany(t, s.Chunks(), 100, 700)
	settle(t, s.Chunks())
	mustClose(t, s)
	paths, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
	for _, path := range paths {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(3); off < fi.Size(); off += max(fi.Size()/5, 7) {
			copied := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := chmodAll(copied); err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, path)
			flip(t, filepath.Join(copied, rel), off)
			checkAfterFlip(t, copied, o, all, fmt.Sprintf("%s at %d", rel, off))
		}
	}
}

func chmodAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		} else if err == nil {
			return os.Chmod(path, 0o600)
		}
		return err
	})
}

func checkAfterFlip(t *testing.T, dir string, o Options, all []chunk, where string) {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	defer s.Close()
	lost := 0
	for _, ch := range all {
		stored, storedErr := s.Chunks().Stored(context.Background(), ch.id, nil)
		got, err := s.Chunks().Get(context.Background(), ch.id, nil)
		if err != nil {
			lost++
		} else if !bytes.Equal(got, ch.sealed) {
			t.Errorf("%s: wrong bytes served", where)
		}
		if (storedErr == nil) != (err == nil) || !bytes.Equal(stored, got) {
			t.Errorf("%s: %v by the checksum, %v by the ID", where, storedErr, err)
		}
	}
	if lost > 1 {
		t.Errorf("%s: %d chunks lost by one bit", where, lost)
	}
	for _, ch := range all {
		mustPut(t, s.Chunks(), ch)
		mustGet(t, s.Chunks(), ch)
	}
}
