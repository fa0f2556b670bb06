package p9srv

import (
	"context"
	"syscall"
)

// NoUID is the user number of an attach that names none (NONUNAME in v9fs).
const NoUID = ^uint32(0)

// User is who a connection attached as: the uname and, in 9P2000.L and .u,
// the user number (NoUID where the client gave none).
type User struct {
	Name string
	UID  uint32
}

// QIDType holds the type bits of a QID, as in intro(5).
type QIDType uint8

// The bits of a QIDType.
const (
	QTFile    QIDType = 0x00
	QTSymlink QIDType = 0x02
	QTTmp     QIDType = 0x04
	QTExcl    QIDType = 0x20
	QTAppend  QIDType = 0x40
	QTDir     QIDType = 0x80
)

// QID is the server's unique name for a file: two files of one tree are the
// same if and only if their Path is the same. Version changes with every
// change of the file; 0 asks the client not to cache it.
type QID struct {
	Type    QIDType
	Version uint32
	Path    uint64
}

// Attr is what stat(2) knows of a file. Times are nanoseconds since 1970.
type Attr struct {
	Mode      uint32 // type and permission bits as in inode(7)
	UID, GID  uint32
	NLink     uint64
	RDev      uint64 // as Linux encodes it
	Size      uint64 // bytes
	BlockSize uint64 // preferred size of I/O; 0 stands for 4096
	Blocks    uint64 // of 512 bytes
	ATime     int64
	MTime     int64
	CTime     int64
	BTime     int64
}

// SetAttr asks for changes: only the fields with a bit in Valid.
type SetAttr struct {
	Valid    SetMask
	Mode     uint32 // permission bits, 07777
	UID, GID uint32
	Size     uint64
	ATime    int64 // unless SetATimeNow stands
	MTime    int64 // unless SetMTimeNow stands
}

// SetMask says which fields of a SetAttr count.
type SetMask uint32

// The bits of a SetMask; a time is set to the server's clock unless its
// Value bit stands too (UTIME_NOW), as in Tsetattr of 9P2000.L.
const (
	SetMode SetMask = 1 << iota
	SetUID
	SetGID
	SetSize
	SetATime
	SetMTime
	SetCTime
	SetATimeValue
	SetMTimeValue
)

// Dirent is one entry of a directory.
type Dirent struct {
	QID    QID
	Offset uint64 // the cookie at which reading goes on after this entry
	Type   uint8  // DT_* of readdir(3); 0: as QID says
	Name   string
}

// Statfs is what statfs(2) says of the filesystem that a file is in.
type Statfs struct {
	Type    uint32
	BSize   uint32
	Blocks  uint64
	BFree   uint64
	BAvail  uint64
	Files   uint64
	FFree   uint64
	FSID    uint64
	NameLen uint32
}

// Tree is what a Server serves.
type Tree interface {
	// Attach returns the root of the tree that aname names, for that user.
	Attach(ctx context.Context, who User, aname string) (Node, error)
}

// Node is a file, directory or symlink as one user sees it. A fid holds a
// Node; its methods are called by many requests at once, and none of the
// server's locks is held meanwhile. Every Node that a method returns is
// released exactly once. ctx ends when the request is flushed or its
// connection is lost.
//
// Errors are syscall.Errno, an *Error, or wrap one of them; the error of an
// ended ctx becomes EINTR; anything else becomes EIO with its text.
type Node interface {
	// QID does no I/O.
	QID() QID
	Attr(ctx context.Context) (Attr, error)
	// Walk returns the entry of a directory; ".." is the parent (the server
	// stops at the root of the attach by itself).
	Walk(ctx context.Context, name string) (Node, error)
	// Open takes open(2) flags as Linux has them on x86. O_CREAT, O_EXCL,
	// O_DIRECTORY and O_NOFOLLOW are left out: the server has seen to them.
	Open(ctx context.Context, flags uint32) (File, error)
	Release()
}

// File is a Node that was opened or created. Its Node outlives it.
type File interface {
	// ReadAt returns fewer bytes than len(p) only at the end of the file,
	// and 0 with no error past it. On a stream it may return any number.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// WriteAt writes all of p or says why not. With O_APPEND off is ignored.
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	// Sync returns when the file's data and attributes are durable.
	Sync(ctx context.Context, dataOnly bool) error
	// Close comes once, when the fid is clunked or its connection is lost.
	Close() error
}

// BufferReader is a File that can lend its memory to a reply.
type BufferReader interface {
	// ReadBuffers appends to dst slices that hold up to n bytes at off. They
	// are never changed afterwards. Fewer than n bytes is the end of the file.
	ReadBuffers(ctx context.Context, dst [][]byte, off int64, n int) ([][]byte, error)
}

// Stream is a File whose reads give events instead of a place in a file:
// each read waits for the next record, offsets mean nothing.
type Stream interface {
	// IsStream is true for a stream. A stream's ReadAt returns one record.
	IsStream() bool
}

// Versioned is a File that goes on with what it opened when its Node gets other
// bytes by another way than being written. It says which version of the Node a
// client that opens it is told: one that is newer than what is read would make
// the client keep old bytes for new ones.
type Versioned interface {
	// Version is the QID.Version of what was opened, after a truncation that
	// came with it.
	Version() uint32
}

// DirReader is the File of an opened directory. Its calls come one at a time.
type DirReader interface {
	// ReadDir calls yield for the entries behind the cookie off (0: from the
	// start, listed anew) until yield returns false. "." and ".." are the
	// server's to add. Cookies stay right while entries come and go; they are
	// not 0, 1<<63-3, 1<<63-2 or anything above 1<<63-1.
	ReadDir(ctx context.Context, off uint64, yield func(Dirent) bool) error
}

// Directory is a Node whose entries can be changed.
type Directory interface {
	// Create makes a regular file and opens it, as open(2) with O_CREAT and
	// O_EXCL, whether flags have those or not: EEXIST if the name is there.
	// Where it cannot be made for another reason, either may be told.
	Create(ctx context.Context, name string, flags, mode, gid uint32) (Node, File, error)
	Mkdir(ctx context.Context, name string, mode, gid uint32) (Node, error)
	Symlink(ctx context.Context, name, target string, gid uint32) (Node, error)
	// Mknod makes a fifo, socket or device node: mode has the type bits.
	Mknod(ctx context.Context, name string, mode, major, minor, gid uint32) (Node, error)
	// Unlink removes an entry; flags may hold AT_REMOVEDIR (0x200).
	Unlink(ctx context.Context, name string, flags uint32) error
}

// Renamer is a Directory whose entries can be renamed; to is a Node of the
// same Tree.
type Renamer interface {
	Rename(ctx context.Context, name string, to Node, newName string) error
}

// Linker is a Directory that takes hard links to target.
type Linker interface {
	Link(ctx context.Context, target Node, name string) error
}

// Placed is a Node that knows where it stands: for Tremove, Trename and the
// name in a stat of 9P2000.
type Placed interface {
	Name() string
	Remove(ctx context.Context) error
	// Move renames the node into to, a directory of the same Tree, or within
	// its own directory where to is nil.
	Move(ctx context.Context, to Node, newName string) error
}

// Setattrer is a Node whose attributes can be set, all or none of them. An
// open File may be one too; it is asked instead of its Node then, and can
// allow what the way it was opened allows, as ftruncate(2) does.
type Setattrer interface {
	SetAttr(ctx context.Context, a SetAttr) error
}

// Readlinker is a symlink.
type Readlinker interface {
	Readlink(ctx context.Context) (string, error)
}

// Xattrer is a Node with extended attributes. Flags are XATTR_CREATE and
// XATTR_REPLACE. A missing name is ENODATA.
type Xattrer interface {
	GetXattr(ctx context.Context, name string) ([]byte, error)
	SetXattr(ctx context.Context, name string, value []byte, flags uint32) error
	ListXattr(ctx context.Context) ([]string, error)
	RemoveXattr(ctx context.Context, name string) error
}

// Statfser is a Node that knows its filesystem's figures.
type Statfser interface {
	Statfs(ctx context.Context) (Statfs, error)
}

// Syncer is a Node that can be made durable without being open.
type Syncer interface {
	Sync(ctx context.Context) error
}

// Flagger is a Node that keeps the append-only, exclusive-use and temporary
// bits of 9P2000; its QID has them in its Type. The server appends to the first
// and lets nobody cut it, and opens the second only once at a time, in all
// dialects; the third is a note for others.
type Flagger interface {
	// SetFlags sets QTAppend, QTExcl and QTTmp as they stand in bits.
	SetFlags(ctx context.Context, bits QIDType) error
}

// Error is an error for a client: its text in 9P2000, its number in
// 9P2000.L, both in 9P2000.u.
type Error struct {
	Errno syscall.Errno
	Text  string // empty: strerror(Errno)
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return e.Text
}

// Unwrap makes errors.Is(err, syscall.ENOENT) and the like work.
func (e *Error) Unwrap() error { return e.Errno }

// LockType is the l_type of a struct flock.
type LockType uint8

// The lock types of 9P2000.L.
const (
	LockRead LockType = iota
	LockWrite
	LockUnlock
)

// LockStatus is the answer to a lock request.
type LockStatus uint8

// The answers of Rlock.
const (
	LockOK LockStatus = iota
	LockBlocked
	LockError
	LockGrace
)

// LockRequest is a POSIX record lock as Tlock and Tgetlock carry it.
type LockRequest struct {
	Type   LockType
	Flags  uint32 // 1: the caller would wait; it retries itself
	Start  uint64
	Length uint64 // 0: to the end of the file
	ProcID uint32
	Client string // names the lock's owner together with ProcID
}
