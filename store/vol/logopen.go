package vol

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"syscall"
	"time"

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
		hit, ok := findRecord(area)
		if n := len(r.hits); !ok || n > 0 && (hit.process != r.hits[n-1].process || hit.seq != r.hits[n-1].seq+1) {
			r.rest = area
			return r
		}
		r.hits = append(r.hits, hit)
		area = area[min(alignRecord(len(hit.b)), int64(len(area))):]
	}
}

// foundLog is what the log had when the volume was opened.
type foundLog struct {
	records []logHit // that count, in their order
	used    [2]bool  // areas that have such
	until   uint64   // the highest number of a group in it
	area    int64    // size of the areas
	empty   bool     // the file was just being made
	err     error    // what is wrong with it: records of which fsync had returned may be missing
}

// judgeLog finds what counts in the bytes of a log's file, with areas of that
// size, for a volume in state s.
func judgeLog(b []byte, area int64, s *state) (f foundLog) {
	f.area = area
	var runs [2]logRun
	for i := range runs {
		lo := min(logHead+int64(i)*area, int64(len(b)))
		runs[i] = followRecords(b[lo:min(lo+area, int64(len(b)))])
		for _, h := range runs[i].hits {
			f.until = max(f.until, h.until)
			switch {
			case h.countsOn(s):
				f.used[i] = true
			case !h.over(s):
				return foundLog{area: area, err: errOtherLog}
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
	for _, hits := range [][]logHit{a, b} {
		for _, h := range hits {
			if !h.countsOn(s) {
				last = h.logPlace
				continue
			}
			if n := len(f.records); n > 0 && h.process == last.process && h.seq != last.seq+1 {
				f.missing(last, h)
				return
			}
			f.records = append(f.records, h)
			last = h.logPlace
		}
	}
	f.search(s, runs, last)
}

// before says whether p was written before o: a process that finds records
// that count begins with a group behind theirs.
func (p *logPlace) before(o *logHit) bool {
	if p.process != o.process {
		return p.until < o.until
	}
	return p.seq < o.seq
}

// missing notes that what follows last is not there, though h is, which was
// written later: that is a fault only if it was on disk by then.
func (f *foundLog) missing(last logPlace, h logHit) {
	if h.process != last.process && last.process != 0 || h.durable <= last.seq {
		return
	}
	f.err = fmt.Errorf("%w: a record of the log behind number %d", ErrDamaged, last.seq)
}

// search looks behind the runs for records that count: the one before such was
// damaged, or torn by a crash.
func (f *foundLog) search(s *state, runs [2]logRun, last logPlace) {
	for _, r := range runs {
		for rest := r.rest; ; rest = rest[1:] {
			i := bytes.Index(rest, recordMagic)
			if i < 0 {
				break
			}
			rest = rest[i:]
			if h, ok := findRecord(rest); ok && h.countsOn(s) {
				f.missing(last, h)
			}
		}
	}
}

// openLog opens the log and does again what is in it and not in the volume.
func (v *Volume) openLog() error {
	l := v.log
	file, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	found := foundLog{area: v.o.LogSize / 2}
	if err == nil {
		found, err = readLog(file, l.id, found.area, &v.state)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", l.path, err), file.Close())
		}
	}
	if found.empty { // it is made anew when it is wanted
		file.Close()
		file = nil
	}
	l.mu.Lock()
	l.file = file
	l.mu.Unlock()
	return v.replay(&found)
}

// readLog judges the log in a file. The error says that it must not be touched.
func readLog(file *os.File, id ID, usual int64, s *state) (foundLog, error) {
	head, err := readAtMost(file, logHead)
	if err != nil {
		return foundLog{}, err
	}
	area, err := decodeLogHead(head, id)
	torn := area == 0
	if torn { // its making may have been cut short: if not, the records tell
		area = usual
	}
	if errors.Is(err, errOtherLog) {
		return foundLog{area: usual, err: err}, nil
	}
	if err != nil {
		return foundLog{}, err
	}
	b, err := readAtMost(file, logHead+2*area)
	if err != nil {
		return foundLog{}, err
	}
	f := judgeLog(b, area, s)
	f.empty = torn && len(f.records) == 0 && f.err == nil
	return f, nil
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

// replay does again what was found in the log. What of it cannot be done keeps
// its place: the log is then put aside, when all else is durable.
func (v *Volume) replay(found *foundLog) error {
	v.mu.Lock()
	v.replaying = true
	v.mu.Unlock()
	errs := []error{found.err}
	for i := range found.records {
		hit := &found.records[i]
		r, err := hit.open(v.id, v.o.Sealer)
		if err != nil {
			return fmt.Errorf("%s: record %d, of a file that was synced: %w; without the file what it has is lost", v.log.path, hit.seq, err)
		}
		if err := v.redo(r); err != nil && storeWide(err) {
			return fmt.Errorf("%s: record %d: %w", v.log.path, hit.seq, err)
		} else if err != nil {
			errs = append(errs, fmt.Errorf("record %d, for file %d: %w", hit.seq, hit.ino, err))
		}
	}
	v.replayed(found)
	if err := errors.Join(errs...); err != nil {
		return v.putLogAside(err)
	}
	return nil
}

// replayed lets groups be made as always, and records be written behind those
// found.
func (v *Volume) replayed(found *foundLog) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.replaying = false
	v.log.begin(v.state.moment, found)
	v.state.group, v.state.left = v.log.until, nil
	if n := len(found.records); n > 0 {
		v.o.Log.Info("fsyncs since the last commit group were done again", "volume", v.id.String(), "records", n)
		v.committer.wake()
	}
}

// putLogAside renames the log, something in which cannot be used.
func (v *Volume) putLogAside(why error) error {
	l := v.log
	if err := v.Sync(context.Background()); err != nil {
		return fmt.Errorf("%s: %w; and what else it has cannot be made durable: %w", l.path, why, err)
	}
	aside := fmt.Sprintf("%s.%d", l.path, time.Now().UnixNano())
	if err := os.Rename(l.path, aside); err != nil {
		return err
	}
	v.o.Log.Error("log is put aside: writes that fsync had made durable may be missing", "volume", v.id.String(), "file", aside, "err", why)
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.file.Close()
	l.file = nil
	l.divide(v.o.LogSize / 2)
	return err
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
