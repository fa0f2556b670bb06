package ctlfs

import (
	"context"
	"hash/fnv"
	"os"
	"time"

	"bazil/p9srv"
)

// System is the server as its ctl directory shows it.
type System interface {
	// PublicKey is the device's key in hex.
	PublicKey() string
	// Status gives the records of the root's status file.
	Status(ctx context.Context) ([]Record, error)
	// Config gives the commands that would rebuild the configuration, as
	// tokens; without secrets. A command of one token that begins with # is
	// a comment.
	Config(ctx context.Context) ([][]string, error)
}

// Keyring is the sharing keys.
type Keyring interface {
	Names(ctx context.Context) ([]string, error)
	// Fingerprint fails with ENOENT if there is no such key.
	Fingerprint(ctx context.Context, name string) (string, error)
	// Add takes a key of 32 bytes; EEXIST if the name is taken.
	Add(ctx context.Context, name string, key []byte) error
	Remove(ctx context.Context, name string) error
}

// Collection is the objects of one kind.
type Collection interface {
	// Names lists the objects by the name that their directories have.
	Names(ctx context.Context) ([]string, error)
	// Get finds an object by its name or another that it goes by; ENOENT if
	// there is none.
	Get(ctx context.Context, name string) (Object, error)
}

// Object is one peer, volume or export. It may be gone when its methods are
// called: they fail with ENOENT then.
type Object interface {
	Name() string
	Status(ctx context.Context) ([]Record, error)
	// Config gives the commands that would rebuild it, as System's does, with
	// the object left out.
	Config(ctx context.Context) ([][]string, error)
}

// Keyed is an Object with a public key of its own.
type Keyed interface{ PublicKey() string }

// Logged is an Object with a log file: the events of the root's log for which
// Logs is true.
type Logged interface{ Logs(event Record) bool }

// Conflicted is an Object with a directory of conflicts. Paths are
// slash-separated, from the volume's root, which is "".
type Conflicted interface {
	// Conflict returns the versions of the name at path, none if it is not in
	// conflict.
	Conflict(ctx context.Context, path string) ([]ConflictVersion, error)
	// InConflict tells whether the name at path is in conflict or leads to
	// one that is.
	InConflict(ctx context.Context, path string) (bool, error)
	// ConflictsIn returns those names in the directory at path for which
	// InConflict is true, sorted.
	ConflictsIn(ctx context.Context, path string) ([]string, error)
}

// ConflictVersion is a version of a name that has several.
type ConflictVersion struct {
	File string // its name in the directory of the conflict
	Size int64
	Info func(ctx context.Context) (Record, error)
	Open func(ctx context.Context) (p9srv.File, error) // nil: it has no bytes to read
}

// Options is what an FS shows and does.
type Options struct {
	Handlers map[string]Handler // by Verb.Name, for every verb but help
	System   System
	Sharing  Keyring
	Peers    Collection
	Volumes  Collection
	Exports  Collection
	Log      *Log
}

// FS is a ctl directory. Its nodes may be used by many requests at once.
type FS struct {
	o       Options
	started time.Time
	pending creations
}

// New makes an FS. It has no goroutines and needs no closing.
func New(o Options) *FS { return &FS{o: o, started: time.Now()} }

// Root returns the ctl directory as who sees it. parent finds the directory
// above it; nil if there is none.
func (fs *FS) Root(who p9srv.User, parent func() p9srv.Node) p9srv.Node {
	root := &dir{base: base{fs: fs, who: who, path: "ctl", name: "ctl"}, above: parent}
	root.list = fs.rootEntries
	return root
}

// base is what all nodes have.
type base struct {
	fs   *FS
	who  p9srv.User
	path string // from the root of the tree, for the QID
	name string
}

// under is the base of an entry of b.
func (b *base) under(name string) base {
	return base{fs: b.fs, who: b.who, path: b.path + "/" + name, name: name}
}

// Name is the node's name in its directory.
func (b *base) Name() string { return b.name }

// Release does nothing: nodes hold nothing.
func (b *base) Release() {}

// qid numbers a node by its path: 47 bits of a hash below a bit that keeps
// them clear of small numbers; the upper 16 bits are 0. Version 0 keeps
// clients from caching.
func (b *base) qid(t p9srv.QIDType) p9srv.QID {
	h := fnv.New64a()
	h.Write([]byte(b.path))
	return p9srv.QID{Type: t, Path: h.Sum64()>>17 | 1<<47}
}

// attr is what stat(2) tells of a node: the server's user owns it. Sizes are
// 0, as in /proc: what a file holds is known when it is read.
func (b *base) attr(mode uint32) p9srv.Attr {
	t := b.fs.started.UnixNano()
	return p9srv.Attr{
		Mode: mode, NLink: 1, BlockSize: 4096,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
		ATime: t, MTime: t, CTime: t, BTime: t,
	}
}
