package store

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// tokenHead begins the text form of a sealed pointer. What follows is, in
// unpadded base64url, a nonce of 24 bytes and XChaCha20-Poly1305 of the
// pointer's 64, under the sharing key's derivation "bazil/v1/pointer" and with
// tokenHead as additional data.
const (
	tokenKind    = "bazil-snapshot-"
	tokenVersion = "1"
	tokenHead    = tokenKind + tokenVersion + "-"
)

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
	text = strings.TrimSpace(text)
	if v, ok := otherVersion(text); ok {
		return Pointer{}, fmt.Errorf("snapshot pointer: %w %s, known is %s", ErrVersion, v, tokenVersion)
	}
	data, ok := strings.CutPrefix(text, tokenHead)
	box, err := base64.RawURLEncoding.DecodeString(data)
	if !ok || err != nil || len(box) != chacha20poly1305.NonceSizeX+PointerSize+chacha20poly1305.Overhead {
		return Pointer{}, errors.New("this is not a whole snapshot pointer, which begins with " + tokenHead)
	}
	key := k.derive("bazil/v1/pointer")
	plain, err := xopen(key[:], box, []byte(tokenHead))
	if err != nil {
		return Pointer{}, errors.New("the snapshot pointer was sealed under another sharing key, or is damaged")
	}
	return ParsePointer(plain)
}

// otherVersion returns the number of the version that a pointer's text is of,
// if it has one that is not known here.
func otherVersion(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, tokenKind)
	v, _, whole := strings.Cut(rest, "-")
	_, err := strconv.ParseUint(v, 10, 32)
	return v, ok && whole && err == nil && v != tokenVersion
}
