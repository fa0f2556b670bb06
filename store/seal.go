package store

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/zeebo/blake3"
	"golang.org/x/crypto/chacha20poly1305"
)

// Sizes of chunks in bytes.
const (
	MaxPlain  = 1 << 20                        // largest plaintext of a chunk
	MaxSealed = MaxPlain + headerSize + tagLen // largest sealed chunk
	MinSealed = headerSize + tagLen            // smallest, of an empty plaintext

	headerSize = 8
	tagLen     = chacha20poly1305.Overhead
)

// Versions in a sealed chunk.
const (
	suite1         = 1 // ChaCha20-Poly1305 and BLAKE3 under the labels below
	payloadVersion = 1
)

// Labels: each use of a hash or key has its own.
const (
	labelID       = "bazil/v1/id"
	labelChunkKey = "bazil/v1/chunk"
	labelSplit    = "bazil/v1/split"
)

// Sealer seals and opens the chunks of one sharing key. It is safe for
// concurrent use. See the package comment for the construction.
type Sealer struct {
	keyed    blake3.Hasher // keyed with HKDF(sharing key, labelChunkKey); copied, never written to
	splitKey [32]byte
	nonce    [chacha20poly1305.NonceSize]byte // all zero: each key seals one payload
	suite    [1]byte
	codec    codec
	records  cipher.AEAD
	scratch  sync.Pool // of *[]byte: payloads being opened
}

// NewSealer returns the Sealer of k.
func NewSealer(k SharingKey) *Sealer {
	key := k.derive(labelChunkKey)
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic("store: blake3 with a 32 byte key: " + err.Error())
	}
	return &Sealer{
		keyed:    *h,
		splitKey: k.derive(labelSplit),
		suite:    [1]byte{suite1},
		codec:    newCodec(),
		records:  newRecordAEAD(k),
	}
}

// Seal appends the sealed plain to dst, which it returns with the pointer to
// the chunk. Equal type and plain give equal bytes (with one release of the
// compressor), whoever seals them under this sharing key. The only error is
// ErrTooBig, for a plain above MaxPlain. Dst and plain must not overlap.
func (s *Sealer) Seal(dst []byte, t ChunkType, plain []byte) (Pointer, []byte, error) {
	return s.seal(dst, t, plain, nil)
}

// SealSummed is Seal for who knows the Sum of t and plain.
func (s *Sealer) SealSummed(dst []byte, t ChunkType, plain []byte, sum Key) (Pointer, []byte, error) {
	return s.seal(dst, t, plain, &sum)
}

// Sum tells chunks apart before they are compressed and sealed: who has met a
// sum before knows the pointer. It is the key of the chunk as it is when it
// does not compress, so that Sum and SealSummed together then cost what Seal
// does.
func (s *Sealer) Sum(t ChunkType, plain []byte) (k Key) {
	h := s.keyed
	h.Write(appendHeader(make([]byte, 0, headerSize), t, len(plain)))
	h.Write(plain)
	h.Sum(k[:0])
	return k
}

func (s *Sealer) seal(dst []byte, t ChunkType, plain []byte, sum *Key) (Pointer, []byte, error) {
	if len(plain) > MaxPlain {
		return Pointer{}, dst, fmt.Errorf("seal %v chunk of %d bytes: %w: at most %d", t, len(plain), ErrTooBig, MaxPlain)
	}
	base := len(dst)
	dst = slices.Grow(dst, headerSize+len(plain)+tagLen)
	out := s.appendPayload(dst, t, plain)
	payload := out[base:]
	var p Pointer
	if sum != nil && payload[2] == codecRaw {
		p.Key = *sum
	} else {
		p.Key = s.chunkKey(payload)
	}
	out = s.aeadSeal(out[:base], &p.Key, payload)
	p.ID = sealedID(out[base:])
	return p, out, nil
}

// appendPayload appends the header and the plain, compressed if that pays.
func (s *Sealer) appendPayload(dst []byte, t ChunkType, plain []byte) []byte {
	base := len(dst)
	dst = appendHeader(dst, t, len(plain))
	if t == ChunkExtents { // nearly all of it is pointers
		return append(dst, plain...)
	}
	dst, codec := s.codec.append(dst, plain)
	dst[base+2] = codec
	return dst
}

// appendHeader appends the header of a payload that is not compressed.
func appendHeader(dst []byte, t ChunkType, n int) []byte {
	dst = append(dst, payloadVersion, byte(t), codecRaw, 0)
	return binary.LittleEndian.AppendUint32(dst, uint32(n))
}

// chunkKey derives the key from the very bytes that it will seal.
func (s *Sealer) chunkKey(payload []byte) (k Key) {
	h := s.keyed
	h.Write(payload)
	h.Sum(k[:0])
	return k
}

// aeadSeal encrypts payload, which stands right behind dst, in place.
func (s *Sealer) aeadSeal(dst []byte, k *Key, payload []byte) []byte {
	aead, err := chacha20poly1305.New(k[:])
	if err != nil {
		panic("store: chacha20poly1305 with a 32 byte key: " + err.Error())
	}
	return aead.Seal(dst, s.nonce[:], payload, s.suite[:])
}

// Open appends the plaintext of sealed to dst. It verifies everything: that
// sealed is the chunk p.ID, that p.Key opens it, that the key is the one its
// content and this sharing key give, and that the chunk is of type t. All
// these fail with ErrDamaged, an unknown payload version or codec with
// ErrVersion. Dst and sealed must not overlap; dst is untouched on error.
func (s *Sealer) Open(dst []byte, p Pointer, t ChunkType, sealed []byte) ([]byte, error) {
	if err := VerifyID(p.ID, sealed); err != nil {
		return dst, err
	}
	return s.openVerified(dst, p, t, sealed)
}

// openVerified is Open for bytes that have been checked against p.ID.
func (s *Sealer) openVerified(dst []byte, p Pointer, t ChunkType, sealed []byte) ([]byte, error) {
	buf := s.getScratch(len(sealed))
	defer s.scratch.Put(buf)
	payload, err := s.aeadOpen((*buf)[:0], &p.Key, sealed)
	if err == nil {
		err = s.checkPayload(&p.Key, t, payload)
	}
	if err == nil {
		dst, err = s.codec.expand(dst, payload)
	}
	if err != nil {
		return dst, fmt.Errorf("open %v chunk %v: %w", t, p.ID, err)
	}
	return dst, nil
}

func (s *Sealer) aeadOpen(dst []byte, k *Key, sealed []byte) ([]byte, error) {
	aead, err := chacha20poly1305.New(k[:])
	if err != nil {
		panic("store: chacha20poly1305 with a 32 byte key: " + err.Error())
	}
	payload, err := aead.Open(dst, s.nonce[:], sealed, s.suite[:])
	if err != nil {
		return nil, fmt.Errorf("%w: the key does not open it", ErrDamaged)
	}
	return payload, nil
}

// checkPayload checks that the payload is what key and type say.
func (s *Sealer) checkPayload(k *Key, t ChunkType, payload []byte) error {
	if len(payload) < headerSize {
		return fmt.Errorf("%w: payload of %d bytes", ErrDamaged, len(payload))
	}
	if v := payload[0]; v != payloadVersion {
		return fmt.Errorf("%w: chunk payload version %d, known is %d", ErrVersion, v, payloadVersion)
	}
	if !s.chunkKey(payload).Equal(*k) {
		return fmt.Errorf("%w: the key is not that of the content under this sharing key", ErrDamaged)
	}
	if got := ChunkType(payload[1]); got != t {
		return fmt.Errorf("%w: it is a %v chunk", ErrDamaged, got)
	}
	if payload[3] != 0 {
		return fmt.Errorf("%w: reserved byte is %#x", ErrDamaged, payload[3])
	}
	return nil
}

func (s *Sealer) getScratch(n int) *[]byte {
	buf, _ := s.scratch.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	if cap(*buf) < n {
		*buf = make([]byte, 0, n)
	}
	return buf
}

// sealedID returns the ID of sealed bytes.
func sealedID(sealed []byte) (id ID) {
	h := blake3.New()
	h.WriteString(labelID)
	h.Write(sealed)
	h.Sum(id[:0])
	return id
}

// VerifyID checks that sealed is the chunk id, which needs no key: nil, or
// ErrDamaged.
func VerifyID(id ID, sealed []byte) error {
	if len(sealed) < MinSealed || len(sealed) > MaxSealed {
		return fmt.Errorf("chunk %v: %w: %d sealed bytes", id, ErrDamaged, len(sealed))
	}
	if sealedID(sealed) != id {
		return fmt.Errorf("chunk %v: %w: its bytes do not match its ID", id, ErrDamaged)
	}
	return nil
}
