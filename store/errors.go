package store

import "errors"

// The errors a caller can tell apart with errors.Is. What comes back wraps one
// of them and names the object.
var (
	// ErrLocked says that another process has the data directory open.
	ErrLocked = errors.New("data directory is in use by another process")
	// ErrNotFound says that no chunk, sharing key or configuration entry has that name.
	ErrNotFound = errors.New("not found")
	// ErrExists says that the name is taken.
	ErrExists = errors.New("already exists")
	// ErrDamaged says that bytes do not verify: they are not what was once stored.
	ErrDamaged = errors.New("damaged")
	// ErrVersion says that something was written by a version not known here.
	ErrVersion = errors.New("unknown format version")
	// ErrFailed says that data could not be made durable: a flush failed, and
	// what was written before it may be lost.
	ErrFailed = errors.New("flush to disk failed")
	// ErrClosed says that the store has been closed.
	ErrClosed = errors.New("store is closed")
	// ErrTooBig says that a chunk exceeds MaxPlain or MaxSealed.
	ErrTooBig = errors.New("chunk too big")
	// ErrPassphrase says that the secrets are wrapped and the passphrase is
	// missing or wrong.
	ErrPassphrase = errors.New("passphrase missing or wrong")
)
