package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

// TestCacheForgetsCollected: what a collection frees can no longer be read, as
// after a restart, and what it keeps can be.
func TestCacheForgetsCollected(t *testing.T) {
	c := simChunks(t, newFaultFiles(), 16<<10)
	sealer := NewSealer(testKey())
	r := c.NewReader(sealer, nil)
	var ps []Pointer
	for i := range 4 {
		plain := noise(1000, byte(i))
		p, sealed := seal(t, sealer, ChunkData, plain)
		mustPut(t, c, chunk{p.ID, sealed})
		r.Keep(p, ChunkData, plain)
		ps = append(ps, p)
	}
	got, err := c.Collect(t.Context(), markAll([]chunk{{id: ps[0].ID}}), CollectOptions{})
	if err != nil || got.Done != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if !c.cache.shard(&ps[0].ID).has(&ps[0].ID) {
		t.Error("what was kept has left the cache")
	}
	for i, p := range ps {
		_, err := r.Read(t.Context(), p, ChunkData)
		if i == 0 && err != nil || i > 0 && !errors.Is(err, ErrNotFound) {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
}

// TestCacheBesideCollection: a chunk that is freed while it is being read does
// not stay in the cache.
func TestCacheBesideCollection(t *testing.T) {
	fs := readHooked{newFaultFiles(), new(func())}
	c := simChunks(t, fs, 16<<10)
	sealer := NewSealer(testKey())
	r := c.NewReader(sealer, nil)
	p, sealed := seal(t, sealer, ChunkData, noise(1000, 1))
	mustPut(t, c, chunk{p.ID, sealed})
	*fs.read = func() {
		*fs.read = nil
		if got, err := c.Collect(t.Context(), markAll(nil), CollectOptions{}); err != nil || got.Done != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := r.Read(t.Context(), p, ChunkData); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(t.Context(), p, ChunkData); !errors.Is(err, ErrNotFound) {
		t.Errorf("read again: %v", err)
	}
}

// readHooked calls read, if there is one, after each read of a file that was
// made here.
type readHooked struct {
	faultFiles
	read *func()
}

func (fs readHooked) create(path string) (file, error) {
	f, err := fs.faultFiles.create(path)
	return readHookedFile{f, fs.read}, err
}

type readHookedFile struct {
	file
	read *func()
}

func (f readHookedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	if hook := *f.read; hook != nil {
		hook()
	}
	return n, err
}

// TestCacheMends: a chunk that is damaged on disk and still in the cache is
// stored again from there, by whoever sealed or read it.
func TestCacheMends(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{})
	c := s.Chunks()
	sealer := NewSealer(testKey())
	r := c.NewReader(sealer, nil)
	plains := [][]byte{noise(5000, 1), prose(100_000, 2)}
	var ps []Pointer
	for i, plain := range plains {
		p, sealed := seal(t, sealer, ChunkData, plain)
		mustPut(t, c, chunk{p.ID, sealed})
		if i == 0 {
			r.Keep(p, ChunkData, plain)
		} else if _, err := r.Read(t.Context(), p, ChunkData); err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	mustSync(t, c)
	path := onlyOf(t, filepath.Join(dir, chunksDir, "*.seg"))
	flip(t, path, segmentHeaderSize+recordHeaderSize+10)
	flip(t, path, segmentHeaderSize+recordSize(c.Length(ps[0].ID))+recordHeaderSize+10)
	got, err := c.Scrub(t.Context(), ScrubOptions{})
	if err != nil || len(got.Damaged) != 2 || got.Repaired != 2 || len(c.Damaged()) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	mustClose(t, s)
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	r = s.Chunks().NewReader(sealer, nil)
	for i, p := range ps {
		if plain, err := r.Read(t.Context(), p, ChunkData); err != nil || !bytes.Equal(plain, plains[i]) {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
}
