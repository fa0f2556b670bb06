package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// scan is what the records of a segment file turned out to be.
type scan struct {
	header  error    // what is wrong with the segment's header, nil if nothing
	records []record // those that verify, by offset
	bad     []gap    // what does not, between and before them
	end     int64    // behind the last record that verifies
	durable int64    // the segment was once known to be on disk up to here
	marked  bool     // the last record is a mark, see Chunks.mark
}

// gap is a stretch of a segment that holds no record that verifies, with one
// that does behind it.
type gap struct {
	offset, length int64
	known          []record // chunks in it whose headers verify and whose bytes do not
}

// damage says that the gap is in what was once on disk: something changed it
// since. Another gap is what a crash left of writes that nobody had waited for.
func (s *scan) damage(g gap) bool { return g.offset < s.durable }

// damaged returns the chunks that were once on disk and do not verify now.
func (s *scan) damaged() (records []record) {
	for _, g := range s.bad {
		for _, r := range g.known {
			if int64(r.offset) < s.durable {
				records = append(records, r)
			}
		}
	}
	return records
}

// scanSegment reads the records of a segment file from its header to limit and
// checks each one's CRC32C. What does not verify is searched for the next
// record that does. The error is one of reading, or ErrVersion.
func scanSegment(f file, number uint32, limit int64) (*scan, error) {
	r := &scanner{f: f, number: number, limit: limit, out: &scan{end: segmentHeaderSize}}
	if err := r.header(); err != nil {
		return nil, fmt.Errorf("segment %d: %w", number, err)
	}
	for off := int64(segmentHeaderSize); off+recordHeaderSize <= limit; {
		next, err := r.record(off)
		if err != nil {
			return nil, fmt.Errorf("segment %d: %w", number, err)
		}
		off = next
	}
	return r.out, nil
}

// scanner reads a segment through a window.
type scanner struct {
	f      file
	number uint32
	limit  int64
	out    *scan

	buf []byte // the file from off on
	off int64
	mem []byte // what buf is a part of
}

const scanWindow = 4 << 20 // at least two records of the largest size

func (s *scanner) header() error {
	b, err := s.window(0, segmentHeaderSize)
	if err != nil {
		return err
	}
	_, err = parseSegmentHeader(b, s.number)
	if errors.Is(err, ErrVersion) {
		return err
	}
	s.out.header = err
	return nil
}

// window returns up to n bytes of the file at off; fewer at the limit.
func (s *scanner) window(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), s.limit-off))
	if n <= 0 {
		return nil, nil
	}
	if off < s.off || off+int64(n) > s.off+int64(len(s.buf)) {
		if err := s.fill(off); err != nil {
			return nil, err
		}
	}
	b := s.buf[min(off-s.off, int64(len(s.buf))):]
	return b[:min(n, len(b))], nil
}

func (s *scanner) fill(off int64) error {
	if s.mem == nil {
		s.mem = make([]byte, min(scanWindow, s.limit))
	}
	n, err := s.f.ReadAt(s.mem[:min(int64(len(s.mem)), s.limit-off)], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	s.buf, s.off = s.mem[:n], off
	return nil
}

// record looks at off, where a record or a gap starts, and returns where the
// next one does.
func (s *scanner) record(off int64) (int64, error) {
	r, ok, err := s.valid(off)
	if err != nil {
		return 0, err
	}
	if ok {
		s.accept(r)
		return s.out.end, nil
	}
	next, err := s.search(s.resume(off, r), func(at int64) (bool, error) {
		_, ok, err := s.valid(at)
		return ok, err
	})
	if err == nil && next < s.limit {
		err = s.gap(off, next)
	}
	return next, err
}

// resume returns where to search on after a bad record at off: behind it if
// its header is good and leads to a record that verifies.
func (s *scanner) resume(off int64, r record) int64 {
	if r.offset == uint32(off) && r.length != 0 {
		if _, ok, err := s.valid(off + r.size()); err == nil && ok {
			return off + r.size()
		}
	}
	return off + recordAlign
}

// valid reads the record at off and says whether it verifies.
func (s *scanner) valid(off int64) (record, bool, error) {
	b, err := s.window(off, recordHeaderSize)
	if err != nil {
		return record{}, false, err
	}
	r, err := parseRecord(b, s.number, off)
	if errors.Is(err, ErrVersion) {
		return r, false, err
	}
	if err != nil || off+r.size() > s.limit {
		return r, false, nil
	}
	if r.filler {
		return r, true, nil
	}
	b, err = s.window(off, int(r.size()))
	if err != nil || int64(len(b)) < r.size() {
		return r, false, err
	}
	return r, crc(b[recordHeaderSize:][:r.length]) == r.dataCRC, nil
}

func (s *scanner) accept(r record) {
	s.out.marked = r.filler && r.length == 0
	if !r.filler {
		s.out.records = append(s.out.records, r)
	}
	s.out.end = int64(r.offset) + r.size()
	s.out.durable = max(s.out.durable, int64(r.durable))
}

// search returns the first place from off on where a record's magic bytes are
// and that is one that is wanted; the limit if there is none.
func (s *scanner) search(off int64, wanted func(at int64) (bool, error)) (int64, error) {
	for off+recordHeaderSize <= s.limit {
		b, err := s.window(off, scanWindow/2)
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, recordMagic[:])
		if i < 0 {
			off = alignUp(off+int64(max(len(b)-len(recordMagic), recordAlign)), recordAlign)
			continue
		}
		at := off + int64(i)
		if at%recordAlign == 0 {
			if ok, err := wanted(at); err != nil || ok {
				return at, err
			}
		}
		off = at + 1
	}
	return s.limit, nil
}

// gap notes that nothing between from and to verifies. Headers that can be
// read tell which chunks were there.
func (s *scanner) gap(from, to int64) error {
	g := gap{offset: from, length: to - from}
	for off := from; off < to; {
		r, ok, err := s.headed(off)
		switch {
		case err != nil:
			return err
		case !ok:
			off, err = s.search(off+1, func(at int64) (bool, error) {
				_, ok, err := s.headed(at)
				return ok || at >= to, err
			})
			if err != nil {
				return err
			}
			continue
		case !r.filler:
			g.known = append(g.known, r)
		}
		off += r.size()
	}
	s.out.bad = append(s.out.bad, g)
	return nil
}

// headed reads the header of a record at off and says whether that verifies.
func (s *scanner) headed(off int64) (record, bool, error) {
	b, err := s.window(off, recordHeaderSize)
	if err != nil {
		return record{}, false, err
	}
	r, err := parseRecord(b, s.number, off)
	return r, err == nil, nil
}

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }
