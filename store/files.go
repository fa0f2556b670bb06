package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// files is what the chunk store needs of a file system, with the guarantees of
// POSIX and no more: what was written is durable after the file's Sync, and a
// name after its directory's syncDir. Tests put a layer here that stops,
// reorders and fails.
type files interface {
	// create makes a file that must not exist yet, for reading and writing.
	create(path string) (file, error)
	// open opens an existing file for reading and writing.
	open(path string) (file, error)
	remove(path string) error
	// rename replaces what has the new name.
	rename(from, to string) error
	// list returns the names in a directory.
	list(dir string) ([]string, error)
	mkdir(dir string) error
	syncDir(dir string) error
	// free is how many bytes may still be written in a directory.
	free(dir string) (int64, error)
}

// file is an open file.
type file interface {
	io.ReaderAt
	io.WriterAt
	// WritePartsAt writes the parts one behind the other, as WriteAt would.
	WritePartsAt(parts [][]byte, off int64) error
	io.Closer
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
}

// osFiles is the operating system's.
type osFiles struct{}

func (osFiles) create(path string) (file, error) {
	return openOS(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}
func (osFiles) open(path string) (file, error) { return openOS(path, os.O_RDWR) }
func (osFiles) remove(path string) error       { return os.Remove(path) }
func (osFiles) rename(from, to string) error   { return os.Rename(from, to) }
func (osFiles) syncDir(dir string) error       { return syncDir(dir) }
func (osFiles) mkdir(dir string) error         { return os.MkdirAll(dir, dirMode) }

func (osFiles) free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func (osFiles) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func openOS(path string, flag int) (file, error) {
	f, err := os.OpenFile(filepath.Clean(path), flag, fileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// WritePartsAt saves the copy that one slice of all would take.
func (f osFile) WritePartsAt(parts [][]byte, off int64) error {
	for len(parts) > 0 {
		n, err := unix.Pwritev(int(f.Fd()), parts, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "write", Path: f.Name(), Err: err}
		}
		off += int64(n)
		if parts = dropBytes(parts, n); n == 0 && len(parts) > 0 {
			return &os.PathError{Op: "write", Path: f.Name(), Err: io.ErrShortWrite}
		}
	}
	return nil
}

// dropBytes takes the first n bytes off the parts, and those that are empty.
func dropBytes(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n > 0 {
		parts = append([][]byte{parts[0][n:]}, parts[1:]...)
	}
	return parts
}

// Sync flushes the data and what of the metadata is needed to read it.
func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// isFull says that an error is for want of space, which may come back.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// readFull reads exactly len(p) bytes at off; fewer is io.ErrUnexpectedEOF.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
