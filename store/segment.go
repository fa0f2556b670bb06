package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// segment is one file of chunks.
//
// A segment is unsealed while its chunks are only in its memory map: it is
// being appended to, or full and waiting for its footer, or failed. It is
// sealed when its footer is durable; then it never changes.
type segment struct {
	number uint32
	handle *handle

	// Guarded by Chunks.mu.
	size    int64       // where the records end
	durable int64       // the file is known to be on disk up to here
	chunks  int64       // records
	bytes   int64       // sealed bytes in them
	mem     map[ID]span // where chunks are; nil once sealed
	marked  bool        // the last record says that all before it is durable
	retired bool        // nothing is appended any more
	failed  bool        // a flush failed: nothing is appended any more, and no footer written
	dying   bool        // collection is emptying it: nothing may come to depend on it
}

// span is where a chunk stands in a segment.
type span struct {
	offset uint32 // of the record header
	length uint32 // of the sealed bytes
}

func (s *segment) entry(id ID, sp span) entry {
	return entry{id: id, segment: s.number, offset: sp.offset, length: sp.length}
}

// segmentName and tableName are the names of files in the chunks and the index
// directory.
func segmentName(n uint32) string { return fmt.Sprintf("%08d.seg", n) }
func tableName(n uint32) string   { return fmt.Sprintf("%08d.tab", n) }

const newSuffix = ".new" // of a table that is being written

// parseName reads a name that segmentName or tableName made.
func parseName(name, suffix string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) < 8 || digits != strings.TrimLeft(digits, "+-") {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0 && fmt.Sprintf("%08d%s", n, suffix) == name
}

// createSegment makes a segment file with its header; its name is not durable yet.
func createSegment(hs *handles, dir string, number uint32) (*segment, error) {
	path := filepath.Join(dir, segmentName(number))
	f, err := hs.files.create(path)
	if err != nil {
		return nil, err
	}
	header := segmentHeader{number: number, created: time.Now()}.append(nil)
	if _, err := f.WriteAt(header, 0); err != nil {
		return nil, errors.Join(err, f.Close(), hs.files.remove(path))
	}
	return emptySegment(hs, path, f, number), nil
}

// emptySegment is one of which the file f has a header and no more.
func emptySegment(hs *handles, path string, f file, number uint32) *segment {
	return &segment{number: number, handle: hs.add(path, f), size: segmentHeaderSize, mem: map[ID]span{}}
}

// readSealed reads the sealed bytes of an entry and appends them to dst,
// unverified.
func (s *segment) readSealed(dst []byte, e entry) ([]byte, error) {
	base := len(dst)
	out := grow(dst, int(e.length))
	if err := s.handle.readAt(out[base:], int64(e.offset)+recordHeaderSize); err != nil {
		return dst, err
	}
	return out, nil
}

// readChecked appends the sealed bytes of an entry to dst if they are those
// that its record's header tells of.
func (s *segment) readChecked(dst []byte, e entry) ([]byte, error) {
	var head [recordHeaderSize]byte
	if err := s.handle.readAt(head[:], int64(e.offset)); err != nil {
		return dst, err
	}
	r, err := parseRecord(head[:], e.segment, int64(e.offset))
	if err == nil && (r.filler || r.id != e.id || r.length != e.length) {
		err = fmt.Errorf("record header %w: it is that of chunk %v", ErrDamaged, r.id)
	}
	if err != nil {
		return dst, err
	}
	out, err := s.readSealed(dst, e)
	if err == nil && crc(out[len(dst):]) != r.dataCRC {
		err = fmt.Errorf("record %w: its bytes do not match their checksum", ErrDamaged)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// grow returns b with n more bytes of any content.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	out := make([]byte, len(b)+n)
	copy(out, b)
	return out
}
