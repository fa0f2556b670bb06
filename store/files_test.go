package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestWritePartsAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := osFiles{}.create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	big := noise(3<<20, 1)
	for _, parts := range [][][]byte{{}, {nil}, {nil, []byte("a"), nil}, {[]byte("head"), big, []byte("tail")}, {[]byte("x"), nil}} {
		want := append([]byte{0, 0, 0}, bytes.Join(parts, nil)...)
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if err := f.WritePartsAt(parts, 3); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || len(want) > 3 && !bytes.Equal(got, want) || len(want) == 3 && len(got) != 0 {
			t.Fatalf("%d parts: %d bytes, want %d: %v", len(parts), len(got), len(want), err)
		}
	}
}

func TestDropBytes(t *testing.T) {
	parts := [][]byte{[]byte("ab"), {}, []byte("cde"), {}}
	for n, want := range []string{"abcde", "bcde", "cde", "de", "e", ""} {
		left := dropBytes(parts, n)
		if got := string(bytes.Join(left, nil)); got != want || want == "" && len(left) > 0 {
			t.Errorf("without %d bytes: %q in %d parts, want %q", n, got, len(left), want)
		}
	}
	if string(parts[0]) != "ab" || string(parts[2]) != "cde" {
		t.Error("the caller's parts were changed")
	}
}
