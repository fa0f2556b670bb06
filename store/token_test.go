package store

import (
	"errors"
	"strings"
	"testing"
)

func TestSealedPointer(t *testing.T) {
	k := NewSharingKey()
	p := Pointer{ID: ID{1, 2, 3}, Key: Key{4, 5, 6}}
	text := k.SealPointer(p)
	if got, err := k.OpenPointer(text + "\n"); err != nil || got != p {
		t.Fatalf("%v, %v", got, err)
	}
	if text == k.SealPointer(p) {
		t.Error("the nonce is used twice")
	}
	_, err := NewSharingKey().OpenPointer(text)
	if err == nil || !strings.Contains(err.Error(), "another sharing key") {
		t.Errorf("another key: %v", err)
	}
	for _, bad := range []string{"", "x", tokenHead, text[:len(text)-2], text + "AAAA", tokenHead + "!" + text[len(tokenHead)+1:], "bazil-snapshot-", "bazil-snapshot-x-AAAA", "bazil-snapshot-2"} {
		if _, err := k.OpenPointer(bad); err == nil || !strings.Contains(err.Error(), "not a whole snapshot pointer") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := k.OpenPointer("bazil-snapshot-2-AAAA"); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "version 2, known is 1") {
		t.Errorf("another version: %v", err)
	}
	for i := len(tokenHead); i < len(text); i++ {
		flipped := []byte(text)
		flipped[i] ^= 1
		if _, err := k.OpenPointer(string(flipped)); err == nil && i < len(text)-1 {
			t.Errorf("the character at %d does not count", i)
		}
	}
}
