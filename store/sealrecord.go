package store

import (
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// labelRecord is that of the key for records, which are of one device only.
const labelRecord = "bazil/v1/record"

// RecordOverhead is by how much SealRecord makes a record longer.
const RecordOverhead = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// newRecordAEAD returns the cipher for records under k.
func newRecordAEAD(k SharingKey) cipher.AEAD {
	key := k.derive(labelRecord)
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic("store: xchacha20poly1305 with a 32 byte key: " + err.Error())
	}
	return aead
}

// SealRecord appends to dst what is kept on this device only, outside the
// chunk store: a nonce of 24 random bytes, then XChaCha20-Poly1305 of plain
// under a key for that. Context is authenticated and not contained.
func (s *Sealer) SealRecord(dst, plain, context []byte) []byte {
	var nonce [chacha20poly1305.NonceSizeX]byte
	rand.Read(nonce[:])
	return s.records.Seal(append(dst, nonce[:]...), nonce[:], plain, context)
}

// OpenRecord returns what SealRecord sealed: ErrDamaged if any of it, the
// context or the sharing key is another.
func (s *Sealer) OpenRecord(sealed, context []byte) ([]byte, error) {
	if len(sealed) < RecordOverhead {
		return nil, fmt.Errorf("%w: record of %d sealed bytes", ErrDamaged, len(sealed))
	}
	nonce, box := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	plain, err := s.records.Open(nil, nonce, box, context)
	if err != nil {
		return nil, fmt.Errorf("%w: the sharing key does not open the record", ErrDamaged)
	}
	return plain, nil
}
