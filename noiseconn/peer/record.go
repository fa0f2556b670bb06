package peer

import (
	"encoding/binary"
	"fmt"
)

// kind is a record's first byte.
type kind byte

const (
	kindEnd      kind = 'z'
	kindError    kind = 'e'
	kindInfo     kind = 'i'
	kindReplicas kind = 'r'
	kindEvent    kind = 'v'
	kindChunk    kind = 'c'
	kindMissing  kind = 'm'
	kindDir      kind = 'd'
	kindNames    kind = 'n'
)

// recordHead is the length of a record's kind and length.
const recordHead = 5

// beginRecord appends the head of a record whose length is yet to be set.
func beginRecord(b []byte, k kind) []byte {
	return append(b, byte(k), 0, 0, 0, 0)
}

// endRecord sets the length of the record that begins at start.
func endRecord(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-recordHead))
	return b
}

// appendRecord appends a record whose body is v in CBOR, or empty for nil.
func appendRecord(b []byte, k kind, v any) ([]byte, error) {
	start := len(b)
	b = beginRecord(b, k)
	if v != nil {
		var err error
		if b, err = wire.appendItem(b, v); err != nil {
			return b[:start], err
		}
	}
	if n := len(b) - start - recordHead; n > maxRecord {
		return b[:start], fmt.Errorf("a record of %d bytes is too long to be sent", n)
	}
	return endRecord(b, start), nil
}

// splitter finds the records in a stream that comes in pieces.
type splitter struct {
	buf  []byte // a record's head and body, as far as they came
	rest []byte // of the last piece
}

// next returns the next record, whose body is valid until the next call. ok is
// false when feed has to give more.
func (s *splitter) next() (k kind, body []byte, ok bool, err error) {
	if len(s.buf) == 0 {
		if k, body, ok, err = s.direct(); ok || err != nil {
			return k, body, ok, err
		}
	}
	if !s.take(recordHead) {
		return 0, nil, false, nil
	}
	n, err := bodyLen(s.buf)
	if err != nil || !s.take(recordHead+n) {
		return 0, nil, false, err
	}
	k, body = kind(s.buf[0]), s.buf[recordHead:]
	s.buf = s.buf[:0]
	return k, body, true, nil
}

// direct returns a record that is whole in rest, without copying it.
func (s *splitter) direct() (kind, []byte, bool, error) {
	if len(s.rest) < recordHead {
		return 0, nil, false, nil
	}
	n, err := bodyLen(s.rest)
	if err != nil || len(s.rest) < recordHead+n {
		return 0, nil, false, err
	}
	rec := s.rest[:recordHead+n]
	s.rest = s.rest[len(rec):]
	return kind(rec[0]), rec[recordHead:], true, nil
}

// take moves bytes from rest to buf until that holds n; false: rest is too short.
// buf grows as bytes come, not by what a head promises.
func (s *splitter) take(n int) bool {
	m := min(max(n-len(s.buf), 0), len(s.rest))
	s.buf = append(s.buf, s.rest[:m]...)
	s.rest = s.rest[m:]
	return len(s.buf) >= n
}

// feed gives the next piece, which must not change until the next feed. The
// one before must be used up.
func (s *splitter) feed(piece []byte) { s.rest = piece }

// empty is true between two records.
func (s *splitter) empty() bool { return len(s.buf)+len(s.rest) == 0 }

func bodyLen(head []byte) (int, error) {
	n := binary.BigEndian.Uint32(head[1:recordHead])
	if n > maxRecord {
		return 0, fmt.Errorf("a record of %d bytes, more than %d", n, maxRecord)
	}
	return int(n), nil
}
