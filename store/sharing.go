package store

import (
	"crypto/rand"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/chacha20poly1305"

	bolt "go.etcd.io/bbolt"
)

// SharingKey returns the sharing key of that name, or ErrNotFound.
func (s *Store) SharingKey(name string) (SharingKey, error) {
	var k SharingKey
	err := s.config.db.View(func(tx *bolt.Tx) error {
		box := tx.Bucket(sharingBucket).Get([]byte(name))
		if box == nil {
			return ErrNotFound
		}
		plain, err := xopen(s.secrets.vault[:], box, []byte(name))
		if err != nil {
			return fmt.Errorf("%w: does not unwrap", ErrDamaged)
		}
		k, err = ParseSharingKey(plain)
		return err
	})
	return k, sharingError("", name, err)
}

// AddSharingKey keeps a sharing key under a name: one to 255 bytes of UTF-8
// without slashes and control characters, not "." or "..". ErrExists if the
// name is taken.
func (s *Store) AddSharingKey(name string, key SharingKey) error {
	err := checkName(name)
	if err == nil {
		err = s.config.update(func(tx *bolt.Tx) error {
			b := tx.Bucket(sharingBucket)
			if b.Get([]byte(name)) != nil {
				return ErrExists
			}
			nonce := make([]byte, chacha20poly1305.NonceSizeX)
			rand.Read(nonce)
			return b.Put([]byte(name), xseal(s.secrets.vault[:], nonce, key[:], []byte(name)))
		})
	}
	return sharingError("add ", name, err)
}

// RemoveSharingKey forgets a sharing key, or returns ErrNotFound. What was
// sealed under it stays, unreadable from here.
func (s *Store) RemoveSharingKey(name string) error {
	err := s.config.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(sharingBucket)
		if b.Get([]byte(name)) == nil {
			return ErrNotFound
		}
		return b.Delete([]byte(name))
	})
	return sharingError("remove ", name, err)
}

// SharingKeys returns the names of all sharing keys, sorted.
func (s *Store) SharingKeys() []string {
	var names []string
	err := s.config.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(sharingBucket).ForEach(func(name, _ []byte) error {
			names = append(names, string(name))
			return nil
		})
	})
	if err != nil { // only when closed
		return nil
	}
	return names
}

func sharingError(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%ssharing key %q: %w", verb, name, configError(err))
}

// checkName asks for a name that can stand as one element of a path.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("name is empty")
	case len(name) > 255:
		return fmt.Errorf("name of %d bytes is longer than 255", len(name))
	case name == "." || name == "..":
		return fmt.Errorf("name is reserved")
	case !utf8.ValidString(name):
		return fmt.Errorf("name is not UTF-8")
	case strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsControl(r) }):
		return fmt.Errorf("name has a slash or a control character")
	}
	return nil
}
