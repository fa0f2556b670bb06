package store

import (
	"context"
	"errors"
	"log/slog"
)

// Options are how a data directory is opened. The zero value works.
type Options struct {
	CacheBytes int64        // opened chunks kept in memory for all readers; 64 MiB if 0
	Log        *slog.Logger // where events go; nowhere if nil
}

// Create makes a data directory.
func Create(dir string) error { return errors.ErrUnsupported }

// Open opens the data directory.
func Open(dir string, o Options) (*Store, error) { return nil, errors.ErrUnsupported }

// PublicKey reads the device's public key, in hex, also while a server runs.
func PublicKey(dir string) (string, error) { return "", errors.ErrUnsupported }

// Store is an open data directory.
type Store struct{}

func (s *Store) Dir() string                                     { return "" }
func (s *Store) SecretKey() [32]byte                             { return [32]byte{} }
func (s *Store) Chunks() *Chunks                                 { return nil }
func (s *Store) Config() *Config                                 { return nil }
func (s *Store) Close() error                                    { return errors.ErrUnsupported }
func (s *Store) SharingKey(name string) (SharingKey, error)      { return SharingKey{}, errors.ErrUnsupported }
func (s *Store) AddSharingKey(name string, key SharingKey) error { return errors.ErrUnsupported }
func (s *Store) RemoveSharingKey(name string) error              { return errors.ErrUnsupported }
func (s *Store) SharingKeys() []string                           { return nil }

// Config is a small typed table store.
type Config struct{}

func (c *Config) View(fn func(*Tx) error) error   { return errors.ErrUnsupported }
func (c *Config) Update(fn func(*Tx) error) error { return errors.ErrUnsupported }

// Tx is a transaction on Config.
type Tx struct{}

func (t *Tx) Get(table, key string, v any) error { return errors.ErrUnsupported }
func (t *Tx) Put(table, key string, v any) error { return errors.ErrUnsupported }
func (t *Tx) Delete(table, key string) error     { return errors.ErrUnsupported }
func (t *Tx) Each(table string, fn func(key string, get func(v any) error) error) error {
	return errors.ErrUnsupported
}

// Chunks is the content store.
type Chunks struct{}

func (c *Chunks) Put(ctx context.Context, id ID, sealed []byte) (isNew bool, err error) {
	return false, errors.ErrUnsupported
}
func (c *Chunks) Get(ctx context.Context, id ID, dst []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
func (c *Chunks) Has(id ID) bool                 { return false }
func (c *Chunks) Sync(ctx context.Context) error { return errors.ErrUnsupported }
func (c *Chunks) Stats() Stats                   { return Stats{} }

// Hold keeps collection from starting its mark until release is called: take
// it around "Put (or Has) some chunks, then reference them where the mark
// looks", so that no chunk is collected between the two.
func (c *Chunks) Hold() (release func()) { return func() {} }

// Stats says what Chunks holds.
type Stats struct {
	Chunks   int64 // chunks stored
	Bytes    int64 // their sealed bytes
	Segments int64 // segment files
	Disk     int64 // bytes of all files
}

// Fetcher gets sealed chunks from elsewhere.
type Fetcher interface {
	Fetch(ctx context.Context, id ID) (sealed []byte, err error)
}

// Reader reads chunks through a cache.
type Reader struct{}

func (c *Chunks) NewReader(s *Sealer, fetch Fetcher) *Reader { return &Reader{} }
func (r *Reader) Read(ctx context.Context, p Pointer, t ChunkType) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
