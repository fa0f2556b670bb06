package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Names in a data directory.
const (
	formatFile    = "format"     // which version; written last: without it there is no data directory
	formatNewFile = "format.new" // stands in for formatFile until Create is done
	lockFile      = "lock"
	keyFile       = "key"
	pubkeyFile    = "pubkey"
	configFile    = "config.db"
	chunksDir     = "chunks"
	indexDir      = "index"
)

const formatText = "bazil data directory\nversion 1\n"

// DefaultSharingKey is the name of the sharing key that Create makes.
const DefaultSharingKey = "default"

// Create makes a data directory at dir, with its parents: a key pair, an empty
// configuration, an empty chunk store and a random sharing key named
// DefaultSharingKey. Dir may exist if it is empty, or holds what an
// interrupted Create left. A directory that already is a data directory is
// refused with ErrExists. After a crash at any moment there is either a whole
// data directory or one that Open refuses and Create makes anew.
func Create(dir string) error { return CreateWith(dir, nil) }

// CreateWith is Create with a passphrase that wraps the secrets; none if it is
// empty.
func CreateWith(dir string, passphrase []byte) error {
	if err := create(dir, passphrase); err != nil {
		return fmt.Errorf("create data directory %s: %w", dir, err)
	}
	return nil
}

func create(dir string, passphrase []byte) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	if err := checkVacant(dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, dirMode); err != nil {
		return err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := checkVacant(dir); err != nil { // again, now that nobody else is at it
		return err
	}
	if err := writeFileSync(filepath.Join(dir, formatNewFile), []byte(formatText)); err != nil {
		return err
	}
	if err := errors.Join(syncDir(dir), removeLeftovers(dir)); err != nil {
		return err
	}
	if err := fillDir(dir, passphrase); err != nil {
		return err
	}
	return publish(dir)
}

// checkVacant refuses a directory that holds something of somebody's.
func checkVacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	switch {
	case slices.Contains(names, formatFile):
		return fmt.Errorf("data directory %w", ErrExists)
	case slices.Contains(names, formatNewFile):
		return nil // of an interrupted Create
	case len(names) == 0 || len(names) == 1 && names[0] == lockFile:
		return nil
	}
	return fmt.Errorf("directory is not empty: it has %q", names[0])
}

// removeLeftovers removes what an interrupted Create may have made.
func removeLeftovers(dir string) error {
	var errs []error
	for _, name := range []string{keyFile, pubkeyFile, configFile, chunksDir, indexDir} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// fillDir makes everything but the format file, durably.
func fillDir(dir string, passphrase []byte) error {
	secrets, err := newSecrets()
	if err != nil {
		return err
	}
	if err := writeSecrets(dir, secrets, passphrase); err != nil {
		return err
	}
	for _, sub := range []string{chunksDir, indexDir} {
		if err := os.Mkdir(filepath.Join(dir, sub), dirMode); err != nil {
			return err
		}
	}
	config, err := openConfig(filepath.Join(dir, configFile))
	if err != nil {
		return err
	}
	s := &Store{dir: dir, config: config, secrets: secrets}
	return errors.Join(s.AddSharingKey(DefaultSharingKey, NewSharingKey()), config.close())
}

// publish makes dir a data directory with one rename.
func publish(dir string) error {
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, formatNewFile), filepath.Join(dir, formatFile)); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}
