package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Modes of everything in a data directory.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// checkModes refuses a data directory that other users may look into.
func checkModes(dir string) error {
	if err := checkPrivate(dir, dirMode); err != nil {
		return err
	}
	for _, name := range []string{keyFile, configFile, chunksDir, indexDir} {
		want := os.FileMode(fileMode)
		if name == chunksDir || name == indexDir {
			want = dirMode
		}
		err := checkPrivate(filepath.Join(dir, name), want)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // what must be there is found missing later
			return err
		}
	}
	return nil
}

func checkPrivate(path string, want os.FileMode) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if got := fi.Mode().Perm(); got&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o and is open to other users: run `chmod %04o %s`", path, got, want, path)
	}
	return nil
}

// dirLock is this process's lock on a data directory. The end of the process
// frees it, too.
type dirLock struct{ f *os.File }

func takeLock(dir string) (dirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return dirLock{}, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return dirLock{f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return dirLock{}, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	return dirLock{}, fmt.Errorf("lock %s: %w", dir, err)
}

// Close frees the lock. Closing the file would not do: a child that was forked
// and did not get to its exec yet has it open, too, and would hold the lock.
func (l dirLock) Close() error {
	return errors.Join(unix.Flock(int(l.f.Fd()), unix.LOCK_UN), l.f.Close())
}

// writeFileSync writes a whole file durably; its directory is the caller's to sync.
func writeFileSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// replaceFile gives path new content, all or nothing, durably.
func replaceFile(path string, data []byte) error {
	tmp := path + ".new"
	if err := writeFileSync(tmp, data); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
