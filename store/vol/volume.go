package vol

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"bazil/merge"
	"bazil/store"
)

// Options say what a volume works with.
type Options struct {
	Chunks         *store.Chunks // where the bytes of files are
	Sealer         *store.Sealer // seals and opens them
	Fetch          store.Fetcher // gets chunks that are not here; may be nil
	CommitInterval time.Duration // what was changed is durable after it; 5 s if 0
	DirtyLimit     int64         // bytes of memory for what is not durable yet; 32 MiB if 0
	LogSize        int64         // bytes that the log of fsyncs may take on disk; 16 MiB if 0
	CacheEntries   int           // names kept in memory, fewer where their records are large; 65536 if 0
	MaxVersions    int           // of a name, before the oldest of them become files beside it; 256 if 0
	Sealers        int           // goroutines that compress and seal; GOMAXPROCS if 0
	Log            *slog.Logger  // where events go; nowhere if nil
}

// Info names a volume and this replica of it.
type Info struct {
	ID      ID
	Replica merge.ReplicaID
}

// Volume is an open volume. Its methods, and those of its Nodes and Handles,
// may be used by many goroutines.
type Volume struct {
	o     Options
	id    ID
	db    *store.Bolt
	env   *contentEnv
	fetch atomic.Pointer[store.Fetcher]
	log   *fsyncLog

	committer commitWorker

	snapshotting chan struct{} // a lock: held by who makes or removes a snapshot
	stale        staleTrees

	// mu is the namespace lock. It guards everything below and whatever is
	// reached from it: entries, directories, inodes, groups. It is held for
	// moments only: never during I/O other than short reads of the Bolt file,
	// never while asking for a Bolt write transaction.
	mu             sync.Mutex
	state          state
	root           *dir
	dirs           map[uint64]*dir
	inodes         map[uint64]*inode
	files          map[*file]struct{} // whose bytes are in memory or open
	listings       listings
	conflicts      conflictSet
	conflictChange uint64 // goes up when a version of any may be another
	cache          entryList
	now            *group // takes the changes being made
	commit         *group // is being made durable, or nil
	done           uint64 // how often that came to an end
	flushed        uint64 // of env.loose those that are on disk
	watch          watchRing
	handles        int64 // open
	refs           int64 // of Nodes
	closed         bool
	// replaying: what is in the log is being done again. Commit groups leave
	// it as it is.
	replaying bool
	broken    bool // closed by a panic: what is in memory is not to be trusted
	ended     bool // Close was called
}

// newRoot is the record of the root directory's name, "" in itself. Nobody
// has set attributes: those that a peer set count when they come.
func newRoot() *record {
	t := now()
	return &record{Ino: rootIno, Sub: rootDir, Implied: true, ATime: t, MTime: t, CTime: t, BTime: t}
}

// newState is that of a volume nobody has changed.
func newState() state {
	return state{replica: newReplicaID(), ino: rootIno, dir: rootDir, moment: moment{randomNumber(), 1}}
}

func newReplicaID() merge.ReplicaID {
	var b [8]byte
	for {
		rand.Read(b[:])
		if id := merge.ReplicaID(binary.BigEndian.Uint64(b[:])); id != 0 {
			return id
		}
	}
}

// Create makes the file of an empty volume at path, which must not exist. A
// volume that is connected to another device's has the same ID.
func Create(path string, id ID, o Options) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	f.Close()
	err = createAt(path, id)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("create volume %s: %w", path, err)
	}
	return nil
}

// Remove removes the file of a volume that nobody has open, with its log and
// those that were put aside.
func Remove(path string) error {
	logs, err := filepath.Glob(globQuote(logPath(path)) + "*")
	for _, name := range logs {
		err = errors.Join(err, os.Remove(name))
	}
	return errors.Join(os.Remove(path), err)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func createAt(path string, id ID) error {
	db, err := openBolt(path)
	if err != nil {
		return err
	}
	file, err := fileID(path)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error { return writeNew(tx, id, file) })
	}
	return errors.Join(err, db.Close())
}

func writeNew(tx *bbolt.Tx, id ID, file []byte) error {
	for _, name := range allBuckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	s, meta := newState(), tx.Bucket(bucketMeta)
	return errors.Join(
		meta.Put(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion)),
		putSummed(meta, keyVolume, id[:]),
		putSummed(meta, keyFile, file),
		putSummed(meta, keyState, appendState(nil, &s)),
		putSummed(tx.Bucket(bucketDirs), numKey(rootDir, ""), appendDirRecord(nil, &dirRecord{Records: 1})),
		putSummed(tx.Bucket(bucketNames), numKey(rootDir, ""), appendRecord(nil, newRoot())),
		putSummed(tx.Bucket(bucketInodes), numKey(rootIno, ""), numKey(rootDir, "")),
	)
}

// mapSize is how much address space the file gets at first. Each time that it
// outgrows it, all readers have to end first.
const mapSize = 1 << 30

// boltRoom is what is kept of the disk for the file, so that names can be
// removed when the disk is full.
const boltRoom = 1 << 20

// boltPage is that of a new file. Pages of 4 KiB would be filled to three
// quarters, as records with a small file in them are up to that size.
const boltPage = 8 << 10

func openBolt(path string) (*store.Bolt, error) {
	db, err := store.OpenBolt(path, &bbolt.Options{
		Timeout:         time.Second,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapSize,
		PageSize:        boltPage,
	})
	if err == nil {
		db.KeepRoom(boltRoom)
	}
	return db, err
}

// Open opens the volume at path and starts its committer.
func Open(path string, o Options) (*Volume, error) {
	o.setDefaults()
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	db, err := openBolt(path)
	if err != nil {
		return nil, fmt.Errorf("open volume %s: %w", path, err)
	}
	v := &Volume{
		o: o, db: db,
		snapshotting: make(chan struct{}, 1),
		dirs:         make(map[uint64]*dir),
		inodes:       make(map[uint64]*inode),
		files:        make(map[*file]struct{}),
		now:          newGroup(1),
	}
	if err := db.Lost(); err != nil {
		o.Log.Error("volume's file is damaged", "err", err)
	}
	if err := v.load(path); err != nil {
		db.Close()
		return nil, fmt.Errorf("open volume %s: %w", path, err)
	}
	v.env = newEnv(o.Chunks, o.Sealer, o.Chunks.NewReader(o.Sealer, fetcher{v}), o.DirtyLimit)
	if o.Sealers > 0 {
		v.env.sealers = o.Sealers
	}
	v.env.start()
	v.committer.start(v)
	if err := v.openLog(); err != nil {
		v.stop()
		return nil, fmt.Errorf("open volume %s: %w", path, errors.Join(err, v.db.Close(), v.log.close()))
	}
	v.SetFetch(o.Fetch)
	return v, nil
}

// stop ends what was started.
func (v *Volume) stop() {
	v.mu.Lock()
	v.closed = true
	v.watch.wake()
	v.mu.Unlock()
	v.committer.stop()
	v.env.close()
}

func (o *Options) setDefaults() {
	if o.CommitInterval <= 0 {
		o.CommitInterval = 5 * time.Second
	}
	if o.DirtyLimit <= 0 {
		o.DirtyLimit = defaultDirtyLimit
	}
	if o.LogSize <= 0 {
		o.LogSize = defaultLogSize
	}
	o.LogSize = min(max(o.LogSize, 2*recordMax), 2*logAreaMax)
	if o.CacheEntries <= 0 {
		o.CacheEntries = 64 << 10
	}
	if o.MaxVersions <= 0 {
		o.MaxVersions = defaultMaxVersions
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// defaultLogSize is what the log takes on disk once much was synced: with 4 KiB
// an fsync it makes a group after 2,000 of them.
const defaultLogSize = 16 << 20

// defaultMaxVersions lets a name have as many as people may still want to look
// through. A rename may bring those of two names together, and a peer's listing
// with as many is to be joined: all must be within merge.MaxVersions.
const defaultMaxVersions = 256

// changesPerCrash is more than the changes that can be seen without becoming
// durable: numbers that clients saw before a crash do not come again.
const changesPerCrash = 1 << 24

// load reads the state and the root directory. A copy of the volume's file is
// another replica.
func (v *Volume) load(path string) error {
	file, err := fileID(path)
	if err != nil {
		return err
	}
	if err := upgrade(v.db); err != nil {
		return err
	}
	copied := false
	var root *dirRecord
	err = v.db.View(func(tx *bbolt.Tx) error {
		for _, name := range allBuckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: bucket %q is missing", ErrFormat, name)
			}
		}
		meta := tx.Bucket(bucketMeta)
		if b := meta.Get(keyFormat); len(b) != 4 || binary.BigEndian.Uint32(b) != formatVersion {
			return fmt.Errorf("%w: version %x, known is %d: %w", ErrFormat, b, formatVersion, ErrVersion)
		}
		if err := v.readNames(meta, file, &copied); err != nil {
			return err
		}
		if v.state, err = readState(tx); err != nil {
			return err
		}
		v.conflicts, v.state.figures.conflicts = readConflicts(tx)
		if root, err = readDirRecord(tx, rootDir); err == nil && root == nil {
			err = fmt.Errorf("%w: no root directory", ErrDamaged)
		}
		return err
	})
	if err != nil {
		return err
	}
	v.log = newFsyncLog(path, v.id, &v.o)
	v.state.change += changesPerCrash
	v.watch.from, v.watch.to = v.state.change, v.state.change
	return v.loadRoot(root, copied, file)
}

// readNames reads the volume's ID, and whether its file is a copy.
func (v *Volume) readNames(meta *bbolt.Bucket, file []byte, copied *bool) error {
	id, err := getSummed(meta, keyVolume)
	if err == nil && len(id) != len(v.id) {
		err = fmt.Errorf("%w: no ID", ErrFormat)
	}
	if err != nil {
		return err
	}
	copy(v.id[:], id)
	was, err := getSummed(meta, keyFile)
	*copied = file != nil && string(was) != string(file)
	return err
}

// upgrade makes a volume of an earlier version one of the present one, in one
// transaction.
func upgrade(db *store.Bolt) error {
	old := false
	err := db.View(func(tx *bbolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			b := meta.Get(keyFormat)
			old = len(b) == 4 && (binary.BigEndian.Uint32(b) == formatPlain || binary.BigEndian.Uint32(b) == formatNoSums)
		}
		return nil
	})
	if err != nil || !old {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketIndex); err != nil {
			return err
		}
		for _, name := range allBuckets {
			if b := tx.Bucket(name); b != nil {
				if err := sumAll(b); err != nil {
					return fmt.Errorf("upgrade: bucket %s: %w", name, err)
				}
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion))
	})
}

func (v *Volume) loadRoot(r *dirRecord, copied bool, file []byte) error {
	if copied {
		r.Ctx = r.Ctx.With(v.state.dot())
		v.state.replica = newReplicaID()
		err := v.db.Update(func(tx *bbolt.Tx) error {
			return errors.Join(
				putSummed(tx.Bucket(bucketMeta), keyState, appendState(nil, &v.state)),
				putSummed(tx.Bucket(bucketMeta), keyFile, file),
				putSummed(tx.Bucket(bucketDirs), numKey(rootDir, ""), appendDirRecord(nil, r)),
			)
		})
		if err != nil {
			return err
		}
	}
	v.root = newDir(rootDir, r)
	v.dirs[rootDir] = v.root
	v.mu.Lock()
	defer v.mu.Unlock()
	e, err := v.find(v.root, "")
	if err != nil {
		return err
	}
	if e.rec == nil {
		return fmt.Errorf("%w: the root has no record", ErrDamaged)
	}
	v.root.at = e
	e.sub = v.root
	in := v.addInode(rootIno, merge.KindDir, e)
	in.refs = 1
	return nil
}

// fetcher hands what is not here to the volume's current Fetcher.
type fetcher struct{ v *Volume }

func (f fetcher) Fetch(ctx context.Context, id store.ID) ([]byte, error) {
	p := f.v.fetch.Load()
	if p == nil || *p == nil {
		return nil, fmt.Errorf("chunk %v: %w", id, store.ErrNotFound)
	}
	return (*p).Fetch(ctx, id)
}

// SetFetch sets who gets chunks that are not here from now on; nil: nobody.
func (v *Volume) SetFetch(f store.Fetcher) { v.fetch.Store(&f) }

// ID returns the volume's ID.
func (v *Volume) ID() ID { return v.id }

// Replica returns this replica's ID. It changes when the volume finds itself
// to be a copy.
func (v *Volume) Replica() merge.ReplicaID {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state.replica
}

// Info returns the names of the volume and this replica.
func (v *Volume) Info() Info { return Info{v.id, v.Replica()} }

// Root returns the root directory.
func (v *Volume) Root() *Node {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.node(v.root.at.node)
}

// Close makes everything durable and gives the file free. Nodes and Handles
// fail with EIO afterwards. The error is that of the last commit group; what
// it could not make durable is lost.
func (v *Volume) Close() error {
	v.mu.Lock()
	over, broken := v.ended, v.broken
	v.ended = true
	v.mu.Unlock()
	if over {
		return nil
	}
	err := errBroken
	if !broken {
		err = v.Sync(context.Background())
	}
	v.stop()
	return errors.Join(err, v.db.Close(), v.log.close())
}
