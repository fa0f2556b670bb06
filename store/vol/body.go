package vol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"bazil/store"
)

// Body is the stored form of one file's bytes: what a directory entry holds
// for a file, and the Content of its merge.Version. It is canonical: files
// with equal bytes that were written the same way have equal Bodies. The
// empty file's Body is the empty string. All others begin with
//
//	byte 0    version, 1
//	byte 1    form
//
// and go on by form; uvarints are those of encoding/binary, in their shortest
// form, and a pointer is the 64 bytes of a store.Pointer:
//
//	1 hole     uvarint size                              nothing stored: all zeros; size > 64 KiB
//	2 inline   the bytes, to the end                     1 to 4096 of them
//	5 packed   uvarint size, store.Sealer.Pack of them   instead of inline where that is shorter by an eighth
//	3 chunk    uvarint size, pointer                     one data chunk of 4097 to 65536 bytes
//	4 extents  uvarint size, uvarint allocated,          size > 64 KiB; allocated bytes are in chunks,
//	           byte level, pointer                       the rest are holes; an extent chunk's pointer
//
// The size of a file decides between inline or packed, chunk, and hole or extents.
// The extent chunks are drawn at extentNode.
//
// A Body holds the keys of its chunks; it prints as its form and size only.
type Body string

// The sizes that decide the form of a Body, in bytes.
const (
	inlineMax = 4 << 10
	smallMax  = 64 << 10 // a file up to here is inline or one chunk
	fileMax   = 1 << 62  // the largest size of a file
)

// bodyForm is the second byte of a Body.
type bodyForm uint8

const (
	formHole bodyForm = 1 + iota
	formInline
	formChunk
	formExtents
	formPacked
)

const bodyVersion = 1

// pointerSize is the length of an encoded store.Pointer.
const pointerSize = store.PointerSize

// ErrBody is wrapped by the errors of Bodies and extent chunks that do not
// have the form this package writes.
var ErrBody = errors.New("malformed file body")

// bodyInfo is a parsed Body.
type bodyInfo struct {
	form      bodyForm
	size      int64
	allocated int64
	inline    string // the bytes themselves, or else they are in plain
	plain     []byte // of an inline or packed body that was opened; never changed
	packed    string // of formPacked
	level     int
	ptr       store.Pointer
}

// Size is the length of the file in bytes, 0 for a malformed Body.
func (b Body) Size() int64 {
	info, err := b.parse()
	if err != nil {
		return 0
	}
	return info.size
}

// Allocated is how many of the file's bytes are stored rather than holes.
func (b Body) Allocated() int64 {
	info, err := b.parse()
	if err != nil {
		return 0
	}
	return info.allocated
}

// Validate tells whether b is well formed, with an error that is ErrBody, or
// ErrVersion. It does not look at the chunks.
func (b Body) Validate() error {
	_, err := b.parse()
	return err
}

// String names the form and the size.
func (b Body) String() string {
	info, err := b.parse()
	if err != nil {
		return "body(malformed)"
	}
	return fmt.Sprintf("body(%s, %d bytes)", info.form, info.size)
}

// GoString is String: a Body's keys are not printed.
func (b Body) GoString() string { return b.String() }

// LogValue is String: a Body's keys are not logged.
func (b Body) LogValue() slog.Value { return slog.StringValue(b.String()) }

// String does not print the keys.
func (i bodyInfo) String() string { return i.encode().String() }

func (f bodyForm) String() string {
	switch f {
	case formHole:
		return "hole"
	case formInline:
		return "inline"
	case formChunk:
		return "chunk"
	case formExtents:
		return "extents"
	case formPacked:
		return "packed"
	}
	return "unknown"
}

func (b Body) parse() (bodyInfo, error) {
	if b == "" {
		return bodyInfo{form: formHole}, nil
	}
	if len(b) < 2 {
		return bodyInfo{}, fmt.Errorf("%w: %d bytes", ErrBody, len(b))
	}
	if b[0] != bodyVersion {
		return bodyInfo{}, unknownVersion("file body", b[0], bodyVersion)
	}
	info := bodyInfo{form: bodyForm(b[1])}
	var ok bool
	switch rest := string(b[2:]); info.form {
	case formHole:
		ok = info.parseHole(rest)
	case formInline:
		ok = info.parseInline(rest)
	case formChunk:
		ok = info.parseChunk(rest)
	case formExtents:
		ok = info.parseExtents(rest)
	case formPacked:
		ok = info.parsePacked(rest)
	default:
		return bodyInfo{}, fmt.Errorf("%w: form %d is not known", ErrBody, b[1])
	}
	if !ok {
		return bodyInfo{}, fmt.Errorf("%w: form %s", ErrBody, info.form)
	}
	return info, nil
}

func (i *bodyInfo) parseHole(s string) bool {
	size, s, ok := cutUvarint(s)
	i.size = size
	return ok && s == "" && size > smallMax && size <= fileMax
}

func (i *bodyInfo) parseInline(s string) bool {
	i.inline, i.size, i.allocated = s, int64(len(s)), int64(len(s))
	return len(s) >= 1 && len(s) <= inlineMax
}

func (i *bodyInfo) parsePacked(s string) bool {
	size, s, ok := cutUvarint(s)
	i.packed, i.size, i.allocated = s, size, size
	return ok && size <= inlineMax && packs(int(size), len(s))
}

// packs says whether packing saves so much that it is done.
func packs(size, packed int) bool { return packed > 0 && packed < size-size/8 }

func (i *bodyInfo) parseChunk(s string) bool {
	size, s, ok := cutUvarint(s)
	i.size, i.allocated = size, size
	return ok && i.parsePointer(s) && size > inlineMax && size <= smallMax
}

func (i *bodyInfo) parseExtents(s string) bool {
	size, s, ok := cutUvarint(s)
	if !ok || size <= smallMax || size > fileMax {
		return false
	}
	alloc, s, ok := cutUvarint(s)
	if !ok || alloc < 1 || alloc > size || len(s) < 1 || s[0] > extentTop {
		return false
	}
	i.size, i.allocated, i.level = size, alloc, int(s[0])
	return i.parsePointer(s[1:])
}

func (i *bodyInfo) parsePointer(s string) bool {
	if len(s) != pointerSize {
		return false
	}
	i.ptr = pointerAt([]byte(s))
	return !i.ptr.IsZero()
}

// encode is the inverse of parse; i has to be what a parse could give.
func (i bodyInfo) encode() Body {
	if i.size == 0 {
		return ""
	}
	b := append(make([]byte, 0, 96+len(i.inline)+len(i.plain)), bodyVersion, byte(i.form))
	switch i.form {
	case formHole:
		b = binary.AppendUvarint(b, uint64(i.size))
	case formInline:
		b = append(append(b, i.inline...), i.plain...)
	case formChunk:
		b = binary.AppendUvarint(b, uint64(i.size))
		b = i.ptr.Append(b)
	case formPacked:
		b = binary.AppendUvarint(b, uint64(i.size))
		b = append(b, i.packed...)
	case formExtents:
		b = binary.AppendUvarint(b, uint64(i.size))
		b = binary.AppendUvarint(b, uint64(i.allocated))
		b = append(b, byte(i.level))
		b = i.ptr.Append(b)
	}
	return Body(b)
}

// cutUvarint takes a uvarint in its shortest form off the front of s; ok is
// false if there is none, or if it does not fit an int64.
func cutUvarint[T string | []byte](s T) (v int64, rest T, ok bool) {
	var x uint64
	for i := 0; i < len(s) && i < 9; i++ {
		c := s[i]
		x |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return int64(x), s[i+1:], c != 0 || i == 0
		}
	}
	return 0, s, false
}

// pointerAt reads the pointer in the first pointerSize bytes of b.
func pointerAt(b []byte) (p store.Pointer) {
	n := copy(p.ID[:], b)
	copy(p.Key[:], b[n:pointerSize])
	return p
}
