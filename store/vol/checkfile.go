package vol

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"bazil/store"
)

// CheckedChunks is where a CheckFile looks for chunks: a store.Checked.
type CheckedChunks interface {
	Get(ctx context.Context, id store.ID, dst []byte) ([]byte, error)
	Has(id store.ID) bool
}

// FileChecked is what CheckFile found beside faults.
type FileChecked struct {
	Names, Snapshots int64
	Absent           int64 // chunks that are not here, which is no fault of a volume with other storage
}

// CheckFile reads all of a volume's file, which nobody has open, and looks for
// every chunk that its names and snapshots need. Fault is called with each
// thing that is wrong; remote says that chunks may be elsewhere. The error says
// that the check could not go on.
func CheckFile(ctx context.Context, path string, chunks CheckedChunks, sealer *store.Sealer, remote bool, fault func(error)) (FileChecked, error) {
	k := &fileChecker{ctx: ctx, chunks: chunks, remote: remote, seen: make(map[store.ID]struct{})}
	k.fault = func(err error) { k.faults++; fault(err) }
	k.m = &marker{ctx: ctx, chunks: chunks, sealer: sealer, keep: k.need, trees: make(map[treeKey]struct{})}
	db, err := store.OpenBoltToRead(path)
	if err != nil {
		return k.found, err
	}
	defer db.Close()
	if err := db.Lost(); err != nil {
		k.fault(err)
	}
	if err := db.View(k.all); err != nil || k.faults > k.absent {
		return k.found, err // the structure may not be safe to look at
	}
	logs := func(tx *bbolt.Tx) error {
		return errors.Join(k.log(tx, logPath(path), sealer), k.asides(tx, logPath(path), sealer))
	}
	if err := db.View(logs); err != nil {
		k.fault(err)
	}
	return k.found, db.CheckStructure(k.fault)
}

// CheckRemoved reads all of the file of a volume whose sharing key is not
// known: what its chunks hold is not looked at.
func CheckRemoved(ctx context.Context, path string, fault func(error)) error {
	db, err := store.OpenBoltToRead(path)
	if err != nil {
		return err
	}
	defer db.Close()
	k := &fileChecker{ctx: ctx}
	k.fault = func(err error) { k.faults++; fault(err) }
	return db.View(func(tx *bbolt.Tx) error {
		if err := k.head(tx); err != nil {
			return err
		}
		for _, name := range allBuckets {
			if !bytes.Equal(name, bucketMeta) { // head has seen to it
				k.each(tx, name, string(name), func(_, _ []byte) error { return nil })
			}
		}
		return ctx.Err()
	})
}

// fileChecker is one CheckFile under way.
type fileChecker struct {
	ctx    context.Context
	chunks CheckedChunks
	m      *marker
	remote bool
	fault  func(error)
	faults int // told
	absent int // of these, chunks that are absent
	found  FileChecked
	at     string                // what is looked at
	seen   map[store.ID]struct{} // absent chunks told
}

// need is called for each chunk that something refers to.
func (k *fileChecker) need(id store.ID) {
	if k.chunks.Has(id) {
		return
	}
	if _, told := k.seen[id]; told {
		return
	}
	k.seen[id] = struct{}{}
	k.found.Absent++
	if !k.remote {
		k.absent++
		k.fault(fmt.Errorf("%s needs chunk %v, which is not here or damaged", k.at, id))
	}
}

func (k *fileChecker) all(tx *bbolt.Tx) error {
	if err := k.head(tx); err != nil {
		k.fault(err)
		return k.ctx.Err()
	}
	dirs := make(map[uint64]bool)
	var records uint64
	k.each(tx, bucketDirs, "directory record", func(key, value []byte) error {
		num, _ := splitKey(key)
		r, err := decodeDirRecord(value)
		if err == nil {
			dirs[num] = true
			records += r.Records
		}
		return err
	})
	k.each(tx, bucketNames, "name", func(key, value []byte) error { return k.name(tx, dirs, key, value) })
	if uint64(k.found.Names) != records {
		k.fault(fmt.Errorf("%w: %d names, of which directories know %d", ErrDamaged, k.found.Names, records))
	}
	k.each(tx, bucketSnapshots, "snapshot", func(key, value []byte) error {
		k.found.Snapshots++
		return k.m.snapshot(key, value)
	})
	k.each(tx, bucketTrees, "tree", k.m.cachedTree)
	k.each(tx, bucketWanted, "wanted content", func(key, value []byte) error {
		seq, _ := splitKey(key)
		_, err := decodeWant(seq, value)
		return err
	})
	for _, name := range [][]byte{bucketInodes, bucketLoose, bucketConflicts, bucketIndex} {
		k.each(tx, name, string(name), func(_, _ []byte) error { return nil })
	}
	return k.ctx.Err()
}

func readID(tx *bbolt.Tx) (id ID, err error) {
	b, err := getSummed(tx.Bucket(bucketMeta), keyVolume)
	copy(id[:], b)
	return id, err
}

// log checks the log of the volume, if it has one.
func (k *fileChecker) log(tx *bbolt.Tx, path string, sealer *store.Sealer) error {
	s, err := readState(tx)
	if err != nil {
		return err
	}
	id, err := readID(tx)
	if err != nil {
		return err
	}
	found, err := readLog(path, id, defaultLogSize/2, &s)
	if err == nil {
		err = found.err
	}
	for i := 0; i < len(found.records) && err == nil; i++ {
		_, err = found.records[i].open(id, sealer)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// head checks what is read when a volume is opened.
func (k *fileChecker) head(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return fmt.Errorf("%w: bucket %q is missing", ErrFormat, bucketMeta)
	}
	if b := meta.Get(keyFormat); len(b) != 4 || binary.BigEndian.Uint32(b) != formatVersion {
		return fmt.Errorf("%w: version %x; a server that opens it makes one of an earlier version new", ErrFormat, b)
	}
	for _, name := range allBuckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: bucket %q is missing", ErrFormat, name)
		}
	}
	_, err := readState(tx)
	return err
}

// each calls check for all of a bucket and reports its errors.
func (k *fileChecker) each(tx *bbolt.Tx, bucket []byte, what string, check func(key, value []byte) error) {
	c := tx.Bucket(bucket).Cursor()
	for key, value := c.First(); key != nil && k.ctx.Err() == nil; key, value = c.Next() {
		k.at = fmt.Sprintf("%s %q", what, key)
		value, err := checkSum(key, value)
		if err == nil {
			err = check(key, value)
		}
		if err != nil && k.ctx.Err() == nil {
			k.fault(fmt.Errorf("%s: %w", k.at, err))
		}
	}
}

// name checks a name's record, that its directory exists, that its number
// leads back to it, and its content.
func (k *fileChecker) name(tx *bbolt.Tx, dirs map[uint64]bool, key, value []byte) error {
	num, name := splitKey(key)
	k.at = fmt.Sprintf("%q in directory %d", name, num)
	k.found.Names++
	r, err := decodeRecord(value)
	switch {
	case err != nil:
		return err
	case !dirs[num]:
		return fmt.Errorf("%w: there is no such directory", ErrDamaged)
	case r.Sub != 0 && !dirs[r.Sub]:
		return fmt.Errorf("%w: its directory %d has no record", ErrDamaged, r.Sub)
	}
	if at, err := getSummed(tx.Bucket(bucketInodes), numKey(r.Ino, "")); r.Ino != 0 && err == nil && !bytes.Equal(at, key) {
		return fmt.Errorf("%w: number %d leads to another name", ErrDamaged, r.Ino)
	}
	return k.m.stored(key, value)
}
