package vol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// Bolt has no checksums but those of its two meta pages. So each value ends
// with one of its key and itself: what was changed on disk is found when it is
// read, and never served.

// sumLen is the length of a checksum: a CRC32C, big-endian.
const sumLen = 4

var crcTable = crc32.MakeTable(crc32.Castagnoli)

var errSum = errors.New("checksum is wrong")

func sumOf(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, crcTable), crcTable, value)
}

// putSummed puts a value in a bucket with its checksum, which may be written
// behind the value where that has room.
func putSummed(b *bbolt.Bucket, key, value []byte) error {
	return b.Put(key, binary.BigEndian.AppendUint32(value, sumOf(key, value)))
}

// checkSum takes the checksum off what a bucket has at a key.
func checkSum(key, b []byte) ([]byte, error) {
	n := len(b) - sumLen
	if n < 0 || binary.BigEndian.Uint32(b[n:]) != sumOf(key, b[:n]) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, errSum)
	}
	return b[:n:n], nil
}

// getSummed returns the value at a key, nil if there is none.
func getSummed(b *bbolt.Bucket, key []byte) ([]byte, error) {
	v := b.Get(key)
	if v == nil {
		return nil, nil
	}
	return checkSum(key, v)
}

// eachSummed calls fn for every key of a bucket.
func eachSummed(b *bbolt.Bucket, fn func(key, value []byte) error) error {
	return b.ForEach(func(k, v []byte) error {
		value, err := checkSum(k, v)
		if err != nil {
			return fmt.Errorf("%q: %w", k, err)
		}
		return fn(k, value)
	})
}

// sumAll gives the values of a bucket their checksums, which those of earlier
// versions have not.
func sumAll(b *bbolt.Bucket) error {
	var all []change
	err := b.ForEach(func(k, v []byte) error {
		all = append(all, change{append([]byte(nil), k...), append([]byte(nil), v...)})
		return nil
	})
	if err != nil {
		return err
	}
	return writeBucket(b, all)
}
