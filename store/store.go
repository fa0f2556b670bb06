package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Options are how a data directory is opened. The zero value works.
type Options struct {
	CacheBytes  int64                  // plaintext of chunks kept in memory for all readers; an eighth of the machine's if 0, 64 MiB to 1 GiB
	SegmentSize int64                  // bytes from which a segment is sealed, at most 1 GiB; if 0, 64 MiB, or a 64th of a small disk
	Passphrase  func() ([]byte, error) // asked for the passphrase if the data directory has one
	Log         *slog.Logger           // gets events such as damage found; nobody if nil
	Damaged     func(id ID)            // called when a copy of a chunk is found damaged; may be nil
}

// Store is an open data directory. It is safe for concurrent use.
type Store struct {
	dir     string
	lock    dirLock
	secrets secrets
	config  *Config
	chunks  *Chunks
}

// Open opens the data directory dir for this process alone: a second opener
// gets ErrLocked. A directory whose modes let other users in is refused, as is
// an unknown format (ErrVersion).
func Open(dir string, o Options) (*Store, error) {
	s, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, o Options) (*Store, error) {
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	if err := checkModes(dir); err != nil {
		return nil, err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, lock: lock}
	if err := s.openParts(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) openParts(o Options) (err error) {
	if s.secrets, err = readSecrets(s.dir, o.Passphrase); err != nil {
		return err
	}
	if s.config, err = openConfig(filepath.Join(s.dir, configFile)); err != nil {
		return err
	}
	if err := s.config.db.Lost(); err != nil && o.Log != nil {
		o.Log.Error("configuration is damaged", "err", err)
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = segmentSizeOn(s.dir)
	}
	s.chunks, err = openChunks(osFiles{}, s.dir, o)
	return err
}

// checkFormat reads the format file.
func checkFormat(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, formatFile))
	if errors.Is(err, os.ErrNotExist) {
		return missingFormat(dir, err)
	}
	if err != nil {
		return err
	}
	if text := string(b); text != formatText {
		first, rest, _ := strings.Cut(text, "\n")
		if first != "bazil data directory" {
			return fmt.Errorf("format file: %w: starts with %.40q", ErrDamaged, first)
		}
		return fmt.Errorf("%w %.40q, this program knows \"version 1\"", ErrVersion, strings.TrimSuffix(rest, "\n"))
	}
	return nil
}

// missingFormat says why there is no format file.
func missingFormat(dir string, err error) error {
	if _, e := os.Stat(filepath.Join(dir, formatNewFile)); e == nil {
		return errors.New("its creation was interrupted: create it again")
	}
	if _, e := os.Stat(dir); e != nil {
		return e
	}
	return fmt.Errorf("not a data directory: %w", err)
}

// Dir returns the path that Open was given.
func (s *Store) Dir() string { return s.dir }

// SecretKey returns the device's curve25519 secret key, for Noise.
func (s *Store) SecretKey() [32]byte { return s.secrets.device }

// Chunks returns the content store.
func (s *Store) Chunks() *Chunks { return s.chunks }

// Config returns the configuration.
func (s *Store) Config() *Config { return s.config }

// Close ends everything that Open began, makes what was Put durable and frees
// the lock. Nobody may use the store any more.
func (s *Store) Close() error {
	var errs []error
	if s.chunks != nil {
		errs = append(errs, s.chunks.close())
	}
	if s.config != nil {
		errs = append(errs, s.config.close())
	}
	errs = append(errs, s.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close data directory %s: %w", s.dir, err)
	}
	return nil
}
