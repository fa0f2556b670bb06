package store

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"io"
	"slices"
)

// tableWriter writes a table: add in order, then finish.
type tableWriter struct {
	w      *bufio.Writer
	trail  tableTrailer
	fences []uint64
	covers map[uint32]*cover
	bloom  bloom
	block  []byte
	count  int // entries in block
}

// newTableWriter starts a table of up to max entries at offset start of a
// file, which w writes to from there on. Covered are the segments it stands
// for, with or without chunks; of each, the number and the end count.
func newTableWriter(w io.Writer, start int64, max uint64, covered []cover) *tableWriter {
	t := &tableWriter{
		w:      bufio.NewWriterSize(w, 64<<10),
		trail:  tableTrailer{start: uint64(start)},
		covers: map[uint32]*cover{},
		bloom:  newBloom(max),
		block:  make([]byte, blockHeaderSize, blockSize),
	}
	for _, c := range covered {
		t.covers[c.segment] = &cover{segment: c.segment, end: c.end}
	}
	return t
}

// add adds the next entry, of a covered segment, and says whether it is known
// to be damaged.
func (t *tableWriter) add(e entry, damaged bool) error {
	if t.count == 0 {
		t.fences = append(t.fences, e.id.prefix())
	}
	stored := e
	if damaged {
		stored.offset |= entryDamaged
		t.trail.damaged++
	}
	t.block = stored.append(t.block)
	t.count++
	t.trail.entries++
	t.bloom.add(&e.id)
	c := t.covers[e.segment]
	c.chunks++
	c.bytes += uint64(e.length)
	if t.count == entriesPerBlock {
		return t.flushBlock()
	}
	return nil
}

func (t *tableWriter) flushBlock() error {
	b := t.block[:blockSize]
	clear(b[len(t.block):])
	binary.LittleEndian.PutUint32(b[4:], t.trail.blocks)
	binary.LittleEndian.PutUint16(b[8:], uint16(t.count))
	binary.LittleEndian.PutUint32(b, crc(b[4:]))
	t.trail.blocks++
	t.block, t.count = t.block[:blockHeaderSize], 0
	_, err := t.w.Write(b)
	return err
}

// finish writes what remains and returns the parts of the table that stay in
// memory.
func (t *tableWriter) finish() (*table, error) {
	if t.count > 0 {
		if err := t.flushBlock(); err != nil {
			return nil, err
		}
	}
	covers := t.sortedCovers()
	summary := t.summary(covers)
	t.trail.covers = uint32(len(covers))
	t.trail.bloomSize = uint32(len(t.bloom))
	t.trail.summaryCRC = crc(summary)
	if _, err := t.w.Write(t.trail.append(summary)); err != nil {
		return nil, err
	}
	return &table{trail: t.trail, fences: t.fences, covers: covers, bloom: t.bloom}, t.w.Flush()
}

func (t *tableWriter) sortedCovers() []cover {
	covers := make([]cover, 0, len(t.covers))
	for _, c := range t.covers {
		covers = append(covers, *c)
	}
	slices.SortFunc(covers, func(a, b cover) int { return cmp.Compare(a.segment, b.segment) })
	return covers
}

func (t *tableWriter) summary(covers []cover) []byte {
	var b []byte
	for _, f := range t.fences {
		b = binary.LittleEndian.AppendUint64(b, f)
	}
	for _, c := range covers {
		b = binary.LittleEndian.AppendUint32(b, c.segment)
		b = binary.LittleEndian.AppendUint32(b, c.chunks)
		b = binary.LittleEndian.AppendUint64(b, c.bytes)
		b = binary.LittleEndian.AppendUint64(b, c.end)
	}
	return append(b, t.bloom...)
}
