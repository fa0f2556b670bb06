package store

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// tokenHead begins the text form of a sealed pointer. What follows is, in
// unpadded base64url, a nonce of 24 bytes and XChaCha20-Poly1305 of the
// pointer's 64, under the sharing key's derivation "bazil/v1/pointer" and with
// tokenHead as additional data.
const tokenHead = "bazil-snapshot-1-"

// SealPointer returns a pointer as text that may be kept and sent anywhere:
// it takes the sharing key to read it.
func (k SharingKey) SealPointer(p Pointer) string {
	key := k.derive("bazil/v1/pointer")
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	rand.Read(nonce)
	box := xseal(key[:], nonce, p.Append(nil), []byte(tokenHead))
	return tokenHead + base64.RawURLEncoding.EncodeToString(box)
}

// OpenPointer reads what SealPointer made. The errors tell text that is no
// such pointer from one that another key sealed.
func (k SharingKey) OpenPointer(text string) (Pointer, error) {
	data, ok := strings.CutPrefix(strings.TrimSpace(text), tokenHead)
	box, err := base64.RawURLEncoding.DecodeString(data)
	if !ok || err != nil || len(box) != chacha20poly1305.NonceSizeX+PointerSize+chacha20poly1305.Overhead {
		if strings.HasPrefix(text, "bazil-snapshot-") && !ok {
			return Pointer{}, fmt.Errorf("snapshot pointer: %w", ErrVersion)
		}
		return Pointer{}, errors.New("this is not a whole snapshot pointer, which begins with " + tokenHead)
	}
	key := k.derive("bazil/v1/pointer")
	plain, err := xopen(key[:], box, []byte(tokenHead))
	if err != nil {
		return Pointer{}, errors.New("the snapshot pointer was sealed under another sharing key, or is damaged")
	}
	return ParsePointer(plain)
}
