package store

import (
	"errors"
	"fmt"
	"testing"
)

// TestHandles: a file that is in use stays open whatever others are opened, also
// when it is removed; one that nobody uses is closed to make room, and opened
// again for who wants it.
func TestHandles(t *testing.T) {
	fs := countingFiles{newFaultFiles(), map[string]int{}}
	hs := &handles{files: fs, max: 2}
	var all []*handle
	for i := range 6 {
		name := fmt.Sprint("f", i)
		f, err := fs.create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		all = append(all, hs.add(name, nil))
	}
	use := func(h *handle) {
		t.Helper()
		if _, err := h.acquire(); err != nil {
			t.Fatal(err)
		}
	}
	use(all[0])
	use(all[1])
	for range 3 { // each opens one more, and looks who is idle
		for _, h := range all[2:] {
			use(h)
			h.release()
		}
	}
	if fs.n["f0"] != 1 || fs.n["f1"] != 1 {
		t.Errorf("files in use are open %d and %d times", fs.n["f0"], fs.n["f1"])
	}
	n := 0
	for _, open := range fs.n {
		n += open
	}
	if n != len(hs.open) || n > 4 {
		t.Errorf("%d files are open, and counted are %d", n, len(hs.open))
	}
	if err := all[0].remove(); err != nil {
		t.Fatal(err)
	}
	if fs.n["f0"] != 1 {
		t.Error("a file is closed while it is read")
	}
	if _, err := all[0].acquire(); !errors.Is(err, errGone) {
		t.Errorf("a removed file: %v", err)
	}
	use(all[1]) // once more, and given free once
	if err := all[1].remove(); err != nil {
		t.Fatal(err)
	}
	all[1].release()
	if fs.n["f1"] != 1 {
		t.Error("a file is closed while one of two reads it")
	}
	all[0].release()
	all[1].release()
	if fs.n["f0"] != 0 || fs.n["f1"] != 0 {
		t.Error("a removed file stays open")
	}
	if err := hs.closeAll(); err != nil {
		t.Fatal(err)
	}
	for name, open := range fs.n {
		if open != 0 {
			t.Errorf("%s is open %d times", name, open)
		}
	}
}

// countingFiles counts how many times each file is open.
type countingFiles struct {
	faultFiles
	n map[string]int
}

func (fs countingFiles) create(path string) (file, error) {
	return fs.counted(path)(fs.faultFiles.create(path))
}

func (fs countingFiles) open(path string) (file, error) {
	return fs.counted(path)(fs.faultFiles.open(path))
}

func (fs countingFiles) counted(path string) func(file, error) (file, error) {
	return func(f file, err error) (file, error) {
		if err != nil {
			return nil, err
		}
		fs.n[path]++
		return countedFile{f, fs.n, path}, nil
	}
}

type countedFile struct {
	file
	n    map[string]int
	path string
}

func (f countedFile) Close() error {
	f.n[f.path]--
	return f.file.Close()
}
