package store

import (
	"math"
	"slices"

	"bazil/store/faultfs"
)

// faultFiles is a disk that crashes and fails as the chunk store's files.
type faultFiles struct{ *faultfs.Disk }

func newFaultFiles() faultFiles { return faultFiles{faultfs.New()} }

func (fs faultFiles) create(path string) (file, error)  { return fs.opened(fs.Create(path)) }
func (fs faultFiles) open(path string) (file, error)    { return fs.opened(fs.Open(path)) }
func (fs faultFiles) remove(path string) error          { return fs.Remove(path) }
func (fs faultFiles) rename(from, to string) error      { return fs.Rename(from, to) }
func (fs faultFiles) list(dir string) ([]string, error) { return fs.List(dir) }
func (fs faultFiles) mkdir(string) error                { return nil }
func (fs faultFiles) syncDir(dir string) error          { return fs.SyncDir(dir) }

func (fs faultFiles) free(string) (int64, error) {
	fs.Mu.Lock()
	defer fs.Mu.Unlock()
	if fs.Room == 0 {
		return math.MaxInt64, nil
	}
	return max(fs.Room-fs.Used(), 0), nil
}

func (fs faultFiles) opened(f *faultfs.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return faultFile{f}, nil
}

type faultFile struct{ *faultfs.File }

func (f faultFile) WritePartsAt(parts [][]byte, off int64) error {
	_, err := f.WriteAt(slices.Concat(parts...), off)
	return err
}
