package store

import (
	"encoding/hex"
	"fmt"
	"log/slog"
)

// ID names a chunk: BLAKE3 of its sealed bytes, see the package comment. It is
// no secret; anyone can check sealed bytes against it with VerifyID.
type ID [32]byte

// String returns 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns what String does.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	v, err := ParseID(string(text))
	if err == nil {
		*id = v
	}
	return err
}

// MarshalBinary returns the 32 bytes.
func (id ID) MarshalBinary() ([]byte, error) { return append([]byte(nil), id[:]...), nil }

// UnmarshalBinary takes exactly 32 bytes.
func (id *ID) UnmarshalBinary(data []byte) error {
	if len(data) != len(id) {
		return fmt.Errorf("chunk ID of %d bytes, want %d", len(data), len(id))
	}
	copy(id[:], data)
	return nil
}

// ParseID reads 64 hex digits.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != hex.EncodedLen(len(id)) {
		return ID{}, fmt.Errorf("chunk ID of %d characters, want %d hex digits", len(s), hex.EncodedLen(len(id)))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("chunk ID: %w", err)
	}
	return id, nil
}

// PointerSize is the length of an encoded Pointer.
const PointerSize = 64

// Pointer is all it takes to read a chunk: which one, and the key that opens
// it. It is a secret because of its key and stands only inside encrypted or
// local metadata. The zero Pointer points nowhere.
type Pointer struct {
	ID  ID
	Key Key
}

// IsZero reports whether p points nowhere.
func (p Pointer) IsZero() bool { return p == Pointer{} }

// Append appends the 64 bytes of p, ID then key, to b.
func (p Pointer) Append(b []byte) []byte {
	b = append(b, p.ID[:]...)
	return append(b, p.Key[:]...)
}

// MarshalBinary returns the 64 bytes of p.
func (p Pointer) MarshalBinary() ([]byte, error) { return p.Append(nil), nil }

// UnmarshalBinary takes exactly 64 bytes.
func (p *Pointer) UnmarshalBinary(data []byte) error {
	v, err := ParsePointer(data)
	if err == nil {
		*p = v
	}
	return err
}

// ParsePointer reads what Append wrote, exactly 64 bytes.
func ParsePointer(b []byte) (Pointer, error) {
	var p Pointer
	if len(b) != PointerSize {
		return p, fmt.Errorf("chunk pointer of %d bytes, want %d", len(b), PointerSize)
	}
	copy(p.ID[:], b)
	copy(p.Key[:], b[len(p.ID):])
	return p, nil
}

// String shows the chunk's ID and hides the key.
func (p Pointer) String() string { return p.ID.String() + "+" + redacted }

// Format prints String for every verb.
func (p Pointer) Format(f fmt.State, verb rune) { fmt.Fprint(f, p.String()) }

// LogValue is what a log gets to see: String.
func (p Pointer) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText returns String, which cannot be read back.
func (p Pointer) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ChunkType says what a chunk's plaintext is. It is sealed with the chunk, so
// that bytes of one type are never read as another.
type ChunkType uint8

// The types of chunk.
const (
	ChunkData     ChunkType = 1 // bytes of a file
	ChunkExtents  ChunkType = 2 // a file's list of extents
	ChunkTree     ChunkType = 3 // a directory of a snapshot
	ChunkSnapshot ChunkType = 4 // the root of a snapshot
)

// String returns the type's name.
func (t ChunkType) String() string {
	switch t {
	case ChunkData:
		return "data"
	case ChunkExtents:
		return "extents"
	case ChunkTree:
		return "tree"
	case ChunkSnapshot:
		return "snapshot"
	}
	return fmt.Sprintf("type %d", uint8(t))
}
