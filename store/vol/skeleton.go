package vol

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"bazil/merge"
	"bazil/store"
)

// ID names a volume; all replicas of it have the same.
type ID [16]byte

// NewID returns a random ID.
func NewID() ID {
	var id ID
	rand.Read(id[:])
	return id
}

// String returns 32 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what String gives.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("volume ID has %d characters, not %d", len(s), 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("volume ID: %w", err)
	}
	return id, nil
}

// Options say what a volume works with.
type Options struct {
	Chunks         *store.Chunks
	Sealer         *store.Sealer
	Fetch          store.Fetcher // gets chunks that are not here; may be nil
	CommitInterval time.Duration // 5 s if 0
	DirtyLimit     int64         // bytes in memory not yet durable; 128 MiB if 0
	Log            *slog.Logger
}

func Create(path string, id ID, o Options) error   { return errors.ErrUnsupported }
func Open(path string, o Options) (*Volume, error) { return nil, errors.ErrUnsupported }

// Volume is an open volume.
type Volume struct{}

// Stats are a volume's figures.
type Stats struct {
	Files        int64 // names that show something other than a directory
	Dirs         int64
	LogicalBytes int64
	Conflicts    int64
	DirtyBytes   int64
}

func (v *Volume) ID() ID                                   { return ID{} }
func (v *Volume) Replica() merge.ReplicaID                 { return 0 }
func (v *Volume) Root() *Node                              { return nil }
func (v *Volume) Node(ino uint64) (*Node, error)           { return nil, errors.ErrUnsupported }
func (v *Volume) Sync(ctx context.Context) error           { return errors.ErrUnsupported }
func (v *Volume) Close() error                             { return errors.ErrUnsupported }
func (v *Volume) Stats(ctx context.Context) (Stats, error) { return Stats{}, errors.ErrUnsupported }
func (v *Volume) SetFetch(f store.Fetcher)                 {}
func (v *Volume) NewReplica(ctx context.Context) error     { return errors.ErrUnsupported }
func (v *Volume) Watch(ctx context.Context, since uint64) (now uint64, changed []uint64, all bool, err error) {
	return 0, nil, false, errors.ErrUnsupported
}

// MarkChunks calls keep for every chunk that the volume refers to.
func (v *Volume) MarkChunks(ctx context.Context, keep func(store.ID)) error {
	return errors.ErrUnsupported
}

// Node is a file or directory.
type Node struct{}

// New is what Create makes.
type New struct {
	Kind   merge.Kind
	Mode   uint32 // permission bits, 07777
	UID    uint32
	GID    uint32
	Target string // of a symlink
	Rdev   uint64 // of a device
	Block  bool   // a block device, not a character device
}

// Attr is what stat(2) tells of a file. Times are Unix nanoseconds.
type Attr struct {
	Ino     uint64
	Kind    merge.Kind
	Mode    uint32 // permission bits, 07777
	UID     uint32
	GID     uint32
	NLink   uint32
	Rdev    uint64
	Block   bool // a block device
	Size    int64
	Blocks  int64 // of 512 bytes
	ATime   int64
	MTime   int64
	CTime   int64
	BTime   int64
	Version uint64
}

// SetAttr asks for changes of attributes: those not nil.
type SetAttr struct {
	Mode  *uint32
	UID   *uint32
	GID   *uint32
	Size  *int64
	ATime *int64
	MTime *int64
}

// DirEntry is one name in a List.
type DirEntry struct {
	Name    string
	Ino     uint64
	Kind    merge.Kind
	Block   bool // a block device
	Version uint64
}

func (n *Node) Ino() uint64         { return 0 }
func (n *Node) Kind() merge.Kind    { return 0 }
func (n *Node) Version() uint64     { return 0 }
func (n *Node) Attr() (Attr, error) { return Attr{}, errors.ErrUnsupported }
func (n *Node) Name() string        { return "" }
func (n *Node) Parent() *Node       { return nil }
func (n *Node) Ref()                {}
func (n *Node) Unref()              {}
func (n *Node) Lookup(ctx context.Context, name string) (*Node, error) {
	return nil, errors.ErrUnsupported
}
func (n *Node) Create(ctx context.Context, name string, w New) (*Node, error) {
	return nil, errors.ErrUnsupported
}
func (n *Node) Unlink(ctx context.Context, name string) error { return errors.ErrUnsupported }
func (n *Node) Rmdir(ctx context.Context, name string) error  { return errors.ErrUnsupported }
func (n *Node) Rename(ctx context.Context, old string, dir *Node, new string) error {
	return errors.ErrUnsupported
}
func (n *Node) SetAttr(ctx context.Context, s SetAttr) error { return errors.ErrUnsupported }
func (n *Node) Readlink() (string, error)                    { return "", errors.ErrUnsupported }
func (n *Node) GetXattr(name string) ([]byte, error)         { return nil, errors.ErrUnsupported }
func (n *Node) SetXattr(ctx context.Context, name string, value []byte, flags uint32) error {
	return errors.ErrUnsupported
}
func (n *Node) ListXattr() ([]string, error)                       { return nil, errors.ErrUnsupported }
func (n *Node) RemoveXattr(ctx context.Context, name string) error { return errors.ErrUnsupported }
func (n *Node) List(ctx context.Context) ([]DirEntry, error)       { return nil, errors.ErrUnsupported }
func (n *Node) Open(ctx context.Context, write bool) (*Handle, error) {
	return nil, errors.ErrUnsupported
}

// Handle is an open file.
type Handle struct{}

func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return 0, errors.ErrUnsupported
}
func (h *Handle) ReadBuffers(ctx context.Context, dst [][]byte, off int64, n int) ([][]byte, error) {
	return dst, errors.ErrUnsupported
}
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	return 0, errors.ErrUnsupported
}
func (h *Handle) Append(ctx context.Context, p []byte) (off int64, n int, err error) {
	return 0, 0, errors.ErrUnsupported
}
func (h *Handle) Truncate(ctx context.Context, size int64) error { return errors.ErrUnsupported }
func (h *Handle) Sync(ctx context.Context) error                 { return errors.ErrUnsupported }
func (h *Handle) Close() error                                   { return errors.ErrUnsupported }

// DirState is what a replica tells another of one directory: the committed
// state, in one transaction.
type DirState struct {
	Dir     uint64      // the sender's number of the directory; 0 in an answer that stands for one it lacks
	Same    bool        // the receiver knows all of it: no Entries
	Partial bool        // names left out have no news; otherwise they are absent
	View    merge.View  // of the sender
	Root    merge.Entry // the root directory's own attributes; of no other directory
	Entries []NamedEntry
}

// NamedEntry is one name in a DirState.
type NamedEntry struct {
	Name string
	merge.Entry
	Sub     uint64     // the sender's number of the directory at this name, 0: none
	SubView merge.View // its view, where Sub is not 0
}

// Sub is a subdirectory to be pulled after an Apply.
type Sub struct {
	Name   string
	Remote uint64        // the sender's number; 0: it lacks the directory
	Local  uint64        // number here
	Known  merge.Context // what to ask with: View.Ctx here
	Lack   *DirState     // where Remote is 0: the state to apply
}

// DirState returns the state of a directory. dir 0 is the root. known is the
// receiver's View.Ctx of it.
func (v *Volume) DirState(ctx context.Context, dir uint64, known merge.Context) (DirState, error) {
	return DirState{}, errors.ErrUnsupported
}

// View returns the view of a local directory; 0 is the root.
func (v *Volume) View(dir uint64) (merge.View, error) { return merge.View{}, errors.ErrUnsupported }

// Apply joins a peer's directory with the local one; 0 is the root.
func (v *Volume) Apply(ctx context.Context, local uint64, remote DirState) (subs []Sub, changed bool, err error) {
	return nil, false, errors.ErrUnsupported
}

// Finish says that everything below the local directory has been pulled.
func (v *Volume) Finish(ctx context.Context, local uint64, theirs merge.View) error {
	return errors.ErrUnsupported
}

// Want is a file whose content came in and may not be here.
type Want struct {
	Seq  uint64
	Ino  uint64
	Size int64
	body Body
}

func (v *Volume) Wanted(ctx context.Context, after uint64, n int) ([]Want, error) {
	return nil, errors.ErrUnsupported
}
func (v *Volume) WantChunks(ctx context.Context, w Want, fn func(id store.ID, manifest bool) error) (missing []store.ID, err error) {
	return nil, errors.ErrUnsupported
}
func (v *Volume) Fetched(ctx context.Context, seqs ...uint64) error { return errors.ErrUnsupported }

// Conflict is a name with siblings.
type Conflict struct {
	Path     string // slash-separated, from the root
	Siblings []Sibling
}

// Sibling is one version of a name in conflict.
type Sibling struct {
	Dot   merge.Dot // identifies it
	Kind  merge.Kind
	Size  int64
	MTime int64
	Shown bool // it is the one seen in the tree
}

func (v *Volume) Conflicts(ctx context.Context) ([]Conflict, error) {
	return nil, errors.ErrUnsupported
}

// OpenSibling opens a version for reading.
func (v *Volume) OpenSibling(ctx context.Context, path string, dot merge.Dot) (*Handle, error) {
	return nil, errors.ErrUnsupported
}

// Resolve ends a conflict: the versions that hold a dot of keep stay.
func (v *Volume) Resolve(ctx context.Context, path string, keep ...merge.Dot) error {
	return errors.ErrUnsupported
}
