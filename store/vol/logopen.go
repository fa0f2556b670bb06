package vol

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"syscall"

	"bazil/merge"
)

// encodeLogHead returns the head of the log of a volume with areas of that size.
func encodeLogHead(id ID, area int64) []byte {
	b := binary.BigEndian.AppendUint32(bytes.Clone(logMagic), logVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(area))
	b = append(b, id[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crcTable))
}

// errOtherLog: the log is not this volume's, or not of the state it is in.
var errOtherLog = errors.New("log belongs to another state of the volume, or to another volume")

// decodeLogHead returns the size of the areas of a volume's log, 0 where the
// head does not verify. Errors: ErrFormat for what is not known here, errOtherLog.
func decodeLogHead(b []byte, id ID) (area int64, err error) {
	const n = 32
	if len(b) < n+4 || !bytes.HasPrefix(b, logMagic) || crc32.Checksum(b[:n], crcTable) != binary.BigEndian.Uint32(b[n:]) {
		return 0, nil
	}
	switch version, area := binary.BigEndian.Uint32(b[8:]), int64(binary.BigEndian.Uint32(b[12:])); {
	case version != logVersion:
		return 0, fmt.Errorf("%w: log of version %d, known is %d: %w", ErrFormat, version, logVersion, ErrVersion)
	case area < recordMax || area > logAreaMax:
		return 0, fmt.Errorf("log with areas of %d bytes: %w", area, ErrFormat)
	case !bytes.Equal(b[16:n], id[:]):
		return 0, errOtherLog
	default:
		return area, nil
	}
}

// logRun is the records in one area from its beginning on, as far as they
// follow each other.
type logRun struct {
	hits []logHit
	rest []byte // behind them
}

func followRecords(area []byte) (r logRun) {
	for {
		hit, _, ok := findRecord(area)
		if n := len(r.hits); !ok || n > 0 && (hit.process != r.hits[n-1].process || hit.seq != r.hits[n-1].seq+1) {
			r.rest = area
			return r
		}
		r.hits = append(r.hits, hit)
		area = area[min(alignRecord(len(hit.b)), int64(len(area))):]
	}
}

// below is up to where nothing is missing before a record, as far as the run
// tells: what another process wrote is older than all of it.
func (r *logRun) below(h *logHit) uint64 {
	switch {
	case len(r.hits) == 0:
		return 0
	case r.hits[0].process != h.process:
		return math.MaxUint64
	case r.hits[0].seq >= h.seq:
		return 0
	}
	return min(r.hits[len(r.hits)-1].seq, h.seq-1)
}

// foundLog is what the log had when the volume was opened.
type foundLog struct {
	records []logHit // that count, in their order
	until   uint64   // the highest number of a group in it
	err     error    // what is wrong with it: records of which fsync had returned may be missing
}

// judgeLog finds what counts in the bytes of a log's file, with areas of that
// size, for a volume in state s.
func judgeLog(b []byte, area int64, s *state) (f foundLog) {
	var runs [2]logRun
	for i := range runs {
		lo := min(logHead+int64(i)*area, int64(len(b)))
		runs[i] = followRecords(b[lo:min(lo+area, int64(len(b)))])
		for _, h := range runs[i].hits {
			f.until = max(f.until, h.until)
			if !h.countsOn(s) && !h.over(s) {
				return foundLog{err: errOtherLog}
			}
		}
	}
	f.join(s, runs)
	return f
}

// join puts what counts of both runs in order, as far as nothing is missing.
func (f *foundLog) join(s *state, runs [2]logRun) {
	a, b := runs[0].hits, runs[1].hits
	if len(a) > 0 && len(b) > 0 && b[0].before(&a[0]) {
		a, b = b, a
	}
	last := logPlace{}
	for i, hits := range [][]logHit{a, b} {
		for _, h := range hits {
			if !h.countsOn(s) {
				last = h.logPlace
				continue
			}
			if n := len(f.records); n > 0 && h.process == last.process && h.seq != last.seq+1 {
				f.missing(last.seq, h)
				return
			}
			if len(f.records) == 0 && (i == 1 || len(b) == 0) {
				f.missingBefore(s, last, h)
			}
			f.records = append(f.records, h)
			last = h.logPlace
		}
	}
	f.search(s, runs)
}

// before says whether p was written before o: a process that finds records
// that count begins with a group behind theirs.
func (p *logPlace) before(o *logHit) bool {
	if p.process != o.process {
		return p.until < o.until
	}
	return p.seq < o.seq
}

// missing notes that what follows the record with the number last is not there,
// though h is, which was written later: that is a fault if it was on disk by then.
func (f *foundLog) missing(last uint64, h logHit) {
	if h.durable > last {
		f.err = fmt.Errorf("%w: a record of the log behind number %d", ErrDamaged, last)
	}
}

// missingBefore notes that the record before h, the first that counts, is not
// there though it was on disk. It may have counted if a group that had been begun
// by then is not in the volume; else it did not, and a crash may have torn what
// was written over it. That is not known for certain, so h and what follows are
// done again all the same.
func (f *foundLog) missingBefore(s *state, last logPlace, h logHit) {
	there := last.process == h.process && last.seq+1 == h.seq
	if !there && h.seq > 1 && h.until > s.group {
		f.missing(h.seq-2, h)
	}
}

// search looks behind the runs for records that count: the one before such was
// damaged, or torn by a crash.
func (f *foundLog) search(s *state, runs [2]logRun) {
	for _, r := range runs {
		whole := eachRecord(r.rest, func(h logHit) {
			if h.countsOn(s) {
				f.missing(max(runs[0].below(&h), runs[1].below(&h)), h)
			}
		})
		if !whole {
			f.err = fmt.Errorf("%w: the log has too many beginnings of records that do not verify", ErrDamaged)
		}
	}
}

// eachRecord calls fn for the records in b, wherever they stand. It is not
// whole if it gave up, after looking at the same bytes a few times: what a crash
// leaves has few beginnings that lead nowhere, and does not have them overlap.
func eachRecord(b []byte, fn func(logHit)) (whole bool) {
	for rest, looks := b, 4*len(b); looks >= 0; {
		i := bytes.Index(rest, recordMagic)
		if i < 0 {
			return true
		}
		rest = rest[i:]
		hit, size, ok := findRecord(rest)
		if ok {
			fn(hit)
			rest = rest[len(hit.b):]
		} else {
			looks -= size
			rest = rest[1:]
		}
	}
	return false
}

// openLog does again what is in the log and not in the volume.
func (v *Volume) openLog() error {
	found, err := readLog(v.log.path, v.id, v.o.LogSize/2, &v.state)
	if err == nil {
		err = v.replay(&found)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.log.path, err)
	}
	v.log.renew()
	return nil
}

// readLog judges the log at path, which need not be there; usual is the size of
// its areas if its head does not tell. The error says that it must not be
// touched.
func readLog(path string, id ID, usual int64, s *state) (foundLog, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return foundLog{}, nil
	}
	if err != nil {
		return foundLog{}, err
	}
	defer file.Close()
	head, err := readAtMost(file, logHead)
	if err != nil {
		return foundLog{}, err
	}
	area, err := decodeLogHead(head, id)
	switch {
	case errors.Is(err, errOtherLog):
		return foundLog{err: err}, nil
	case err != nil:
		return foundLog{}, err
	case area == 0: // its making may have been cut short: if not, the records tell
		area = usual
	}
	b, err := readAtMost(file, logHead+2*area)
	if err != nil {
		return foundLog{}, err
	}
	return judgeLog(b, area, s), nil
}

func readAtMost(f *os.File, most int64) ([]byte, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(fi.Size(), most))
	n, err := f.ReadAt(b, 0)
	if n < len(b) && err != nil {
		return nil, err
	}
	return b, nil
}

// replay does again what was found in the log. One in which anything is wrong is
// kept, when it does not count any more.
func (v *Volume) replay(found *foundLog) error {
	v.mu.Lock()
	v.replaying = true
	v.mu.Unlock()
	wrong := found.err
	for i := range found.records {
		hit := &found.records[i]
		r, err := hit.open(v.id, v.o.Sealer)
		if err != nil {
			return fmt.Errorf("record %d, of a file that was synced: %w; without the file what it has is lost", hit.seq, err)
		}
		if err := v.redo(r); err != nil && storeWide(err) {
			return fmt.Errorf("record %d: %w", hit.seq, err)
		} else if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("record %d, for file %d: %w", hit.seq, hit.ino, err))
		}
	}
	if wrong != nil {
		v.o.Log.Error("writes that fsync had made durable may be missing: log is kept", "volume", v.id.String(), "file", v.log.path, "err", wrong)
	}
	v.replayed(found, wrong != nil)
	return nil
}

// replayed lets groups be made as always. The next is behind all that the log
// has of an earlier process.
func (v *Volume) replayed(found *foundLog, wrong bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.replaying = false
	v.log.begin(v.state.moment, len(found.records) > 0, wrong)
	v.state.group = max(v.state.group, found.until)
	if n := len(found.records); n > 0 {
		v.o.Log.Info("fsyncs since the last commit group were done again", "volume", v.id.String(), "records", n)
		v.committer.wake()
	}
}

// redo does to a file what a record says, as its writer did.
func (v *Volume) redo(r *logRecord) error {
	ctx := context.Background()
	n, err := v.Node(r.ino)
	if err == nil && n.Kind() != merge.KindFile {
		err = syscall.ESTALE
	}
	if err != nil {
		return err
	}
	h, err := n.Open(ctx, true)
	if err != nil {
		return err
	}
	defer h.Close()
	if r.limit < h.f.c.Size() {
		if err := h.Truncate(ctx, r.limit); err != nil {
			return err
		}
	}
	data := r.data
	for _, x := range r.ranges {
		if _, err := h.WriteAt(ctx, data[:x.hi-x.lo], x.lo); err != nil {
			return err
		}
		data = data[x.hi-x.lo:]
	}
	if err := h.Truncate(ctx, r.size); err != nil {
		return err
	}
	v.redone(h, r)
	return nil
}

// redone gives the file the time and the number that it had, so that who knows
// it by that goes on, and notes that the log has it.
func (v *Volume) redone(h *Handle, r *logRecord) {
	v.mu.Lock()
	defer v.mu.Unlock()
	h.in.mtime, h.in.change = r.mtime, r.change
	if h.f.loggedAt == 0 {
		if h.f.loggedAt = v.state.left[r.ino]; h.f.loggedAt == 0 {
			h.f.loggedAt = v.state.group
		}
	}
}
