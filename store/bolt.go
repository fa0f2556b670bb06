package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Bolt is a Bolt file whose transactions are what they promise on a disk that
// fails and in a process that was killed.
//
// Bolt takes the pages that it sees for the pages on disk, and reuses those
// that the last transaction freed. But a meta page that was written and not
// flushed, since the process was killed or the flush failed, may be in memory
// only. The next transaction then overwrites pages of the tree that the meta
// page on disk leads to, before another is there. So both meta pages are
// written again, and flushed, when the file is opened and after a transaction
// that failed, before any other begins.
//
// A page that was changed on disk makes Bolt panic, or read outside the file.
// Both become ErrDamaged here.
//
// One of the two meta pages that does not verify is no crash's doing, as a
// sector is written whole or not at all. If it was the newer one, the file has
// gone back by a transaction: Lost says so.
type Bolt struct {
	db      *bolt.DB
	lost    error
	durable atomic.Int64 // the last transaction that is certainly on disk
	tight   atomic.Bool  // the disk did not give the room to be kept

	mapping sync.Mutex // guards mapped
	mapped  mapped

	// writing is held during Update, as is Bolt's own lock. It guards the rest.
	writing sync.Mutex
	doubt   bool  // the last transaction failed
	broken  error // why no transaction can be made any more
	room    int64 // bytes to be kept behind what is used, see KeepRoom
	end     int64 // the disk has room for the file up to here
}

// OpenBolt opens the Bolt file at path, or makes it.
func OpenBolt(path string, o *bolt.Options) (b *Bolt, err error) {
	defer faults()()
	defer caught(path, &err)
	db, err := bolt.Open(path, fileMode, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	b = newBolt(db)
	b.lost, err = checkMetas(path, db.Info().PageSize)
	if err == nil {
		err = b.settle()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return b, nil
}

func newBolt(db *bolt.DB) *Bolt {
	return &Bolt{db: db, mapped: mapped{most: maxMapped, base: mappedNow()}}
}

// Lost is not nil if a meta page was damaged when the file was opened, so that
// its last transaction may be gone.
func (b *Bolt) Lost() error { return b.lost }

// KeepRoom has n bytes of disk kept for the file beyond what it uses, so that
// a transaction that only removes something can be made when the disk is full:
// Bolt changes no page in place. It is to be called before the first Update.
func (b *Bolt) KeepRoom(n int64) {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.db.AllocSize, b.room = int(n), n
	b.makeRoom()
}

// Tight says that the disk is so full that the room to be kept is not there. A
// transaction that adds something had better wait.
func (b *Bolt) Tight() bool {
	if !b.tight.Load() {
		return false
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	b.makeRoom() // there may be some by now
	return b.tight.Load()
}

// makeRoom makes room for half as much again as is to be kept, so that this is
// rare, or for just that. Where the file system cannot do that, what is used is
// all there is. The caller holds writing.
func (b *Bolt) makeRoom() {
	if b.room == 0 || b.broken != nil {
		return
	}
	var used int64
	err := b.db.View(func(tx *bolt.Tx) error {
		used = tx.Size()
		return nil
	})
	free := int64(b.db.Stats().FreePageN) * int64(b.db.Info().PageSize)
	if err != nil || used-free+b.room <= b.end {
		b.tight.Store(false)
		return
	}
	for _, n := range []int64{b.room + b.room/2, b.room} {
		if err = allocate(b.db.Path(), used-free+n); err == nil {
			b.end = used - free + n
			break
		}
	}
	if b.tight.Store(isFull(err)); err != nil && !isFull(err) {
		b.room = 0 // not to be asked again
	}
}

// allocate gives a file its first n bytes of disk, which may make it longer.
func allocate(path string, n int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, n)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// View runs fn in a read transaction.
func (b *Bolt) View(fn func(*bolt.Tx) error) (err error) {
	defer faults()()
	defer caught(b.db.Path(), &err)
	err = b.db.View(fn)
	b.lookMapped()
	return err
}

// ViewDurable is View, but returns only when what fn saw is on disk: a reader
// sees a transaction a moment before that, and for good if its flush fails.
func (b *Bolt) ViewDurable(fn func(*bolt.Tx) error) error {
	seen := 0
	err := b.View(func(tx *bolt.Tx) error {
		seen = tx.ID()
		return fn(tx)
	})
	if err != nil || int64(seen) <= b.durable.Load() {
		return err
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.settleDoubt()
}

// Update runs fn in the one write transaction. What it changed is durable
// when Update returns nil, and is not there otherwise.
func (b *Bolt) Update(fn func(*bolt.Tx) error) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	if err := b.settleDoubt(); err != nil {
		return err
	}
	id := 0
	err := b.update(func(tx *bolt.Tx) error {
		id = tx.ID()
		return fn(tx)
	})
	if b.doubt = err != nil; !b.doubt {
		b.durable.Store(int64(id))
		b.makeRoom()
	}
	if errors.Is(err, ErrDamaged) && errors.Is(err, errPanic) {
		b.broken = err // Bolt's lock may be held for ever
	}
	return err
}

func (b *Bolt) update(fn func(*bolt.Tx) error) (err error) {
	defer faults()()
	defer caught(b.db.Path(), &err)
	err = b.db.Update(fn)
	b.lookMapped()
	return err
}

// Close closes the file.
func (b *Bolt) Close() error {
	b.writing.Lock()
	broken := b.broken
	b.writing.Unlock()
	if broken != nil {
		return nil // waiting for the transaction would be in vain
	}
	return b.db.Close()
}

// settleDoubt sees to it that the last transaction is on disk if it can be
// seen. The caller holds writing.
func (b *Bolt) settleDoubt() error {
	if b.broken != nil || !b.doubt {
		return b.broken
	}
	if err := b.settle(); err != nil {
		return fmt.Errorf("%s: after a failure: %w", b.db.Path(), err)
	}
	b.doubt = false
	return nil
}

// settle makes the meta pages on disk those that are seen.
func (b *Bolt) settle() error {
	f, err := os.OpenFile(b.db.Path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	metas := make([]byte, 2*b.db.Info().PageSize)
	if err := readFull(f, metas, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(metas, 0); err != nil {
		return err
	}
	if err := (osFile{f}).Sync(); err != nil {
		return err
	}
	return b.db.View(func(tx *bolt.Tx) error {
		b.durable.Store(int64(tx.ID()))
		return nil
	})
}

// checkMetas says which of the two meta pages does not verify, which stands in
// bytes 16 to 71 of its page with their FNV-1a sum behind it.
func checkMetas(path string, pageSize int) (bad, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for n := range 2 {
		var b [80]byte
		if err := readFull(f, b[:], int64(n*pageSize)); err != nil {
			return nil, err
		}
		h := fnv.New64a()
		h.Write(b[16:72])
		if h.Sum64() != binary.NativeEndian.Uint64(b[72:]) {
			bad = fmt.Errorf("%s: %w: meta page %d: the last transaction may be lost", path, ErrDamaged, n)
		}
	}
	return bad, nil
}

// errPanic marks an error that was a panic.
var errPanic = errors.New("unexpected structure")

// caught makes a panic of Bolt over a damaged file an error. It is deferred.
func caught(path string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: %w: %w: %v", path, ErrDamaged, errPanic, r)
	}
}

// faults lets reads outside a mapped file panic rather than end the process,
// until the function it returns is called.
func faults() func() {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}
