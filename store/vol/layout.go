package vol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

// The buckets of a volume's Bolt file, drawn in the package comment.
var (
	bucketMeta      = []byte("meta")
	bucketDirs      = []byte("dirs")
	bucketNames     = []byte("names")
	bucketInodes    = []byte("inodes")
	bucketLoose     = []byte("loose")
	bucketConflicts = []byte("conflicts")
	bucketWanted    = []byte("wanted")
	bucketSnapshots = []byte("snapshots")
	bucketTrees     = []byte("trees")
	bucketIndex     = []byte("index")

	allBuckets = [][]byte{bucketMeta, bucketDirs, bucketNames, bucketInodes,
		bucketLoose, bucketConflicts, bucketWanted, bucketSnapshots, bucketTrees, bucketIndex}

	keyFormat = []byte("format")
	keyVolume = []byte("volume")
	keyState  = []byte("state")
	keyFile   = []byte("file")
)

// formatVersion is the version of the whole layout.
const (
	formatVersion = 3
	formatNoSums  = 2 // had values without checksums; is made one of the present version when it is opened
	formatPlain   = 1 // had no index either; so is it
)

// The errors of opening a volume's file that can be told apart.
var (
	// ErrFormat: the file is no volume, or one of a version not known here.
	ErrFormat = errors.New("not a volume of a known format")
	// ErrDamaged: a record in the file does not decode.
	ErrDamaged = errors.New("volume is damaged")
	// ErrVersion: a record or a chunk has a version that is not known here.
	ErrVersion = errors.New("made by a newer version of this program, which is needed to read it")
)

// unknownVersion refuses what has another version than is known here.
func unknownVersion(what string, version, known byte) error {
	return fmt.Errorf("%s of version %d, known is %d: %w", what, version, known, ErrVersion)
}

// damaged says of what does not decode that the volume is damaged, unless it
// is of an unknown version.
func damaged(err error) error {
	if errors.Is(err, ErrVersion) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// rootDir and rootIno are the numbers of the root directory.
const (
	rootDir = 1
	rootIno = 1
)

// state is what changes in a volume with every commit group.
type state struct {
	replica merge.ReplicaID
	n       uint64 // own changes spent
	ino     uint64 // the last number given to a file
	dir     uint64 // the last number given to a directory's place
	change  uint64 // the last number of a change
	want    uint64 // the last number of wanted content
	figures figures

	moment // which commit group left the file so
	// left are the files that the group could not flush, and the group that
	// their bytes are of: what the log has of them since counts.
	left map[uint64]uint64
}

// figures are what Stats tells.
type figures struct {
	files, dirs, bytes, conflicts int64
}

func (s *state) dot() merge.Dot { return merge.Dot{Replica: s.replica, N: s.n} }

const (
	stateVersion = 2
	stateNoLog   = 1 // had nothing of a log
)

func appendState(b []byte, s *state) []byte {
	e := encoder{b: b}
	e.byte(stateVersion)
	e.fixed(uint64(s.replica))
	for _, n := range []uint64{s.n, s.ino, s.dir, s.change, s.want} {
		e.uint(n)
	}
	for _, n := range []int64{s.figures.files, s.figures.dirs, s.figures.bytes, s.figures.conflicts} {
		e.int(n)
	}
	e.fixed(s.process)
	e.uint(s.group)
	e.uint(uint64(len(s.left)))
	for _, ino := range slices.Sorted(maps.Keys(s.left)) {
		e.uint(ino)
		e.uint(s.left[ino])
	}
	return e.b
}

func decodeState(b []byte) (state, error) {
	d := decoder{b: b}
	version := d.byte()
	if version != stateVersion && version != stateNoLog && d.err == nil {
		return state{}, fmt.Errorf("%w: %w", ErrFormat, unknownVersion("state", version, stateVersion))
	}
	s := state{replica: merge.ReplicaID(d.fixed()), n: d.uint(), ino: d.uint(), dir: d.uint(), change: d.uint(), want: d.uint()}
	s.figures = figures{files: d.int(), dirs: d.int(), bytes: d.int(), conflicts: d.int()}
	if version == stateVersion {
		s.decodeMoment(&d)
	}
	if err := d.end(); err != nil {
		return state{}, fmt.Errorf("state: %w", err)
	}
	if s.replica == 0 || s.ino < rootIno || s.dir < rootDir {
		return state{}, fmt.Errorf("state: %w", errMalformed)
	}
	return s, nil
}

func (s *state) decodeMoment(d *decoder) {
	s.moment = moment{process: d.fixed(), group: d.uint()}
	if n := d.count(2); n > 0 {
		s.left = make(map[uint64]uint64, n)
		for range n {
			ino := d.uint()
			s.left[ino] = d.uint()
		}
	}
}

// readState returns the volume's state.
func readState(tx *bbolt.Tx) (state, error) {
	b, err := getSummed(tx.Bucket(bucketMeta), keyState)
	if err != nil {
		return state{}, fmt.Errorf("state: %w", err)
	}
	return decodeState(b)
}

// numKey is a key that begins with a number.
func numKey(n uint64, rest string) []byte {
	b := make([]byte, 8, 8+len(rest))
	binary.BigEndian.PutUint64(b, n)
	return append(b, rest...)
}

// splitKey takes such a key apart.
func splitKey(key []byte) (n uint64, rest []byte) {
	if len(key) < 8 {
		return 0, nil
	}
	return binary.BigEndian.Uint64(key), key[8:]
}

// fileID is where a file is: a copy of it has another.
func fileID(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, nil
	}
	return numKey(uint64(st.Dev), string(numKey(st.Ino, ""))), nil
}

// readDirRecord returns the record of a directory, nil if there is none.
func readDirRecord(tx *bbolt.Tx, num uint64) (*dirRecord, error) {
	b, err := getSummed(tx.Bucket(bucketDirs), numKey(num, ""))
	if b == nil && err == nil {
		return nil, nil
	}
	var r *dirRecord
	if err == nil {
		r, err = decodeDirRecord(b)
	}
	if err != nil {
		return nil, fmt.Errorf("directory %d: %w", num, damaged(err))
	}
	return r, nil
}

// readRecord returns the record of a name, nil if there is none.
func readRecord(tx *bbolt.Tx, dir uint64, name string) (*record, error) {
	b, err := getSummed(tx.Bucket(bucketNames), numKey(dir, name))
	if b == nil && err == nil {
		return nil, nil
	}
	var r *record
	if err == nil {
		r, err = decodeRecord(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%q in directory %d: %w", name, dir, damaged(err))
	}
	return r, nil
}
