package store

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
)

// redacted is what any secret prints as.
const redacted = "[secret]"

// Key opens one chunk. It never prints.
type Key [32]byte

// String hides the key.
func (Key) String() string { return redacted }

// Format hides the key from every verb.
func (Key) Format(f fmt.State, verb rune) { fmt.Fprint(f, redacted) }

// LogValue hides the key from logs.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the key from JSON and the like.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Equal compares in constant time.
func (k Key) Equal(o Key) bool { return subtle.ConstantTimeCompare(k[:], o[:]) == 1 }

// MarshalBinary returns the 32 secret bytes, for encrypted or local metadata.
func (k Key) MarshalBinary() ([]byte, error) { return append([]byte(nil), k[:]...), nil }

// UnmarshalBinary takes exactly 32 bytes.
func (k *Key) UnmarshalBinary(data []byte) error {
	if len(data) != len(k) {
		return fmt.Errorf("chunk key of %d bytes, want %d", len(data), len(k))
	}
	copy(k[:], data)
	return nil
}

// SharingKey is the secret that people who share content have in common: who
// has it can read the chunks sealed under it, and check whether a guessed
// content is among them. It never prints.
type SharingKey [32]byte

// NewSharingKey makes a random one.
func NewSharingKey() SharingKey {
	var k SharingKey
	rand.Read(k[:])
	return k
}

// ParseSharingKey takes exactly 32 bytes.
func ParseSharingKey(b []byte) (SharingKey, error) {
	var k SharingKey
	if len(b) != len(k) {
		return k, fmt.Errorf("sharing key of %d bytes, want exactly %d", len(b), len(k))
	}
	copy(k[:], b)
	return k, nil
}

// String hides the key.
func (SharingKey) String() string { return redacted }

// Format hides the key from every verb.
func (SharingKey) Format(f fmt.State, verb rune) { fmt.Fprint(f, redacted) }

// LogValue hides the key from logs.
func (SharingKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the key from JSON and the like.
func (SharingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Equal compares in constant time.
func (k SharingKey) Equal(o SharingKey) bool { return subtle.ConstantTimeCompare(k[:], o[:]) == 1 }

// Fingerprint returns 32 hex digits that tell keys apart and give nothing away.
func (k SharingKey) Fingerprint() string {
	d := k.derive("bazil/v1/fingerprint")
	return hex.EncodeToString(d[:16])
}

// derive returns HKDF-SHA256 (RFC 5869) of the key with no salt and the label
// as info: each use of the key has a label of its own.
func (k SharingKey) derive(label string) [32]byte {
	b, err := hkdf.Key(sha256.New, k[:], nil, label, 32)
	if err != nil {
		panic("store: hkdf of fixed sizes: " + err.Error())
	}
	return [32]byte(b)
}
