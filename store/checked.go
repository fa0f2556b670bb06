package store

import (
	"context"
	"fmt"
	"path/filepath"
)

// Checked is the chunks of a data directory under Check, those that verify,
// and its configuration as far as it can be read.
type Checked struct {
	k      *checker
	config *Config
	store  *Store
}

// more runs what else is to be checked.
func (k *checker) more(ctx context.Context) error {
	path := filepath.Join(k.dir, configFile)
	db, err := OpenBoltToRead(path)
	if err != nil {
		return nil // told already
	}
	defer db.Close()
	config, err := newConfig(db)
	if err != nil {
		return err
	}
	return k.o.More(ctx, &Checked{k, config, &Store{dir: k.dir, config: config, secrets: k.secrets}})
}

// Has says whether a chunk is there and verifies.
func (c *Checked) Has(id ID) bool {
	_, ok := c.k.good[id.prefix()]
	return ok
}

// Get appends a chunk's sealed bytes to dst, verified: ErrNotFound.
func (c *Checked) Get(ctx context.Context, id ID, dst []byte) ([]byte, error) {
	at, ok := c.k.good[id.prefix()]
	if !ok {
		return dst, fmt.Errorf("chunk %v: %w", id, ErrNotFound)
	}
	f, err := c.k.fs.open(filepath.Join(c.k.dir, chunksDir, segmentName(at.segment)))
	if err != nil {
		return dst, err
	}
	defer f.Close()
	sealed := make([]byte, at.length)
	if err := readFull(f, sealed, int64(at.offset)+recordHeaderSize); err != nil {
		return dst, fmt.Errorf("chunk %v: %w", id, err)
	}
	if err := VerifyID(id, sealed); err != nil { // two chunks with one prefix
		return dst, fmt.Errorf("chunk %v: %w", id, ErrNotFound)
	}
	return append(dst, sealed...), ctx.Err()
}

// Fault reports one more thing that is wrong.
func (c *Checked) Fault(path string, err error) { c.k.fault(path, -1, err) }

// Progress tells which file is read next.
func (c *Checked) Progress(path string) { c.k.progress(path) }

// View runs f on the configuration.
func (c *Checked) View(f func(tx *Tx) error) error { return c.config.View(f) }

// SharingKey is as Store's.
func (c *Checked) SharingKey(name string) (SharingKey, error) { return c.store.SharingKey(name) }

// newConfig wraps a file that is open.
func newConfig(db *Bolt) (*Config, error) {
	enc, dec, err := configModes()
	return &Config{db: db, enc: enc, dec: dec}, err
}
