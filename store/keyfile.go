package store

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/curve25519"
)

// secrets are what the key file holds.
type secrets struct {
	device [32]byte // curve25519 secret key of the device
	vault  [32]byte // wraps the sharing keys in the configuration
}

// String hides the secrets.
func (secrets) String() string { return redacted }

// Format hides the secrets from every verb.
func (secrets) Format(f fmt.State, verb rune) { fmt.Fprint(f, redacted) }

func newSecrets() (secrets, error) {
	var s secrets
	rand.Read(s.device[:])
	rand.Read(s.vault[:])
	_, err := s.public()
	return s, err
}

// public returns the device's public key in hex.
func (s secrets) public() (string, error) {
	pub, err := curve25519.X25519(s.device[:], curve25519.Basepoint)
	return hex.EncodeToString(pub), err
}

// PublicKey returns the device's public key, 64 lower-case hex digits. It
// reads one file, takes no lock and needs no passphrase, so that it works
// while a server runs.
func PublicKey(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, pubkeyFile))
	if err != nil {
		return "", fmt.Errorf("public key of data directory %s: %w", dir, err)
	}
	text := strings.TrimSpace(string(b))
	if raw, err := hex.DecodeString(text); err != nil || len(raw) != 32 {
		return "", fmt.Errorf("public key of data directory %s: %w: not 64 hex digits", dir, ErrDamaged)
	}
	return strings.ToLower(text), nil
}

// The key file is text. Without a passphrase:
//
//	bazil key 1
//	plain
//	<128 hex digits: device, vault>
//
// and with one:
//
//	bazil key 1
//	argon2id <passes> <KiB of memory> <threads> <32 hex digits of salt>
//	<hex: 24 bytes of nonce, then device ‖ vault sealed by XChaCha20-Poly1305
//	 under the argon2id key, the first two lines being the additional data>
const keyFileHead = "bazil key 1\n"

// Costs of the passphrase, after RFC 9106's second choice, and what a key file
// may ask for at most.
const (
	argonTime, argonMemory, argonThreads = 3, 64 << 10, 4
	maxArgonTime, maxArgonMemory         = 100, 4 << 20
)

// writeSecrets writes the key file, wrapped if there is a passphrase, and
// pubkey, both all or nothing.
func writeSecrets(dir string, s secrets, passphrase []byte) error {
	pub, err := s.public()
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(dir, keyFile), encodeSecrets(s, passphrase)); err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, pubkeyFile), []byte(pub+"\n"))
}

func encodeSecrets(s secrets, passphrase []byte) []byte {
	plain := append(s.device[:], s.vault[:]...)
	if len(passphrase) == 0 {
		return []byte(keyFileHead + "plain\n" + hex.EncodeToString(plain) + "\n")
	}
	salt, nonce := make([]byte, 16), make([]byte, chacha20poly1305.NonceSizeX)
	rand.Read(salt)
	rand.Read(nonce)
	head := fmt.Sprintf("%sargon2id %d %d %d %x\n", keyFileHead, argonTime, argonMemory, argonThreads, salt)
	key := argon2.IDKey(passphrase, salt, argonTime, argonMemory, argonThreads, 32)
	box := xseal(key, nonce, plain, []byte(head))
	return []byte(head + hex.EncodeToString(box) + "\n")
}

// readSecrets reads the key file. Ask is called for the passphrase if there is one.
func readSecrets(dir string, ask func() ([]byte, error)) (secrets, error) {
	path := filepath.Join(dir, keyFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return secrets{}, err
	}
	s, err := decodeSecrets(b, ask)
	if err != nil {
		return secrets{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func decodeSecrets(b []byte, ask func() ([]byte, error)) (secrets, error) {
	first, rest, _ := strings.Cut(string(b), "\n")
	if first+"\n" != keyFileHead {
		if !strings.HasPrefix(first, "bazil key ") {
			return secrets{}, fmt.Errorf("%w: not a key file", ErrDamaged)
		}
		return secrets{}, fmt.Errorf("%w %.40q, known is %q", ErrVersion, first, strings.TrimSuffix(keyFileHead, "\n"))
	}
	second, rest, _ := strings.Cut(rest, "\n")
	data, err := hex.DecodeString(strings.TrimSuffix(rest, "\n"))
	if err != nil {
		return secrets{}, fmt.Errorf("%w: third line is not hex", ErrDamaged)
	}
	if second != "plain" {
		if data, err = unwrap(keyFileHead+second+"\n", second, data, ask); err != nil {
			return secrets{}, err
		}
	}
	var s secrets
	if len(data) != len(s.device)+len(s.vault) {
		return secrets{}, fmt.Errorf("%w: %d secret bytes", ErrDamaged, len(data))
	}
	copy(s.device[:], data)
	copy(s.vault[:], data[len(s.device):])
	return s, nil
}

// unwrap opens wrapped secrets with the passphrase that ask returns.
func unwrap(head, spec string, box []byte, ask func() ([]byte, error)) ([]byte, error) {
	var passes, memory uint32
	var threads uint8
	var salt []byte
	n, err := fmt.Sscanf(spec, "argon2id %d %d %d %x", &passes, &memory, &threads, &salt)
	if n != 4 || err != nil {
		return nil, fmt.Errorf("%w: key wrapping %.40q, known are plain and argon2id", ErrVersion, spec)
	}
	if passes < 1 || passes > maxArgonTime || memory > maxArgonMemory || threads < 1 || len(salt) < 8 {
		return nil, fmt.Errorf("%w: argon2id parameters out of bounds", ErrDamaged)
	}
	if ask == nil {
		return nil, fmt.Errorf("%w: the data directory has one", ErrPassphrase)
	}
	passphrase, err := ask()
	if err != nil {
		return nil, errors.Join(ErrPassphrase, err)
	}
	key := argon2.IDKey(passphrase, salt, passes, memory, threads, 32)
	plain, err := xopen(key, box, []byte(head))
	if err != nil {
		return nil, ErrPassphrase
	}
	return plain, nil
}

// SetPassphrase changes what wraps the secrets of the data directory dir, all
// or nothing: old is the present passphrase, empty for none, and next the new
// one, empty to wrap them no more. No server may run. ErrPassphrase if old is wrong.
func SetPassphrase(dir string, old, next []byte) error {
	return ChangePassphrase(dir,
		func() ([]byte, error) { return old, nil },
		func() ([]byte, error) { return next, nil })
}

// ChangePassphrase is SetPassphrase that asks: for the old passphrase if there
// is one, and for the new one when the old one was right.
func ChangePassphrase(dir string, old, next func() ([]byte, error)) error {
	if err := changePassphrase(dir, old, next); err != nil {
		return fmt.Errorf("passphrase of data directory %s: %w", dir, err)
	}
	return nil
}

func changePassphrase(dir string, old, next func() ([]byte, error)) error {
	if err := checkFormat(dir); err != nil {
		return err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	s, err := readSecrets(dir, old)
	if err != nil {
		return err
	}
	passphrase, err := next()
	if err != nil {
		return err
	}
	return writeSecrets(dir, s, passphrase)
}

// xseal returns nonce ‖ XChaCha20-Poly1305(key, nonce, plain).
func xseal(key, nonce, plain, ad []byte) []byte {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic("store: xchacha20poly1305 with a 32 byte key: " + err.Error())
	}
	return aead.Seal(bytes.Clone(nonce), nonce, plain, ad)
}

// xopen opens what xseal made.
func xopen(key, box, ad []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic("store: xchacha20poly1305 with a 32 byte key: " + err.Error())
	}
	if len(box) < aead.NonceSize() {
		return nil, ErrDamaged
	}
	return aead.Open(nil, box[:aead.NonceSize()], box[aead.NonceSize():], ad)
}
