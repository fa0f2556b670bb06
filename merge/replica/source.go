package replica

import (
	"context"

	"bazil/store"
	"bazil/store/vol"
)

// Source is a peer's copy of a volume.
type Source interface {
	// Info says which volume it is, and which replica.
	Info(ctx context.Context) (vol.Info, error)
	// Dirs asks for the states of directories. got is called for each, in
	// the order of reqs, with its place there, and for a large one several
	// times, with one piece after the other; its error ends the call and is
	// returned. Several calls may be under way.
	Dirs(ctx context.Context, reqs []vol.DirRequest, got func(i int, d vol.DirState) error) error
	// Chunks asks for chunks. got is called once for each, in any order and
	// by several goroutines at once, with its place in ids; sealed is nil
	// where the peer does not have the chunk, is valid until got returns, and
	// was checked with store.VerifyID.
	Chunks(ctx context.Context, ids []store.ID, got func(i int, sealed []byte) error) error
}

// Options are for one pull or fetch.
type Options struct {
	// Progress is told how far it is, from one goroutine at a time; nil: no one.
	Progress func(Result)
	// Only says which files to fetch the content of; nil: all. The others
	// stay wanted.
	Only func(vol.Want) bool
	// Under is the path, from the root, that a pull is for; "": all. What is
	// below other directories is left to a pull that is for it.
	Under string
	// MaxWaiting is how many directories of a pull may wait to be asked for:
	// ErrWide. 0 stands for 1,048,576.
	MaxWaiting int
	// MaxDirs is how many of the peer's directories one pull looks at: ErrWide
	// too. 0 stands for 4,194,304.
	MaxDirs int
}

// Result is how far a pull or a fetch has come.
type Result struct {
	Dirs     int  // directories joined
	Names    int  // names the peer listed in them
	Changed  int  // directories in which something changed
	Complete bool // the whole volume was pulled: all that the peer knows is known here

	Files   int   // files whose content is here now
	Missing int   // files of whose content the peer lacks a part
	Chunks  int   // chunks fetched
	Bytes   int64 // of them, sealed
}
