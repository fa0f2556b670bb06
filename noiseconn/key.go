package noiseconn

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
)

// PublicKey names a device: its static Curve25519 public key.
type PublicKey [32]byte

// SecretKey is a device's static Curve25519 secret key. It never prints.
type SecretKey [32]byte

// NewSecretKey makes a key from the system's random numbers.
func NewSecretKey() SecretKey {
	var k SecretKey
	rand.Read(k[:]) // never fails
	return k
}

// Public returns the public key that belongs to k.
func (k SecretKey) Public() PublicKey {
	s, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic(err) // 32 bytes always are a key
	}
	return PublicKey(s.PublicKey().Bytes())
}

const redacted = "(secret key)"

// String hides the key.
func (k SecretKey) String() string { return redacted }

// Format hides the key from every verb.
func (k SecretKey) Format(s fmt.State, _ rune) { fmt.Fprint(s, redacted) }

// LogValue hides the key from logs.
func (k SecretKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the key from encoders of text.
func (k SecretKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ParsePublicKey reads the 64 hexadecimal digits of a public key. The error
// says what is wrong with s.
func ParsePublicKey(s string) (PublicKey, error) {
	var k PublicKey
	for i, r := range s {
		if !isHex(r) {
			return k, fmt.Errorf("public key has %q at position %d, want hex digits only", r, i+1)
		}
	}
	if len(s) != hex.EncodedLen(len(k)) {
		return k, fmt.Errorf("public key has %d hex digits, want %d", len(s), hex.EncodedLen(len(k)))
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return k, fmt.Errorf("public key: %w", err)
	}
	if k == (PublicKey{}) {
		return k, errors.New("public key is all zeros, which is nobody's")
	}
	return k, nil
}

func isHex(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F'
}

// String returns 64 lower-case hexadecimal digits.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// Short returns the first 8 digits, for messages to people who have few peers.
func (k PublicKey) Short() string { return hex.EncodeToString(k[:4]) }

// MarshalText is String, for encoders of text.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is ParsePublicKey, for decoders of text and flags.
func (k *PublicKey) UnmarshalText(text []byte) error {
	p, err := ParsePublicKey(string(text))
	if err != nil {
		return err
	}
	*k = p
	return nil
}
