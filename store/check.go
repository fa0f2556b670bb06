package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Fault is one thing that is wrong in a data directory.
type Fault struct {
	Path   string // the file
	Offset int64  // where in it, if that can be told; else -1
	Err    error  // what; it wraps ErrDamaged, ErrVersion or an error of the file system
}

// String tells it in one line.
func (f Fault) String() string {
	if f.Offset < 0 {
		return fmt.Sprintf("%s: %v", f.Path, f.Err)
	}
	return fmt.Sprintf("%s at %d: %v", f.Path, f.Offset, f.Err)
}

// CheckOptions are how a check works. The zero value works.
type CheckOptions struct {
	BytesPerSecond int64                  // bound on reading; none if 0
	Progress       func(path string)      // called with each file before it is read; may be nil
	Fault          func(Fault)            // called with each fault; with damaged chunks when all have been read; may be nil
	Note           func(Fault)            // called with each damaged copy of a chunk of which there is a good one; may be nil
	Passphrase     func() ([]byte, error) // as in Options

	// More checks what is in the chunks, while nobody else can open the data
	// directory; may be nil.
	More func(ctx context.Context, c *Checked) error
}

// Check reads all of a data directory that no server has open and reports
// what is wrong with it; it changes nothing. A damaged copy of a chunk is told
// once, however many records and tables tell of it, and is no fault if there is
// a good copy: nothing is lost by it. The error says that the check itself could
// not be done.
func Check(ctx context.Context, dir string, o CheckOptions) ([]Fault, error) {
	k := &checker{dir: dir, o: o, fs: osFiles{}, pace: pace{perSecond: o.BytesPerSecond}}
	if err := k.run(ctx); err != nil {
		return k.faults, fmt.Errorf("check data directory %s: %w", dir, err)
	}
	return k.faults, nil
}

// checker is one run of Check.
type checker struct {
	dir      string
	o        CheckOptions
	fs       files
	pace     pace
	handles  handles
	faults   []Fault
	segments map[uint32]checkedSegment
	secrets  secrets
	locked   error               // why the secrets are not known
	good     map[uint64]location // of the chunks that verify, by the prefix of their ID
	bad      map[badCopy]error   // what is wrong with those that do not
	nameless []badGap            // what does not verify where no header tells of a chunk
}

// badCopy is a copy of a chunk that does not verify.
type badCopy struct {
	segment, offset uint32
	id              ID
}

// badGap is a gap in a segment.
type badGap struct {
	segment uint32
	gap
}

// location is where a chunk is.
type location struct{ segment, offset, length uint32 }

// checkedSegment is what a segment was found to hold.
type checkedSegment struct {
	records []checkedRecord // by offset
	sealed  bool            // with a good footer
}

// checkedRecord is what is remembered of a record, of which there are many.
type checkedRecord struct {
	prefix         uint64 // of the ID
	offset, length uint32
}

// has says whether the record that an entry tells of was found.
func (s checkedSegment) has(e entry) bool {
	want := checkedRecord{e.id.prefix(), e.offset, e.length}
	i, ok := slices.BinarySearchFunc(s.records, e.offset, func(r checkedRecord, off uint32) int {
		return cmp.Compare(r.offset, off)
	})
	return ok && s.records[i] == want
}

func (k *checker) run(ctx context.Context) error {
	if err := checkFormat(k.dir); err != nil {
		return err
	}
	lock, err := takeLock(k.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	k.handles = handles{files: k.fs, max: maxOpenFiles}
	defer k.handles.closeAll()
	if err := checkModes(k.dir); err != nil {
		k.fault(k.dir, -1, err)
	}
	k.secrets, k.locked = readSecrets(k.dir, k.o.Passphrase)
	if errors.Is(k.locked, ErrPassphrase) && k.o.More != nil {
		return k.locked
	}
	if k.locked != nil && !errors.Is(k.locked, ErrPassphrase) {
		k.fault(filepath.Join(k.dir, keyFile), -1, k.locked)
	}
	k.config()
	err = k.chunks(ctx)
	k.tellDamage()
	if err != nil || k.o.More == nil {
		return err
	}
	return k.more(ctx)
}

// chunks checks what is in the segments and in the index.
func (k *checker) chunks(ctx context.Context) error {
	if err := k.allSegments(ctx); err != nil {
		return err
	}
	return k.allTables(ctx)
}

// damaged notes that a copy of a chunk does not verify.
func (k *checker) damaged(segment, offset uint32, id ID, err error) {
	at := badCopy{segment, offset, id}
	if k.bad[at] == nil {
		k.bad[at] = err
	}
}

// tellDamage tells what does not verify in segments, once all that has been
// found: only then is it known which chunks have a good copy elsewhere, and
// which gaps an index has a name for.
func (k *checker) tellDamage() {
	copies := slices.SortedFunc(maps.Keys(k.bad), compareCopies)
	for _, b := range copies {
		f := Fault{k.segmentPath(b.segment), int64(b.offset), k.bad[b]}
		if !k.hasGood(b.id) {
			k.tell(f)
		} else if k.o.Note != nil {
			k.o.Note(f)
		}
	}
	for _, g := range k.nameless {
		i, _ := slices.BinarySearchFunc(copies, badCopy{segment: g.segment, offset: uint32(g.offset)}, compareCopies)
		if i < len(copies) && copies[i].segment == g.segment && int64(copies[i].offset) < g.offset+g.length {
			continue
		}
		k.fault(k.segmentPath(g.segment), g.offset, fmt.Errorf("%w: %d bytes do not verify", ErrDamaged, g.length))
	}
}

func compareCopies(a, b badCopy) int {
	return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.offset, b.offset), bytes.Compare(a.id[:], b.id[:]))
}

// hasGood says whether there is a copy of a chunk that verifies, which it reads.
func (k *checker) hasGood(id ID) bool {
	_, err := (&Checked{k: k}).Get(context.Background(), id, nil)
	return err == nil
}

func (k *checker) segmentPath(n uint32) string {
	return filepath.Join(k.dir, chunksDir, segmentName(n))
}

func (k *checker) fault(path string, off int64, err error) {
	k.tell(Fault{path, off, err})
}

func (k *checker) tell(f Fault) {
	k.faults = append(k.faults, f)
	if k.o.Fault != nil {
		k.o.Fault(f)
	}
}

func (k *checker) progress(path string) {
	if k.o.Progress != nil {
		k.o.Progress(path)
	}
}

// config checks the configuration's sum, then has Bolt check its structure.
func (k *checker) config() {
	path := filepath.Join(k.dir, configFile)
	k.progress(path)
	fault := func(err error) { k.fault(path, -1, err) }
	db, err := OpenBoltToRead(path)
	if err != nil {
		fault(err)
		return
	}
	defer db.Close()
	if err := db.Lost(); err != nil {
		fault(err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Bucket(metaBucket) == nil || tx.Bucket(tablesBucket) == nil || tx.Bucket(sharingBucket) == nil {
			return fmt.Errorf("%w: a bucket is missing", ErrDamaged)
		}
		return checkConfigSum(tx)
	})
	if err == nil {
		err = db.CheckStructure(fault)
	}
	if err != nil {
		fault(err)
	}
}

func (k *checker) allSegments(ctx context.Context) error {
	k.segments, k.good, k.bad = map[uint32]checkedSegment{}, map[uint64]location{}, map[badCopy]error{}
	dir := filepath.Join(k.dir, chunksDir)
	names, err := k.fs.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		n, ok := parseName(name, ".seg")
		if !ok {
			if name != reserveFile {
				k.fault(path, -1, errors.New("file does not belong here"))
			}
			continue
		}
		k.progress(path)
		if err := k.segment(ctx, n, path); err != nil {
			return err
		}
	}
	return nil
}

// segment checks one segment file: records, chunks, footer.
func (k *checker) segment(ctx context.Context, n uint32, path string) error {
	h := k.handles.add(path, nil)
	f, err := h.acquire()
	if err != nil {
		k.fault(path, -1, err)
		return nil
	}
	defer h.release()
	size, err := f.Size()
	if err != nil {
		k.fault(path, -1, err)
		return nil
	}
	footer, end := k.footer(h, path, n, size)
	found, err := scanSegment(f, n, min(end, math.MaxUint32))
	if err != nil {
		k.fault(path, -1, err)
		return nil
	}
	k.gaps(path, n, found, footer != nil)
	s := checkedSegment{sealed: footer != nil}
	for _, r := range found.records {
		s.records = append(s.records, checkedRecord{r.id.prefix(), r.offset, r.length})
		good, err := k.chunk(ctx, f, r)
		if err != nil {
			return err
		}
		if good {
			k.good[r.id.prefix()] = location{n, r.offset, r.length}
		}
	}
	k.segments[n] = s
	k.compare(path, n, footer, s)
	return nil
}

// footer opens the segment's table and returns it with the end of the
// records; nil and the end of the file if there is none.
func (k *checker) footer(h *handle, path string, n uint32, size int64) (*table, int64) {
	seg := &segment{number: n, handle: h}
	t, err := openFooter(seg)
	if err == nil {
		return t, seg.size
	}
	if k.endsInTable(h, size) || errors.Is(err, ErrVersion) {
		k.fault(path, -1, fmt.Errorf("footer: %w", err))
	}
	return nil, size
}

// endsInTable says whether something like a table ends the file: an unsealed
// segment has none, which is no fault.
func (k *checker) endsInTable(h *handle, size int64) bool {
	tail := make([]byte, min(size, 2*blockSize))
	return h.readAt(tail, size-int64(len(tail))) == nil && bytes.Contains(tail, tableMagic[:])
}

// gaps reports what does not verify between records.
func (k *checker) gaps(path string, n uint32, found *scan, sealed bool) {
	if found.header != nil {
		k.fault(path, 0, found.header)
	}
	for _, g := range found.bad {
		if !sealed && !found.damage(g) {
			continue // what a crash left
		}
		for _, r := range g.known {
			k.damaged(n, r.offset, r.id, fmt.Errorf("chunk %v: %w: record does not verify", r.id, ErrDamaged))
		}
		if len(g.known) == 0 {
			k.nameless = append(k.nameless, badGap{n, g})
		}
	}
}

// chunk checks a record's bytes against the ID.
func (k *checker) chunk(ctx context.Context, f file, r record) (good bool, err error) {
	if err := k.pace.wait(ctx, int64(r.length)); err != nil {
		return false, err
	}
	sealed := make([]byte, r.length)
	if err = readFull(f, sealed, int64(r.offset)+recordHeaderSize); err != nil {
		err = fmt.Errorf("chunk %v: %w", r.id, err)
	} else {
		err = VerifyID(r.id, sealed)
	}
	if err != nil {
		k.damaged(r.segment, r.offset, r.id, err)
	}
	return err == nil, nil
}

// compare holds a footer against the records.
func (k *checker) compare(path string, n uint32, footer *table, s checkedSegment) {
	if footer == nil {
		return
	}
	listed := map[uint64]bool{}
	err := footer.each(func(e entry) bool {
		listed[e.id.prefix()] = true
		if !s.has(e) {
			k.damaged(n, e.offset, e.id, fmt.Errorf("chunk %v: %w: the footer lists it, no record there verifies", e.id, ErrDamaged))
		}
		return true
	})
	if err != nil {
		k.fault(path, -1, err)
	}
	for _, r := range s.records {
		if !listed[r.prefix] {
			k.fault(path, int64(r.offset), fmt.Errorf("footer %w: it does not list the chunk here", ErrDamaged))
		}
	}
}

func (k *checker) allTables(ctx context.Context) error {
	dir := filepath.Join(k.dir, indexDir)
	names, err := k.fs.list(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		path := filepath.Join(dir, name)
		if n, ok := parseName(name, ".tab"); ok {
			k.progress(path)
			k.table(path, n)
		} else if _, ok := parseName(name, ".tab"+newSuffix); !ok {
			k.fault(path, -1, errors.New("file does not belong here"))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// table checks a merged table, and that its entries lead to records.
func (k *checker) table(path string, n uint32) {
	t, err := openTable(k.handles.add(path, nil), n)
	if err == nil {
		err = t.verify()
	}
	if err != nil {
		k.fault(path, -1, err)
		return
	}
	err = t.each(func(e entry) bool {
		if s := k.segments[e.segment]; s.sealed && !s.has(e) {
			k.damaged(e.segment, e.offset, e.id, fmt.Errorf("chunk %v: %w: %s lists it, no record there verifies", e.id, ErrDamaged, filepath.Base(path)))
		}
		return true
	})
	if err != nil {
		k.fault(path, -1, err)
	}
}
