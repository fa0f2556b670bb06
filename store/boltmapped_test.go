package store

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// TestMappedIsBounded: reading a Bolt file does not keep all of it mapped, and
// what was let go of can be read.
func TestMappedIsBounded(t *testing.T) {
	b, err := OpenBolt(filepath.Join(t.TempDir(), "b"), &bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const n, size = 4096, 4000
	name := []byte("bucket")
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2) }
	key := func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }
	err = b.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket(name)
		for i := 0; i < n && err == nil; i++ {
			err = bucket.Put(key(i), value(i))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sweep := func() {
		err := b.View(func(tx *bolt.Tx) error {
			for i := range n {
				if got := tx.Bucket(name).Get(key(i)); !bytes.Equal(got, value(i)) {
					t.Fatalf("value %d has changed", i)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	before := mappedNow()
	b.mapping.Lock()
	b.mapped.most, b.mapped.base, b.mapped.at = n*size/2, before-n*size, time.Time{}
	b.mapping.Unlock()
	if err := b.View(func(*bolt.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if after := mappedNow(); after > before-n*size/2 {
		t.Errorf("%d bytes are mapped, and were %d", after, before)
	}
	sweep()
}
