package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/zeebo/blake3"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Buckets of config.db.
var (
	metaBucket    = []byte("meta")
	tablesBucket  = []byte("tables")  // one bucket in it for each table
	sharingBucket = []byte("sharing") // name to wrapped sharing key
	versionKey    = []byte("version")
	sumKey        = []byte("sum")
)

const configVersion = "1"

// Config keeps small records in named tables, in config.db: keys are strings,
// values are CBOR in its deterministic form. It is safe for concurrent use.
type Config struct {
	db  *Bolt
	enc cbor.EncMode
	dec cbor.DecMode
}

// Tx is a transaction on a Config. It is valid only inside the function that
// View or Update called.
type Tx struct {
	config *Config
	tx     *bolt.Tx
}

// configModes are how records are encoded and decoded.
func configModes() (cbor.EncMode, cbor.DecMode, error) {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, nil, err
	}
	dec, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		MaxNestedLevels:  16,
		MaxArrayElements: 1 << 16,
		MaxMapPairs:      1 << 16,
	}.DecMode()
	return enc, dec, err
}

func openConfig(path string) (*Config, error) {
	db, err := OpenBolt(path, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	c, err := newConfig(db)
	if err == nil {
		err = db.Update(initConfig)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return c, nil
}

// initConfig checks the version, or makes the buckets of a new file.
func initConfig(tx *bolt.Tx) error {
	if meta := tx.Bucket(metaBucket); meta != nil {
		if v := string(meta.Get(versionKey)); v != configVersion {
			return fmt.Errorf("configuration: %w %q, known is %q", ErrVersion, v, configVersion)
		}
	}
	for _, name := range [][]byte{metaBucket, tablesBucket, sharingBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(metaBucket)
	if err := checkConfigSum(tx); err != nil {
		return err
	}
	return errors.Join(meta.Put(sumKey, sumConfig(tx)), meta.Put(versionKey, []byte(configVersion)))
}

func (c *Config) close() error { return c.db.Close() }

// View calls fn with a consistent view of all tables and returns its error.
func (c *Config) View(fn func(*Tx) error) error {
	return configError(c.db.View(func(tx *bolt.Tx) error { return fn(&Tx{c, tx}) }))
}

// Update calls fn and makes what it changed durable, all or nothing: nothing
// if fn returns an error, which Update then returns. Updates come one after
// the other; never call one while holding a mutex.
func (c *Config) Update(fn func(*Tx) error) error {
	return configError(c.update(func(tx *bolt.Tx) error { return fn(&Tx{c, tx}) }))
}

// update is Update for all buckets.
func (c *Config) update(fn func(*bolt.Tx) error) error {
	return c.db.Update(func(tx *bolt.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Bucket(metaBucket).Put(sumKey, sumConfig(tx))
	})
}

// sumConfig is a BLAKE3 hash of all keys and values but those of the meta
// bucket: each key, "=" and the value, with their lengths as 8 bytes before
// them; of a bucket in a bucket its key, "{", what it holds, and "}".
func sumConfig(tx *bolt.Tx) []byte {
	h := blake3.New()
	part := func(b []byte) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	var bucket func(b *bolt.Bucket)
	bucket = func(b *bolt.Bucket) {
		for c, k, v := first(b); k != nil; k, v = c.Next() {
			part(k)
			if v != nil {
				h.WriteString("=")
				part(v)
				continue
			}
			h.WriteString("{")
			bucket(b.Bucket(k))
			h.WriteString("}")
		}
	}
	bucket(tx.Bucket(tablesBucket))
	bucket(tx.Bucket(sharingBucket))
	return h.Sum(nil)
}

// checkConfigSum compares the configuration with its checksum, which one that
// an earlier version made has not.
func checkConfigSum(tx *bolt.Tx) error {
	if was := tx.Bucket(metaBucket).Get(sumKey); was != nil && !bytes.Equal(was, sumConfig(tx)) {
		return fmt.Errorf("configuration: %w: it does not match its checksum", ErrDamaged)
	}
	return nil
}

func first(b *bolt.Bucket) (c *bolt.Cursor, k, v []byte) {
	c = b.Cursor()
	k, v = c.First()
	return c, k, v
}

func configError(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return fmt.Errorf("configuration: %w", ErrClosed)
	}
	return err
}

// Get reads the value at key in table into v, a pointer; ErrNotFound if there
// is none.
func (t *Tx) Get(table, key string, v any) error {
	var data []byte
	if b := t.table(table); b != nil {
		data = b.Get([]byte(key))
	}
	if data == nil {
		return fmt.Errorf("%s %q: %w", table, key, ErrNotFound)
	}
	return t.decode(table, key, data, v)
}

func (t *Tx) decode(table, key string, data []byte, v any) error {
	if err := t.config.dec.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s %q: %w: %w", table, key, ErrDamaged, err)
	}
	return nil
}

// Put sets the value at key in table, which it makes if need be. The key must
// not be empty.
func (t *Tx) Put(table, key string, v any) error {
	data, err := t.config.enc.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s %q: %w", table, key, err)
	}
	b, err := t.tx.Bucket(tablesBucket).CreateBucketIfNotExists([]byte(table))
	if err == nil {
		err = b.Put([]byte(key), data)
	}
	if err != nil {
		return fmt.Errorf("put %s %q: %w", table, key, err)
	}
	return nil
}

// Delete removes the value at key in table; none there is no error.
func (t *Tx) Delete(table, key string) error {
	b := t.table(table)
	if b == nil {
		return nil
	}
	if err := b.Delete([]byte(key)); err != nil {
		return fmt.Errorf("delete %s %q: %w", table, key, err)
	}
	return nil
}

// Each calls fn for every key of table in order, until it returns an error,
// which Each returns. Get, valid only during that call, reads the value into a
// pointer. Fn must not change the table.
func (t *Tx) Each(table string, fn func(key string, get func(v any) error) error) error {
	b := t.table(table)
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, data []byte) error {
		key := string(k)
		return fn(key, func(v any) error { return t.decode(table, key, data, v) })
	})
}

// table returns the bucket of a table, nil if there is none.
func (t *Tx) table(name string) *bolt.Bucket {
	return t.tx.Bucket(tablesBucket).Bucket([]byte(name))
}
