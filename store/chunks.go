package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// Sizes that Options leave open.
const (
	defaultSegmentSize = 64 << 20
	maxSegmentChunks   = 1 << 17 // bounds the memory that an unsealed segment takes
	maxOpenFiles       = 256
	maxUnsealedQueue   = 4 // full segments that may wait for their footers while more is appended
)

// Chunks is the content store that all volumes of a data directory share:
// sealed chunks by their IDs. It is safe for concurrent use.
//
// Locks are taken in this order: collecting, sealing, writer, indexing, reserving, mu,
// then those of handles and the cache. Those before mu may be held while files
// are read and written; only collecting and sealing while one waits for Sync.
type Chunks struct {
	files       files
	dir         string // of the segments
	indexDir    string // of the merged tables
	segmentSize int64
	handles     *handles
	log         *slog.Logger
	onDamage    func(ID) // may be nil
	cache       *cache
	holds       holds
	blocks      sync.Pool // of *[blockSize]byte, for reading tables

	ctx    context.Context // of the goroutines
	stop   context.CancelFunc
	done   sync.WaitGroup // the goroutines
	flush  flusher
	toSeal chan struct{} // there is something in sealQueue

	// writer is held by whoever appends; a channel, so that waiting can be cancelled.
	writer chan struct{}
	active *segment // guarded by writer; nil: none yet
	buf    []byte   // guarded by writer: the record being written

	lastSeg    atomic.Uint32 // the highest number ever given to a segment
	collecting chan struct{} // held by the one collection, scrub or the like
	sealing    sync.Mutex    // held while segments get their footers
	indexing   sync.Mutex    // held while tables are merged, rebuilt or replaced
	lastTab    uint32        // guarded by indexing: the highest number of a table file

	reserving sync.Mutex // held while the reserve is made or spent

	keep atomic.Pointer[keepSet] // what a running collection must not free; nil if none runs

	spent atomic.Bool // a collection lives on the reserve; changed under reserving

	// sealSlots has an element for each full segment in sealQueue that
	// appending put there.
	sealSlots chan struct{}

	mu        sync.RWMutex // guards what follows, and the fields of segments
	segments  map[uint32]*segment
	unsealed  []*segment     // by number
	sealQueue []sealJob      // full, waiting for footers
	tables    []*table       // never changed in place
	damaged   map[entry]bool // copies found not to verify
	doubtful  map[ID]entry   // chunks whose flush failed and that have no other copy yet
	removals  uint64         // how many segments have been removed
}

// Stats says what Chunks holds. Copies of one chunk count each.
type Stats struct {
	Chunks   int64 // chunks
	Bytes    int64 // their sealed bytes
	Segments int64 // segment files
	Disk     int64 // bytes of records in segment files, with headers and what is dead
	Tables   int64 // sorted tables to be searched
	Damaged  int64 // copies known not to verify
	Doubtful int64 // chunks that a failed flush may have lost
	Cached   int64 // bytes of plaintext in memory
}

// Stats returns the present numbers.
func (c *Chunks) Stats() Stats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := Stats{
		Segments: int64(len(c.segments)),
		Tables:   int64(len(c.tables)),
		Damaged:  int64(len(c.damaged)),
		Doubtful: int64(len(c.doubtful)),
		Cached:   c.cache.size(),
	}
	for _, seg := range c.segments {
		s.Chunks += seg.chunks
		s.Bytes += seg.bytes
		s.Disk += seg.size
	}
	return s
}

// Has reports whether a chunk is here, as far as is known without reading it.
// A true answer is good for storing a reference to the chunk only within a
// Hold that spans both.
func (c *Chunks) Has(id ID) bool {
	c.touch(id)
	return c.present(id)
}

// Durable is Has of a copy that is on disk.
func (c *Chunks) Durable(id ID) bool {
	c.touch(id)
	var room [4]entry
	entries, _ := c.candidates(room[:0], &id)
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, e := range entries {
		if c.reliable(e) && c.segments[e.segment].flushedTo(e) {
			return true
		}
	}
	return false
}

// flushedTo says whether an entry of the segment is on disk; the caller holds
// Chunks.mu.
func (s *segment) flushedTo(e entry) bool { return s.mem == nil || int64(e.offset) < s.durable }

// Length is how many sealed bytes a chunk has, 0 if it is not here.
func (c *Chunks) Length(id ID) int {
	var room [4]entry
	copies, _ := c.candidates(room[:0], &id)
	if len(copies) == 0 {
		return 0
	}
	return int(copies[0].length)
}

// present says whether a copy of the chunk is here that new references may
// rely on.
func (c *Chunks) present(id ID) bool {
	var room [4]entry
	entries, _ := c.candidates(room[:0], &id)
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, e := range entries {
		if c.reliable(e) {
			return true
		}
	}
	return false
}

// reliable says whether an entry is one that will last; the caller holds mu.
func (c *Chunks) reliable(e entry) bool {
	seg := c.segments[e.segment]
	return seg != nil && !seg.dying && !c.damaged[e] && !(seg.failed && int64(e.offset) >= seg.durable)
}

// Get appends the sealed bytes of a chunk to dst, checked against the ID. The
// errors are ErrNotFound, ErrDamaged if no copy verifies, ctx's, and what keeps
// a copy from being read for now.
func (c *Chunks) Get(ctx context.Context, id ID, dst []byte) ([]byte, error) {
	return c.get(ctx, id, dst, readVerified)
}

// Stored is Get for who verifies the bytes against the ID himself: they are
// checked against the checksum that they were stored with, which finds what a
// disk does to them, at a tenth of the cost. Get has the last word where that
// does not match.
func (c *Chunks) Stored(ctx context.Context, id ID, dst []byte) ([]byte, error) {
	out, err := c.get(ctx, id, dst, (*segment).readChecked)
	if errors.Is(err, ErrDamaged) {
		return c.Get(ctx, id, dst)
	}
	return out, err
}

// readVerified appends the bytes of an entry, checked against its ID.
func readVerified(seg *segment, dst []byte, e entry) ([]byte, error) {
	out, err := seg.readSealed(dst, e)
	if err == nil {
		err = VerifyID(e.id, out[len(dst):])
	}
	return out, err
}

// get appends what read gives of the first copy that is good.
func (c *Chunks) get(ctx context.Context, id ID, dst []byte, read readFunc) ([]byte, error) {
	for {
		if err := ctx.Err(); err != nil {
			return dst, err
		}
		before := c.removed()
		var room [4]entry
		entries, err := c.candidates(room[:0], &id)
		if err != nil {
			return dst, fmt.Errorf("chunk %v: %w", id, err)
		}
		out, err := c.getOne(dst, entries, read)
		if err == nil {
			return out, nil
		}
		if c.removed() == before {
			return dst, fmt.Errorf("chunk %v: %w", id, err)
		}
		// A collection may have moved the chunk meanwhile.
	}
}

func (c *Chunks) removed() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.removals
}

// readFunc appends the sealed bytes of an entry to dst if they are good.
type readFunc func(seg *segment, dst []byte, e entry) ([]byte, error)

// getOne tries one copy after the other. Damage is told only if every copy was
// looked at: who hears of it may give up what the chunk leads to.
func (c *Chunks) getOne(dst []byte, entries []entry, read readFunc) ([]byte, error) {
	var bad, unread error
	for _, e := range entries {
		seg, damaged := c.segmentOf(e)
		if seg == nil {
			continue
		}
		out, err := read(seg, dst, e)
		if err == nil {
			return out, nil
		}
		if errors.Is(err, errGone) {
			continue
		}
		if !tellsDamage(err) {
			unread = fmt.Errorf("segment %d at %d: %w", e.segment, e.offset, err)
			continue
		}
		if !damaged {
			c.noteDamage(e, err)
		}
		bad = fmt.Errorf("segment %d at %d: %w: %w", e.segment, e.offset, ErrDamaged, err)
	}
	if unread != nil {
		return dst, unread
	}
	if bad != nil {
		return dst, bad
	}
	return dst, ErrNotFound
}

// segmentOf returns the segment that an entry is in, nil if it is gone, and
// whether the entry is known to be damaged.
func (c *Chunks) segmentOf(e entry) (*segment, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.segments[e.segment], c.damaged[e]
}

func (c *Chunks) isDamaged(e entry) bool {
	_, damaged := c.segmentOf(e)
	return damaged
}

// tellsDamage says whether an error of reading a copy is about its bytes: they do
// not verify, are not there, or the disk or the file system has lost them. Others
// are not, as a want of memory or of file descriptors and a call that was
// interrupted: the copy is what it was.
func tellsDamage(err error) bool {
	for _, is := range [...]error{ErrDamaged, ErrVersion, io.ErrUnexpectedEOF, fs.ErrNotExist,
		syscall.EIO, syscall.ENODATA, syscall.EILSEQ, syscall.EUCLEAN, syscall.EBADMSG} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// noteDamage remembers that a copy does not verify: it no longer counts as
// present, so that the chunk can be Put again. The error must be one that
// tellsDamage, since what is noted here goes into tables.
func (c *Chunks) noteDamage(e entry, err error) {
	c.mu.Lock()
	c.damaged[e] = true
	c.mu.Unlock()
	c.log.Error("chunk is damaged", "chunk", e.id, "segment", e.segment, "offset", e.offset, "err", err)
	if c.onDamage != nil {
		c.onDamage(e.id)
	}
}

// candidates appends all known copies of a chunk to dst, good or bad. An error
// says that an index table cannot be read for now, so that some may be missing:
// a chunk then counts as absent for who would store it again, and for nobody else.
func (c *Chunks) candidates(dst []entry, id *ID) ([]entry, error) {
	buf := c.blocks.Get().(*[blockSize]byte)
	defer c.blocks.Put(buf)
	base := len(dst)
	for {
		var tables []*table
		dst, tables = c.unsealedEntries(dst[:base], id)
		var bad *table
		var err error
		if dst, bad, err = searchTables(dst, tables, id, buf); bad == nil {
			return dst, nil
		}
		if err := c.replaceTable(bad, err); err != nil {
			return dst, err
		}
	}
}

// unsealedEntries appends the copies in unsealed segments, newest first, and
// returns the tables of the sealed ones.
func (c *Chunks) unsealedEntries(dst []entry, id *ID) ([]entry, []*table) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i := len(c.unsealed) - 1; i >= 0; i-- {
		seg := c.unsealed[i]
		if sp, ok := seg.mem[*id]; ok {
			dst = append(dst, seg.entry(*id, sp))
		}
	}
	return dst, c.tables
}

// searchTables appends what the tables have of id, and returns the table that
// could not be read.
func searchTables(dst []entry, tables []*table, id *ID, buf *[blockSize]byte) ([]entry, *table, error) {
	for _, t := range tables {
		var err error
		if dst, err = t.lookup(dst, id, buf); err != nil {
			return dst, t, err
		}
	}
	return dst, nil, nil
}

// lockWriter waits for the right to append.
func (c *Chunks) lockWriter(ctx context.Context) error { return c.lock(ctx, c.writer) }

// lock takes a lock that is a channel, unless ctx or the store ends before.
func (c *Chunks) lock(ctx context.Context, ch chan struct{}) error {
	select {
	case ch <- struct{}{}:
		return nil
	default:
	}
	select {
	case ch <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
}

func (c *Chunks) unlockWriter() { <-c.writer }

func newChunks(f files, dir string, o Options) *Chunks {
	c := &Chunks{
		files:       f,
		dir:         filepath.Join(dir, chunksDir),
		indexDir:    filepath.Join(dir, indexDir),
		segmentSize: o.SegmentSize,
		handles:     &handles{files: f, max: maxOpenFiles},
		log:         o.Log,
		onDamage:    o.Damaged,
		toSeal:      make(chan struct{}, 1),
		writer:      make(chan struct{}, 1),
		collecting:  make(chan struct{}, 1),
		sealSlots:   make(chan struct{}, maxUnsealedQueue),
		segments:    map[uint32]*segment{},
		damaged:     map[entry]bool{},
		doubtful:    map[ID]entry{},
	}
	if c.segmentSize <= 0 {
		c.segmentSize = defaultSegmentSize
	}
	c.segmentSize = min(c.segmentSize, maxSegmentSize)
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	size := o.CacheBytes
	if size <= 0 {
		size = defaultCacheBytes()
	}
	c.cache = newCache(size)
	c.blocks.New = func() any { return new([blockSize]byte) }
	c.flush.kick = make(chan struct{}, 1)
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// start starts the goroutines that close waits for.
func (c *Chunks) start() {
	c.done.Go(c.flushLoop)
	c.done.Go(c.sealLoop)
	c.done.Go(func() { c.cache.sweepLoop(c.ctx) })
}

// close makes everything durable and ends the goroutines.
func (c *Chunks) close() error {
	err := c.Sync(context.Background())
	c.stop()
	c.done.Wait()
	c.writer <- struct{}{} // nobody appends any more
	if full := c.mark(); err == nil && !isFull(full) {
		err = full
	}
	return errors.Join(err, c.handles.closeAll())
}
