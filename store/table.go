package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Sizes in a table; the package comment draws it.
const (
	blockSize        = 4096
	blockHeaderSize  = 16
	entrySize        = 44
	entriesPerBlock  = (blockSize - blockHeaderSize) / entrySize
	coverSize        = 24
	tableTrailerSize = 64
	tableVersion     = 1
	entryDamaged     = 1       // a bit of an entry's offset, which is a multiple of recordAlign
	maxTableBlocks   = 1 << 24 // 1.5 billion entries
	maxTableCovers   = 1 << 20
)

var tableMagic = [8]byte{'b', 'a', 'z', 'i', 'l', 't', 'a', 'b'}

// entry says where a chunk stands.
type entry struct {
	id      ID
	segment uint32
	offset  uint32 // of the record header
	length  uint32 // of the sealed bytes
}

func compareEntries(a, b entry) int {
	if c := bytes.Compare(a.id[:], b.id[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(b.segment, a.segment), cmp.Compare(b.offset, a.offset)) // newest first
}

func (e entry) append(b []byte) []byte {
	b = append(b, e.id[:]...)
	b = binary.LittleEndian.AppendUint32(b, e.segment)
	b = binary.LittleEndian.AppendUint32(b, e.offset)
	return binary.LittleEndian.AppendUint32(b, e.length)
}

func parseEntry(b []byte) entry {
	return entry{
		id:      ID(b[:32]),
		segment: binary.LittleEndian.Uint32(b[32:]),
		offset:  binary.LittleEndian.Uint32(b[36:]) &^ entryDamaged,
		length:  binary.LittleEndian.Uint32(b[40:]),
	}
}

// prefix orders entries roughly: the first 8 bytes of the ID.
func (id *ID) prefix() uint64 { return binary.BigEndian.Uint64(id[:8]) }

// cover says that a table has all chunks of a segment.
type cover struct {
	segment uint32
	chunks  uint32
	bytes   uint64 // sealed bytes of these chunks
	end     uint64 // where the segment's records end
}

// tableTrailer ends a file that has a table in it.
type tableTrailer struct {
	blocks     uint32
	entries    uint64
	covers     uint32
	bloomSize  uint32
	start      uint64 // where in the file the first block is
	summaryCRC uint32
	damaged    uint32 // entries known to be damaged
}

func (t tableTrailer) append(b []byte) []byte {
	base := len(b)
	b = append(b, tableMagic[:]...)
	b = binary.LittleEndian.AppendUint32(b, tableVersion)
	b = binary.LittleEndian.AppendUint32(b, t.blocks)
	b = binary.LittleEndian.AppendUint64(b, t.entries)
	b = binary.LittleEndian.AppendUint32(b, t.covers)
	b = binary.LittleEndian.AppendUint32(b, t.bloomSize)
	b = binary.LittleEndian.AppendUint64(b, t.start)
	b = binary.LittleEndian.AppendUint32(b, t.summaryCRC)
	b = binary.LittleEndian.AppendUint32(b, t.damaged)
	b = append(b, make([]byte, tableTrailerSize-4-(len(b)-base))...)
	return binary.LittleEndian.AppendUint32(b, crc(b[base:]))
}

// parseTableTrailer reads the last bytes of a file of the given size:
// ErrDamaged if no table ends there.
func parseTableTrailer(b []byte, fileSize int64) (tableTrailer, error) {
	var t tableTrailer
	if len(b) != tableTrailerSize || [8]byte(b[:8]) != tableMagic ||
		crc(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return t, fmt.Errorf("table trailer %w", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != tableVersion {
		return t, fmt.Errorf("table: %w %d, known is %d", ErrVersion, v, tableVersion)
	}
	t = tableTrailer{
		blocks:     binary.LittleEndian.Uint32(b[12:]),
		entries:    binary.LittleEndian.Uint64(b[16:]),
		covers:     binary.LittleEndian.Uint32(b[24:]),
		bloomSize:  binary.LittleEndian.Uint32(b[28:]),
		start:      binary.LittleEndian.Uint64(b[32:]),
		summaryCRC: binary.LittleEndian.Uint32(b[40:]),
		damaged:    binary.LittleEndian.Uint32(b[44:]),
	}
	return t, t.check(fileSize)
}

// check holds the trailer's numbers against the file's size.
func (t tableTrailer) check(fileSize int64) error {
	ok := t.blocks <= maxTableBlocks && t.covers <= maxTableCovers &&
		t.entries <= uint64(t.blocks)*entriesPerBlock && t.bloomSize%bloomBlock == 0 &&
		t.start < uint64(fileSize) &&
		int64(t.start)+t.size() == fileSize
	if !ok {
		return fmt.Errorf("table trailer %w: it does not fit the file", ErrDamaged)
	}
	return nil
}

// size returns the bytes from the first block to the end of the trailer.
func (t tableTrailer) size() int64 {
	return int64(t.blocks)*blockSize + t.summarySize() + tableTrailerSize
}

func (t tableTrailer) summarySize() int64 {
	return int64(t.blocks)*8 + int64(t.covers)*coverSize + int64(t.bloomSize)
}

// table is an open table. It never changes; its methods are safe for
// concurrent use.
type table struct {
	handle *handle
	trail  tableTrailer
	fences []uint64 // prefix of the first ID in each block
	covers []cover
	bloom  bloom
	run    uint32 // the number of its file in the index directory; 0 in a segment
}

// openTable opens the table at the end of a file and checks all of it but the
// blocks, which are checked as they are read.
func openTable(h *handle, run uint32) (*table, error) {
	f, err := h.acquire()
	if err != nil {
		return nil, err
	}
	defer h.release()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	trail, err := readTableTrailer(f, size)
	if err != nil {
		return nil, err
	}
	t := &table{handle: h, trail: trail, run: run}
	summary := make([]byte, trail.summarySize())
	if err := readFull(f, summary, int64(trail.start)+int64(trail.blocks)*blockSize); err != nil {
		return nil, err
	}
	return t, t.parseSummary(summary)
}

func readTableTrailer(f file, size int64) (tableTrailer, error) {
	var buf [tableTrailerSize]byte
	if size < tableTrailerSize {
		return tableTrailer{}, fmt.Errorf("table trailer %w: file of %d bytes", ErrDamaged, size)
	}
	if err := readFull(f, buf[:], size-tableTrailerSize); err != nil {
		return tableTrailer{}, err
	}
	return parseTableTrailer(buf[:], size)
}

func (t *table) parseSummary(b []byte) error {
	if crc(b) != t.trail.summaryCRC {
		return fmt.Errorf("table summary %w", ErrDamaged)
	}
	t.fences = make([]uint64, t.trail.blocks)
	for i := range t.fences {
		t.fences[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	b = b[8*len(t.fences):]
	t.covers = make([]cover, t.trail.covers)
	for i := range t.covers {
		c := b[coverSize*i:]
		t.covers[i] = cover{
			segment: binary.LittleEndian.Uint32(c),
			chunks:  binary.LittleEndian.Uint32(c[4:]),
			bytes:   binary.LittleEndian.Uint64(c[8:]),
			end:     binary.LittleEndian.Uint64(c[16:]),
		}
	}
	t.bloom = bloom(b[coverSize*len(t.covers):])
	return nil
}

// lookup appends all entries of id to dst. Buf is room for one block.
func (t *table) lookup(dst []entry, id *ID, buf *[blockSize]byte) ([]entry, error) {
	if !t.bloom.has(id) {
		return dst, nil
	}
	p := id.prefix()
	i, _ := slices.BinarySearch(t.fences, p)
	i = max(i-1, 0) // the ID may stand at the end of the block before
	for ; i < len(t.fences) && t.fences[i] <= p; i++ {
		n, err := t.readBlock(i, buf)
		if err != nil {
			return dst, err
		}
		dst = findInBlock(dst, id, buf[blockHeaderSize:][:n*entrySize])
	}
	return dst, nil
}

// findInBlock appends the entries of id among the sorted ones in b.
func findInBlock(dst []entry, id *ID, b []byte) []entry {
	lo, hi := 0, len(b)/entrySize
	for lo < hi {
		mid := (lo + hi) / 2
		if bytes.Compare(b[mid*entrySize:][:32], id[:]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for b = b[lo*entrySize:]; len(b) > 0 && ID(b[:32]) == *id; b = b[entrySize:] {
		dst = append(dst, parseEntry(b))
	}
	return dst
}

// readBlock reads and checks one block and returns how many entries it has.
func (t *table) readBlock(i int, buf *[blockSize]byte) (int, error) {
	if err := t.handle.readAt(buf[:], int64(t.trail.start)+int64(i)*blockSize); err != nil {
		return 0, err
	}
	return checkBlock(buf, i)
}

func checkBlock(b *[blockSize]byte, i int) (int, error) {
	n := int(binary.LittleEndian.Uint16(b[8:]))
	if crc(b[4:]) != binary.LittleEndian.Uint32(b[:]) || binary.LittleEndian.Uint32(b[4:]) != uint32(i) ||
		n < 1 || n > entriesPerBlock {
		return 0, fmt.Errorf("table block %d %w", i, ErrDamaged)
	}
	return n, nil
}

// each calls fn for every entry in order until it returns false.
func (t *table) each(fn func(entry) bool) error {
	it := tableIterator{t: t}
	for it.next() {
		if !fn(it.entry) {
			return nil
		}
	}
	return it.err
}

// tableIterator goes through the entries of a table in order.
type tableIterator struct {
	t       *table
	entry   entry // the present one
	damaged bool  // and was known to be so when the table was written
	err     error

	block int // the next one to read
	buf   [blockSize]byte
	rest  []byte // of buf
}

// next moves to the next entry; false at the end or after an error.
func (it *tableIterator) next() bool {
	if len(it.rest) == 0 {
		if it.err != nil || it.block == len(it.t.fences) {
			return false
		}
		n, err := it.t.readBlock(it.block, &it.buf)
		if err != nil {
			it.err = err
			return false
		}
		it.block++
		it.rest = it.buf[blockHeaderSize:][:n*entrySize]
	}
	it.entry, it.damaged = parseEntry(it.rest), it.rest[36]&entryDamaged != 0
	it.rest = it.rest[entrySize:]
	return true
}

// verify reads the whole table and checks that it is sorted, complete, and
// consistent with its summary.
func (t *table) verify() error {
	var n uint64
	var last entry
	chunks := map[uint32]cover{}
	err := t.each(func(e entry) bool {
		if n > 0 && compareEntries(last, e) >= 0 || !t.bloom.has(&e.id) {
			return false
		}
		c := chunks[e.segment]
		c.segment, c.chunks, c.bytes = e.segment, c.chunks+1, c.bytes+uint64(e.length)
		chunks[e.segment] = c
		last = e
		n++
		return true
	})
	if err != nil {
		return err
	}
	ok := n == t.trail.entries
	for _, c := range t.covers {
		got := chunks[c.segment]
		delete(chunks, c.segment)
		ok = ok && got.chunks == c.chunks && got.bytes == c.bytes
	}
	if !ok || len(chunks) > 0 {
		return fmt.Errorf("table %w: entries are missing or out of order", ErrDamaged)
	}
	return nil
}
