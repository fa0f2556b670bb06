package vol

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"

	"bazil/store"
)

// The sizes in the log's file, which is drawn in the package comment.
const (
	logVersion   = 1
	logHead      = 4096
	logAreaMax   = 64 << 20
	recordHeader = 72
	recordAlign  = 8
)

var (
	logMagic    = []byte("bazillog")
	recordMagic = []byte("\xb2fLg")
)

// moment names a state of the volume's file: that which a commit group of a
// process left. The numbers of groups grow, those of processes are random.
type moment struct{ process, group uint64 }

// logPlace is what the header of a record says: where the record stands in the
// log, and on which states of the volume it counts.
type logPlace struct {
	seq     uint64 // from 1 on, for each process
	durable uint64 // records up to here were on disk when it was written
	process uint64 // that wrote it
	after   moment // the state on disk when it was written
	until   uint64 // the group that had been begun last
	ino     uint64 // the number of the file
}

// logRecord is an fsync in the log.
type logRecord struct {
	logPlace
	mtime  int64
	change uint64 // the number of its last change, which clients know the file by
	logChange
}

// sealedLog is a record on its way to the log.
type sealedLog struct {
	logPlace
	plain []byte
}

// countsOn says whether the record is to be done to a volume in state s: the
// one after which it was written, or one of a group that was on its way then.
func (p *logPlace) countsOn(s *state) bool {
	if from, left := s.left[p.ino]; left {
		return p.until >= from
	}
	return s.moment == p.after || s.process == p.process && p.after.group < s.group && s.group <= p.until
}

// over says whether a volume in state s has what the record did, or more.
func (p *logPlace) over(s *state) bool { return p.until < s.group && !p.countsOn(s) }

// encode returns what is sealed of a record.
func (r *logRecord) encode() []byte {
	e := encoder{b: make([]byte, 0, 64+10*len(r.ranges)+len(r.data))}
	e.fixed(uint64(r.mtime))
	e.uint(r.change)
	e.uint(uint64(r.limit))
	e.uint(uint64(r.size))
	e.uint(uint64(len(r.ranges)))
	for _, x := range r.ranges {
		e.uint(uint64(x.lo))
		e.uint(uint64(x.hi - x.lo))
	}
	return append(e.b, r.data...)
}

// recordLen is how many bytes of the log a record takes that has n bytes to be
// sealed.
func recordLen(n int) int64 { return alignRecord(recordHeader + store.RecordOverhead + n) }

func alignRecord(n int) int64 { return int64(n+recordAlign-1) &^ (recordAlign - 1) }

// recordMax bounds it.
var recordMax = recordLen(8 + (4+2*logRangesMax)*binary.MaxVarintLen64 + logBytesMax)

// appendTo appends the record as it stands in the log of the volume of that ID.
func (r *sealedLog) appendTo(b []byte, id ID, sealer *store.Sealer) []byte {
	start := len(b)
	b = append(append(b, recordMagic...), make([]byte, 12)...) // checksum and length come last
	e := encoder{b: b}
	for _, n := range []uint64{r.seq, r.durable, r.process, r.after.process, r.after.group, r.until, r.ino} {
		e.fixed(n)
	}
	b = sealer.SealRecord(e.b, r.plain, recordContext(id, e.b[start:]))
	binary.BigEndian.PutUint32(b[start+8:], uint32(len(b)-start-recordHeader))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(b[start+8:], crcTable))
	return append(b, make([]byte, int(alignRecord(len(b)-start))-(len(b)-start))...)
}

// recordContext is what a record is sealed for: a volume and the header.
func recordContext(id ID, header []byte) []byte {
	return append(id[:len(id):len(id)], header[16:recordHeader]...)
}

// logHit is a record found in the log.
type logHit struct {
	logPlace
	b []byte // all of it but what fills it up
}

// findRecord looks for a record at the beginning of b, and says at how many
// bytes it did.
func findRecord(b []byte) (hit logHit, looked int, ok bool) {
	if len(b) < recordHeader || !bytes.HasPrefix(b, recordMagic) {
		return hit, 0, false
	}
	n := recordHeader + int64(binary.BigEndian.Uint32(b[8:]))
	if n > recordMax || n > int64(len(b)) {
		return hit, recordHeader, false
	}
	if crc32.Checksum(b[8:n], crcTable) != binary.BigEndian.Uint32(b[4:]) {
		return hit, int(n), false
	}
	d := decoder{b: b[16:recordHeader]}
	hit.seq, hit.durable, hit.process = d.fixed(), d.fixed(), d.fixed()
	hit.after = moment{d.fixed(), d.fixed()}
	hit.until, hit.ino = d.fixed(), d.fixed()
	hit.b = b[:n]
	return hit, int(n), binary.BigEndian.Uint32(b[12:]) == 0
}

// open gives what a record says, checked. The data is not copied.
func (h *logHit) open(id ID, sealer *store.Sealer) (*logRecord, error) {
	plain, err := sealer.OpenRecord(h.b[recordHeader:], recordContext(id, h.b))
	if err != nil {
		return nil, err
	}
	r := &logRecord{logPlace: h.logPlace}
	if err := r.decode(plain); err != nil {
		return nil, damaged(err)
	}
	return r, nil
}

// decode reads what is sealed in a record.
func (r *logRecord) decode(plain []byte) error {
	d := decoder{b: plain}
	r.mtime, r.change = int64(d.fixed()), d.uint()
	limit, size, n := d.uint(), d.uint(), d.count(2)
	if limit > math.MaxInt64 || size > fileMax || n > logRangesMax {
		return errMalformed
	}
	r.limit, r.size = int64(limit), int64(size)
	end, total := uint64(0), uint64(0)
	for i := range n {
		lo, length := d.uint(), d.uint()
		if length == 0 || length > logBytesMax || lo > fileMax || i > 0 && lo <= end {
			return errMalformed
		}
		end, total = lo+length, total+length
		r.ranges = append(r.ranges, fileRun{int64(lo), int64(end)})
	}
	if d.err == nil && (end > size || total > logBytesMax || total != uint64(len(d.b))) {
		return errMalformed
	}
	r.data = d.b
	return d.err
}
