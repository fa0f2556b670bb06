package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// Sizes in a segment file; the package comment draws it.
const (
	segmentHeaderSize = 64
	recordHeaderSize  = 64
	recordAlign       = 8
	maxSegmentSize    = 1 << 30 // offsets in a segment fit 32 bits with room to spare
	segmentVersion    = 1
)

var (
	segmentMagic = [8]byte{'b', 'a', 'z', 'i', 'l', 's', 'e', 'g'}
	recordMagic  = [4]byte{0xb2, 'z', 'R', 'c'}
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// segmentHeader starts a segment file.
type segmentHeader struct {
	number  uint32
	created time.Time
}

func (h segmentHeader) append(b []byte) []byte {
	base := len(b)
	b = append(b, segmentMagic[:]...)
	b = binary.LittleEndian.AppendUint32(b, segmentVersion)
	b = binary.LittleEndian.AppendUint32(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.created.UnixNano()))
	b = append(b, make([]byte, segmentHeaderSize-4-(len(b)-base))...)
	return binary.LittleEndian.AppendUint32(b, crc(b[base:]))
}

// parseSegmentHeader reads the header of segment number: ErrDamaged if it is
// not that, ErrVersion if it is of a version not known.
func parseSegmentHeader(b []byte, number uint32) (segmentHeader, error) {
	if len(b) < segmentHeaderSize || [8]byte(b[:8]) != segmentMagic ||
		crc(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return segmentHeader{}, fmt.Errorf("segment header %w", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion {
		return segmentHeader{}, fmt.Errorf("segment: %w %d, known is %d", ErrVersion, v, segmentVersion)
	}
	h := segmentHeader{
		number:  binary.LittleEndian.Uint32(b[12:]),
		created: time.Unix(0, int64(binary.LittleEndian.Uint64(b[16:]))),
	}
	if h.number != number {
		return h, fmt.Errorf("segment header %w: it is that of segment %d", ErrDamaged, h.number)
	}
	return h, nil
}

// record is the header of one chunk in a segment, or of a filler, which stands
// where a crash left bytes of no use between records.
type record struct {
	filler  bool // no chunk: the bytes behind the header may be anything
	id      ID
	segment uint32 // the segment it stands in
	offset  uint32 // of this header in the segment
	length  uint32 // of the sealed bytes behind the header
	durable uint32 // the segment was durable up to here when this was written
	dataCRC uint32 // of the sealed bytes
}

// size returns the bytes the record takes with header and padding.
func (r record) size() int64 { return recordSize(int(r.length)) }

func recordSize(length int) int64 {
	return int64(recordHeaderSize + (length+recordAlign-1)/recordAlign*recordAlign)
}

func (r record) append(b []byte) []byte {
	base := len(b)
	b = append(b, recordMagic[:]...)
	b = binary.LittleEndian.AppendUint32(b, r.segment)
	b = binary.LittleEndian.AppendUint32(b, r.offset)
	b = binary.LittleEndian.AppendUint32(b, r.length)
	b = binary.LittleEndian.AppendUint32(b, r.durable)
	b = binary.LittleEndian.AppendUint32(b, r.dataCRC)
	b = append(b, suite1, r.kind(), 0, 0)
	b = append(b, r.id[:]...)
	return binary.LittleEndian.AppendUint32(b, crc(b[base:]))
}

// Kinds of record: the byte behind the suite.
const (
	kindChunk  = 0
	kindFiller = 1
)

func (r record) kind() byte {
	if r.filler {
		return kindFiller
	}
	return kindChunk
}

// parseRecord reads the record header that stands at offset in segment. It
// fails with ErrDamaged if there is none, or with ErrVersion.
func parseRecord(b []byte, segment uint32, offset int64) (record, error) {
	if len(b) < recordHeaderSize || [4]byte(b[:4]) != recordMagic ||
		crc(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return record{}, fmt.Errorf("record header %w", ErrDamaged)
	}
	r := record{
		segment: binary.LittleEndian.Uint32(b[4:]),
		offset:  binary.LittleEndian.Uint32(b[8:]),
		length:  binary.LittleEndian.Uint32(b[12:]),
		durable: binary.LittleEndian.Uint32(b[16:]),
		dataCRC: binary.LittleEndian.Uint32(b[20:]),
		id:      ID(b[28:60]),
	}
	if r.segment != segment || int64(r.offset) != offset {
		return r, fmt.Errorf("record header %w: it belongs elsewhere", ErrDamaged)
	}
	if b[24] != suite1 || b[25] > kindFiller {
		return r, fmt.Errorf("chunk %v: %w: suite %d, kind %d", r.id, ErrVersion, b[24], b[25])
	}
	r.filler = b[25] == kindFiller
	if !r.filler && (r.length < MinSealed || r.length > MaxSealed) {
		return r, fmt.Errorf("record header %w: chunk of %d bytes", ErrDamaged, r.length)
	}
	return r, nil
}

// recordPadding is what may stand behind the sealed bytes.
var recordPadding [recordAlign]byte

// padding is how many bytes of it do.
func (r record) padding() int64 { return r.size() - recordHeaderSize - int64(r.length) }
