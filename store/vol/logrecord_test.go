package vol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"testing"

	"bazil/store"
)

const testArea = 256 << 10

// logOf returns the bytes of a log with records in its areas.
func logOf(id ID, sealer *store.Sealer, areas ...[]*logRecord) []byte {
	b := make([]byte, logHead+len(areas)*testArea)
	copy(b, encodeLogHead(id, testArea))
	for i, recs := range areas {
		var area []byte
		for _, r := range recs {
			s := sealedLog{r.logPlace, r.encode()}
			area = s.appendTo(area, id, sealer)
		}
		copy(b[logHead+i*testArea:], area)
	}
	return b
}

func sampleLogRecord(seq uint64) *logRecord {
	return &logRecord{
		logPlace: logPlace{seq: seq, durable: seq - 1, process: 7, after: moment{5, 3}, until: 4, ino: 9},
		mtime:    -12,
		change:   77,
		logChange: logChange{limit: math.MaxInt64, size: 1 << 40, ranges: []fileRun{{3, 5}, {6, 7}, {1<<40 - 2, 1 << 40}},
			data: []byte("abcde")},
	}
}

// batchOf is a record that was written when durable were on disk.
func batchOf(durable, seq uint64) *logRecord {
	r := sampleLogRecord(seq)
	r.durable = durable
	return r
}

// FuzzLogRecord: what decodes encodes to the same, and nothing panics.
func FuzzLogRecord(f *testing.F) {
	f.Add(sampleLogRecord(1).encode())
	f.Add((&logRecord{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again logRecord
		if r.decode(b) != nil {
			return
		}
		if r.encode(); again.decode(r.encode()) != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v", r, again)
		}
		var total int64
		for i, x := range r.ranges {
			if total += x.hi - x.lo; x.lo >= x.hi || x.hi > r.size || i > 0 && x.lo <= r.ranges[i-1].hi {
				t.Fatalf("%+v", r)
			}
		}
		if total != int64(len(r.data)) {
			t.Fatalf("%d bytes of %d", len(r.data), total)
		}
	})
}

// FuzzLog: whatever a log has, it is judged without a panic, and what counts
// of it stands in its order.
func FuzzLog(f *testing.F) {
	id, sealer := ID{4}, store.NewSealer(store.SharingKey{7})
	whole := logOf(id, sealer, []*logRecord{sampleLogRecord(1), sampleLogRecord(2)})
	end := len(bytes.TrimRight(whole, "\x00"))
	f.Add(whole[:end], uint64(5), uint64(3))
	f.Add(whole[:end], uint64(7), uint64(4))
	f.Add(whole[:end-9], uint64(5), uint64(3))
	f.Add([]byte("bazillog"), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, process, group uint64) {
		area, err := decodeLogHead(b, id)
		if err != nil {
			return
		}
		if area == 0 {
			area = testArea
		}
		found := judgeLog(b, area, &state{moment: moment{process, group}})
		asideFiles(b, id, sealer)
		if found.err != nil {
			return
		}
		for i := range found.records {
			if i > 0 && found.records[i].process == found.records[i-1].process && found.records[i].seq != found.records[i-1].seq+1 {
				t.Fatalf("%+v", found.records)
			}
			_, _ = found.records[i].open(id, sealer)
		}
	})
}

// TestJudgeLog: which records count on which state of a volume.
func TestJudgeLog(t *testing.T) {
	id, sealer := ID{4}, store.NewSealer(store.SharingKey{7})
	seqs := func(f foundLog) (s []uint64) {
		for _, h := range f.records {
			s = append(s, h.seq)
		}
		return s
	}
	recs := func(n ...uint64) (rs []*logRecord) {
		for _, i := range n {
			rs = append(rs, sampleLogRecord(i))
		}
		return rs
	}
	torn := func(b []byte, n int) []byte { // spoils the nth record of the first area
		b = bytes.Clone(b)
		at := logHead
		for range n {
			h, _, _ := findRecord(b[at:])
			at += int(alignRecord(len(h.b)))
		}
		b[at+recordHeader+3] ^= 1
		return b
	}
	begun := func() []*logRecord { // in a file that was made with the first of them
		rs := recs(4, 5)
		rs[0].durable = 0
		return rs
	}
	damagedBefore := torn(logOf(id, sealer, recs(4, 5), recs(6, 7)), 0)
	tornBehind := logOf(id, sealer, begun(), nil)
	copy(tornBehind[logHead+testArea:], logOf(id, sealer, []*logRecord{batchOf(5, 6), batchOf(5, 7)})[logHead:])
	tornBehind[logHead+testArea+recordHeader+3] ^= 1
	two := logOf(id, sealer, recs(4, 5), recs(1, 2, 3))
	foreign := sampleLogRecord(6)
	foreign.process = 8
	foreign.until = 6
	own := sampleLogRecord(1)
	own.after.process = own.process
	other := recs(1, 2, 3)
	other[1].ino = 8
	old := sampleLogRecord(2)
	old.after, old.until = moment{5, 9}, 9
	batch := recs(1, 2)
	batch[1].durable = 0 // both were written at once
	for _, c := range []struct {
		name  string
		b     []byte
		s     state
		want  []uint64
		wrong bool
	}{
		{"after the group", two, state{moment: moment{5, 3}}, []uint64{1, 2, 3, 4, 5}, false},
		{"after the one in flight", two, state{moment: moment{7, 4}}, []uint64{1, 2, 3, 4, 5}, false},
		{"after a later one", two, state{moment: moment{7, 5}}, nil, false},
		{"before them", two, state{moment: moment{5, 2}}, nil, true},
		{"another process's group", two, state{moment: moment{6, 3}}, nil, true},
		{"another process's group of the last number", two, state{moment: moment{6, 4}}, nil, true},
		{"another process's later group", two, state{moment: moment{6, 9}}, nil, false},
		{"an earlier one of the same process", logOf(id, sealer, []*logRecord{own}), state{moment: moment{7, 2}}, nil, true},
		{"two processes, the later in the first area", logOf(id, sealer, []*logRecord{foreign}, recs(4, 5)), state{moment: moment{5, 3}}, []uint64{4, 5, 6}, false},
		{"one is missing that was on disk", logOf(id, sealer, recs(4, 5), recs(7)), state{moment: moment{5, 3}}, []uint64{4, 5}, true},
		{"one is missing that was not", logOf(id, sealer, recs(4, 5), []*logRecord{batchOf(5, 7)}), state{moment: moment{5, 3}}, []uint64{4, 5}, false},
		{"others between those of a file that was left", logOf(id, sealer, other), state{moment: moment{6, 9}, left: map[uint64]uint64{9: 4}}, []uint64{1, 3}, false},
		{"a file that was left", two, state{moment: moment{6, 9}, left: map[uint64]uint64{9: 4}}, []uint64{1, 2, 3, 4, 5}, false},
		{"a file that was left later", two, state{moment: moment{6, 9}, left: map[uint64]uint64{9: 5}}, nil, false},
		{"torn, and not on disk before", torn(two, 1), state{moment: moment{5, 3}}, []uint64{1, 2, 3, 4}, false},
		{"damaged, and on disk before", torn(two, 0), state{moment: moment{5, 3}}, []uint64{1, 2, 3}, true},
		{"torn in one write", torn(logOf(id, sealer, batch), 0), state{moment: moment{5, 3}}, nil, false},
		{"then what another process left", logOf(id, sealer, append(begun(), foreign)), state{moment: moment{5, 3}}, []uint64{4, 5}, false},
		{"then what was there before", logOf(id, sealer, append(begun(), old)), state{moment: moment{5, 3}}, []uint64{4, 5}, false},
		{"damaged, and the area behind goes on", damagedBefore, state{moment: moment{5, 3}}, []uint64{6, 7}, true},
		{"the one before is not there, and was on disk", logOf(id, sealer, recs(4, 5)), state{moment: moment{5, 3}}, []uint64{4, 5}, true},
		{"the one before is not there, and its group is", logOf(id, sealer, recs(4, 5)), state{moment: moment{7, 4}}, []uint64{4, 5}, false},
		{"torn behind the other area", tornBehind, state{moment: moment{5, 3}}, []uint64{4, 5}, false},
		{"cut short", two[:logHead+10], state{moment: moment{5, 3}}, nil, false},
		{"a head that was torn", append(make([]byte, logHead), two[logHead:]...), state{moment: moment{5, 3}}, []uint64{1, 2, 3, 4, 5}, false},
	} {
		got := judgeLog(c.b, testArea, &c.s)
		if !reflect.DeepEqual(seqs(got), c.want) || (got.err != nil) != c.wrong {
			t.Errorf("%s: %v, %v; want %v, wrong %v", c.name, seqs(got), got.err, c.want, c.wrong)
		}
	}
}

// hostileLog has the beginning of a record, as long as one can be, everywhere.
func hostileLog(area int) []byte {
	b := make([]byte, logHead+2*area)
	copy(b, encodeLogHead(ID{4}, int64(area)))
	for at := logHead; at+12 <= len(b); at += 12 {
		copy(b[at:], recordMagic)
		binary.BigEndian.PutUint32(b[at+8:], uint32(recordMax-recordHeader))
	}
	return b
}

// TestLogTooMuchToLookAt: what is in a log that is made to be looked at for ever
// is told; see BenchmarkHostileLog.
func TestLogTooMuchToLookAt(t *testing.T) {
	b := hostileLog(4 << 20)
	if f := judgeLog(b, 4<<20, &state{moment: moment{5, 3}}); !errors.Is(f.err, ErrDamaged) || f.records != nil {
		t.Errorf("%v, %d records", f.err, len(f.records))
	}
}

// BenchmarkHostileLog: opening grows with the size of a log, whatever it has.
func BenchmarkHostileLog(b *testing.B) {
	for _, area := range []int{1 << 20, 8 << 20, 64 << 20} {
		log := hostileLog(area)
		b.Run(fmt.Sprint(area>>20, "MiB"), func(b *testing.B) {
			b.SetBytes(int64(len(log)))
			for b.Loop() {
				judgeLog(log, int64(area), &state{moment: moment{5, 3}})
			}
		})
	}
}

// TestLogRecordIsBound: a record that is put elsewhere, or in another volume's log,
// does not open, whatever its checksum; one with what is not known is none.
func TestLogRecordIsBound(t *testing.T) {
	id, sealer := ID{4}, store.NewSealer(store.SharingKey{7})
	record := func(at int) logHit {
		s := sealedLog{sampleLogRecord(1).logPlace, sampleLogRecord(1).encode()}
		b := s.appendTo(nil, id, sealer)
		n := recordHeader + int(binary.BigEndian.Uint32(b[8:]))
		if at > 0 {
			b[at] ^= 1
			binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:n], crcTable))
		}
		hit, _, found := findRecord(b)
		if found == (at > 0 && at < 16) {
			t.Errorf("byte %d changed: found %v", at, found)
		}
		return hit
	}
	whole := record(0)
	if _, err := whole.open(id, sealer); err != nil {
		t.Error(err)
	}
	if _, err := whole.open(ID{5}, sealer); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("in another volume's log: %v", err)
	}
	record(13)
	for at := 16; at < recordHeader; at++ {
		hit := record(at)
		if _, err := hit.open(id, sealer); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
}

// TestLogHead: which heads are taken.
func TestLogHead(t *testing.T) {
	id := ID{4}
	for _, c := range []struct {
		name   string
		change func(b []byte)
		area   int64
		err    error
	}{
		{"as written", func([]byte) {}, testArea, nil},
		{"torn", func(b []byte) { clear(b) }, 0, nil},
		{"version 2", func(b []byte) { b[11] = 2 }, 0, ErrFormat},
		{"areas of nothing", func(b []byte) { clear(b[12:16]) }, 0, ErrFormat},
		{"areas too large", func(b []byte) { b[12] = 0xff }, 0, ErrFormat},
		{"another volume's", func(b []byte) { b[20]++ }, 0, errOtherLog},
	} {
		b := encodeLogHead(id, testArea)
		if c.change(b); b[0] != 0 {
			binary.BigEndian.PutUint32(b[32:], crc32.Checksum(b[:32], crcTable))
		}
		if area, err := decodeLogHead(b, id); area != c.area || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %v", c.name, area, err)
		}
	}
}
