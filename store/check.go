package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
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
	Fault          func(Fault)            // called with each fault as it is found; may be nil
	Passphrase     func() ([]byte, error) // as in Options

	// More checks what is in the chunks, while nobody else can open the data
	// directory; may be nil.
	More func(ctx context.Context, c *Checked) error
}

// Check reads all of a data directory that no server has open and reports
// what is wrong with it; it changes nothing. The error says that the check
// itself could not be done.
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
	good     map[uint64]location // of the chunks that verify, by the prefix of their ID; only with More
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
	if err := k.allSegments(ctx); err != nil {
		return err
	}
	if err := k.allTables(ctx); err != nil || k.o.More == nil {
		return err
	}
	return k.more(ctx)
}

func (k *checker) fault(path string, off int64, err error) {
	f := Fault{path, off, err}
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
	k.segments = map[uint32]checkedSegment{}
	if k.o.More != nil {
		k.good = map[uint64]location{}
	}
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
	k.gaps(path, found, footer != nil)
	s := checkedSegment{sealed: footer != nil}
	for _, r := range found.records {
		s.records = append(s.records, checkedRecord{r.id.prefix(), r.offset, r.length})
		good, err := k.chunk(ctx, f, path, r)
		if err != nil {
			return err
		}
		if good && k.good != nil {
			k.good[r.id.prefix()] = location{n, r.offset, r.length}
		}
	}
	k.segments[n] = s
	k.compare(path, footer, s)
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
func (k *checker) gaps(path string, found *scan, sealed bool) {
	if found.header != nil {
		k.fault(path, 0, found.header)
	}
	for _, g := range found.bad {
		if !sealed && !found.damage(g) {
			continue // what a crash left
		}
		for _, r := range g.known {
			k.fault(path, int64(r.offset), fmt.Errorf("chunk %v: %w: record does not verify", r.id, ErrDamaged))
		}
		if len(g.known) == 0 {
			k.fault(path, g.offset, fmt.Errorf("%w: %d bytes do not verify", ErrDamaged, g.length))
		}
	}
}

// chunk checks a record's bytes against the ID.
func (k *checker) chunk(ctx context.Context, f file, path string, r record) (good bool, err error) {
	if err := k.pace.wait(ctx, int64(r.length)); err != nil {
		return false, err
	}
	sealed := make([]byte, r.length)
	err = readFull(f, sealed, int64(r.offset)+recordHeaderSize)
	if err == nil {
		err = VerifyID(r.id, sealed)
	}
	if err != nil {
		k.fault(path, int64(r.offset), err)
	}
	return err == nil, nil
}

// compare holds a footer against the records.
func (k *checker) compare(path string, footer *table, s checkedSegment) {
	if footer == nil {
		return
	}
	listed := map[uint64]bool{}
	err := footer.each(func(e entry) bool {
		listed[e.id.prefix()] = true
		if !s.has(e) {
			k.fault(path, int64(e.offset), fmt.Errorf("chunk %v: %w: the footer lists it, no record there verifies", e.id, ErrDamaged))
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
			k.fault(path, -1, fmt.Errorf("chunk %v: %w: listed in segment %d at %d, where no record verifies", e.id, ErrDamaged, e.segment, e.offset))
		}
		return true
	})
	if err != nil {
		k.fault(path, -1, err)
	}
}
