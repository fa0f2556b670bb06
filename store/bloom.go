package store

import (
	"encoding/binary"
	"math/bits"
)

const (
	bloomBlock    = 64 // bytes; all bits of an ID lie in one cache line
	bloomBitsPer  = 12 // bits per entry: under 1% false hits
	bloomHashes   = 6
	bloomBitsMask = bloomBlock*8 - 1
)

// bloom tells which IDs are surely not in a table: a Bloom filter cut into
// blocks of one cache line (Putze, Sanders, Singler 2007). IDs are hashes, so
// their own bits choose. An empty one has everything.
type bloom []byte

func newBloom(entries uint64) bloom {
	blocks := (entries*bloomBitsPer + bloomBlock*8 - 1) / (bloomBlock * 8)
	return make(bloom, max(blocks, 1)*bloomBlock)
}

// line returns the cache line of an ID, and the bits that choose in it.
func (b bloom) line(id *ID) ([]byte, uint64) {
	blocks := uint64(len(b) / bloomBlock)
	i, _ := bits.Mul64(binary.LittleEndian.Uint64(id[8:]), blocks)
	return b[i*bloomBlock:][:bloomBlock], binary.LittleEndian.Uint64(id[16:])
}

func (b bloom) add(id *ID) {
	line, h := b.line(id)
	for range bloomHashes {
		bit := h & bloomBitsMask
		line[bit/8] |= 1 << (bit % 8)
		h >>= 9
	}
}

func (b bloom) has(id *ID) bool {
	if len(b) == 0 {
		return true
	}
	line, h := b.line(id)
	for range bloomHashes {
		bit := h & bloomBitsMask
		if line[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
		h >>= 9
	}
	return true
}
