package vol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bazil/store"
)

// fsyncLog is the log of a volume, beside its Bolt file: what fsync made
// durable of files since the last commit group. It has two areas. Records go
// to one until a group is closed, then to the other if what that has is in a
// durable group. What is in flight is written and flushed by one of those who
// wait for it, for all of them.
//
// The file is made anew when nothing in the one before counts any more: by each
// process, and after an error.
type fsyncLog struct {
	path     string
	id       ID
	sealer   *store.Sealer
	log      *slog.Logger
	process  uint64 // this one's number
	areaSize int64
	writing  chan struct{} // a lock: held by who writes batches, or makes the file

	// mu guards all below. It is taken under Volume.mu, and held for moments.
	mu      sync.Mutex
	file    *os.File // nil: there is none yet
	failed  error    // why nothing is written until there is a new file
	wrong   bool     // what the file has is to be kept
	durable moment   // the last state on disk
	until   uint64   // the last group begun
	seq     uint64   // of the last record
	flushed uint64   // of the last in this file that is on disk
	areas   [2]logArea
	active  int
	queue   []*logBatch // to be written
}

// logArea is one half of the log.
type logArea struct {
	start, end int64
	pos        int64  // where the next record goes
	zeroed     int64  // the file has room up to here
	last       uint64 // the last record, 0 for those of an earlier process
	used       bool   // records in it may still count
}

// logBatch is records that stand one behind the other.
type logBatch struct {
	area     *logArea
	off, end int64
	recs     []*sealedLog
	done     chan struct{}
	err      error // when done is closed
}

// logPath is where the log of the volume at path is.
func logPath(path string) string { return strings.TrimSuffix(path, ".db") + ".log" }

// randomNumber names a process.
func randomNumber() uint64 { return rand.Uint64() }

// newFsyncLog returns a log without a file.
func newFsyncLog(path string, id ID, o *Options) *fsyncLog {
	return &fsyncLog{path: logPath(path), id: id, sealer: o.Sealer, log: o.Log, process: randomNumber(), areaSize: o.LogSize / 2, writing: make(chan struct{}, 1)}
}

// ready says whether a record can be appended.
func (l *fsyncLog) ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &l.areas[l.active]
	return l.file != nil && l.failed == nil && a.pos+recordMax <= a.end
}

// append puts an fsync in the log; it is there when the batch is done. Ready must
// have said that it can, and Volume.mu been held since.
func (l *fsyncLog) append(ino uint64, plain []byte) (b *logBatch, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	r := &sealedLog{logPlace{seq: l.seq, process: l.process, after: l.durable, until: l.until, ino: ino}, plain}
	b = l.batch()
	b.recs = append(b.recs, r)
	b.end += recordLen(len(plain))
	b.area.pos, b.area.last, b.area.used = b.end, l.seq, true
	return b, l.seq
}

// batch is the one that takes the next record.
func (l *fsyncLog) batch() *logBatch {
	a := &l.areas[l.active]
	if n := len(l.queue); n > 0 && l.queue[n-1].area == a {
		return l.queue[n-1]
	}
	b := &logBatch{area: a, off: a.pos, end: a.pos, done: make(chan struct{})}
	l.queue = append(l.queue, b)
	return b
}

// crowded says that a group had better be made before there is no room.
func (l *fsyncLog) crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &l.areas[l.active]
	return a.pos-a.start > l.areaSize/2
}

// wait returns when the records of b are on disk, or cannot be: then they are
// durable with the next group only.
func (l *fsyncLog) wait(ctx context.Context, b *logBatch) error {
	for {
		select {
		case <-b.done:
			return b.err
		default:
		}
		select {
		case <-b.done:
			return b.err
		case <-ctx.Done():
			return ctx.Err()
		case l.writing <- struct{}{}:
			l.writeQueue()
			unlock(l.writing)
		}
	}
}

// writeQueue writes and flushes what is queued for one area: when the other is
// written, nothing in the one before may be missing. It says whether there was
// anything. The caller holds writing.
func (l *fsyncLog) writeQueue() bool {
	l.mu.Lock()
	n := 0
	for n < len(l.queue) && l.queue[n].area == l.queue[0].area {
		n++
	}
	queue, err, file, flushed := l.queue[:n], l.failed, l.file, l.flushed
	l.queue = l.queue[n:]
	l.mu.Unlock()
	if n == 0 {
		return false
	}
	for _, b := range queue {
		if err == nil {
			err = l.write(file, b, flushed)
		}
	}
	if err == nil {
		err = flushFile(file)
	}
	l.written(queue, err)
	return true
}

// written ends batches.
func (l *fsyncLog) written(queue []*logBatch, err error) {
	l.mu.Lock()
	if err == nil {
		b := queue[len(queue)-1]
		l.flushed = b.recs[len(b.recs)-1].seq
	} else if l.failed == nil {
		l.failed = fmt.Errorf("%s: %w", l.path, err)
		l.log.Error("fsync waits for commit groups: log cannot be written", "volume", l.id.String(), "err", l.failed)
	}
	l.mu.Unlock()
	for _, b := range queue {
		b.recs, b.err = nil, err
		close(b.done)
	}
}

// logStep is by how much the log grows: what is written into room that the
// file has already costs one flush, and growing costs more. An area that is used
// again has its room, so that zeros are written to each place once in a process.
const logStep = 1 << 20

// write writes a batch, behind which there are zeros where the file had nothing.
func (l *fsyncLog) write(file *os.File, b *logBatch, flushed uint64) error {
	buf := make([]byte, 0, b.end-b.off)
	for _, r := range b.recs {
		r.durable = flushed
		buf = r.appendTo(buf, l.id, l.sealer)
	}
	if a := b.area; b.end > a.zeroed {
		to := min(b.end+logStep, a.end)
		if _, err := file.WriteAt(make([]byte, to-b.end), b.end); err != nil {
			return err
		}
		a.zeroed = to // only who holds writing looks at it
	}
	_, err := file.WriteAt(buf, b.off)
	return err
}

// flushFile is fdatasync.
func flushFile(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// begin tells that the volume was opened in state s, whether anything in the log
// counts on it, and whether anything in it is wrong.
func (l *fsyncLog) begin(s moment, counts, wrong bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.durable, l.until = s, s.group
	l.areas[0].used, l.wrong = counts, wrong
}

// closed notes that a group was closed. Volume.mu is held.
func (l *fsyncLog) closed(g *group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g.logged, l.until = l.seq, g.state.group
	if a, other := &l.areas[l.active], &l.areas[1-l.active]; a.pos > a.start && !other.used {
		other.pos = other.start
		l.active = 1 - l.active
	}
}

// release notes that a group is durable: what was logged before it was closed
// does not count any more. Volume.mu is held.
func (l *fsyncLog) release(g *group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.durable = g.state.moment
	if len(g.state.left) > 0 {
		return
	}
	for i := range l.areas {
		a := &l.areas[i]
		a.used = a.used && a.last > g.logged
	}
}

// renew makes the file, if there is none or it failed and nothing in it counts.
func (l *fsyncLog) renew() {
	if !l.renewable() {
		return
	}
	l.writing <- struct{}{}
	defer unlock(l.writing)
	for l.writeQueue() { // that nobody waits for: it fails
	}
	err := l.giveUp()
	var f *os.File
	if err == nil {
		f, err = createLog(l.path, encodeLogHead(l.id, l.areaSize))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = f
	if err != nil {
		l.log.Warn("fsync waits for commit groups: no log", "volume", l.id.String(), "err", err)
		return
	}
	l.failed, l.wrong, l.flushed, l.active = nil, false, 0, 0
	for i := range l.areas {
		start := logHead + int64(i)*l.areaSize
		l.areas[i] = logArea{start: start, end: start + l.areaSize, pos: start, zeroed: start}
	}
}

// renewable says whether renew has anything to do: not before begin. A volume the
// state of which has no number is of a version that knows no log, and must not
// find one later that counts.
func (l *fsyncLog) renewable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	works := l.file != nil && l.failed == nil
	counts := l.areas[0].used || l.areas[1].used
	return !works && !counts && l.durable.group > 0
}

// giveUp closes the file. If what it has could not be used it gets another name.
func (l *fsyncLog) giveUp() error {
	l.mu.Lock()
	file, wrong := l.file, l.wrong
	l.file = nil
	l.mu.Unlock()
	if file != nil {
		file.Close() // an error is that of what counts no more
	}
	if !wrong {
		return nil
	}
	aside := fmt.Sprintf("%s.%d", l.path, time.Now().UnixNano())
	l.log.Warn("log that could not be used is put aside", "volume", l.id.String(), "file", aside)
	return os.Rename(l.path, aside)
}

// createLog makes an empty log in the place of what may be there. Its head is
// flushed with the first record.
func createLog(path string, head []byte) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	b := make([]byte, logHead)
	copy(b, head)
	if _, err = f.WriteAt(b, 0); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

// close waits for who writes, and closes the file.
func (l *fsyncLog) close() error {
	l.writing <- struct{}{}
	defer unlock(l.writing)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
