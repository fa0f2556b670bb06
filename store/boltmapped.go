package store

import (
	"bytes"
	"os"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Bolt maps its file, and what a sweep over many records has read stays mapped:
// it counts as this process's memory, and the kernel takes it back later than
// what it merely caches. So when the process has maxMapped more of mapped files
// than it had, transactions let go of theirs. What is needed again comes back
// from the kernel's cache, 64 KiB at a time. Looking five times as often changed
// nothing where a directory of 100,000 names is pulled, which maps 120 MiB: that
// is within single transactions.
const (
	maxMapped = 32 << 20
	lookEvery = 50 * time.Millisecond
)

// mapped is what a Bolt knows of mapped memory.
type mapped struct {
	most int64 // bytes that may be added
	base int64 // bytes that there were when it let go last, or since
	at   time.Time
}

// lookMapped lets go of what is mapped if it is time for that and too much.
func (b *Bolt) lookMapped() {
	if !b.mapping.TryLock() {
		return
	}
	defer b.mapping.Unlock()
	if time.Since(b.mapped.at) < lookEvery {
		return
	}
	b.mapped.at = time.Now()
	n := mappedNow()
	b.mapped.base = min(b.mapped.base, n)
	if n-b.mapped.base > b.mapped.most {
		b.letGo()
		b.mapped.base = mappedNow()
	}
}

// letGo unmaps all pages; reading maps them again. Nothing is lost or changed by
// that, as Bolt writes to its file and not to what is mapped.
func (b *Bolt) letGo() error {
	return b.db.View(func(tx *bolt.Tx) error { // keeps the mapping in its place
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, b.db.Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// mappedNow is how many bytes of files the process has mapped and present; 0 if
// that is not known.
func mappedNow() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b) // size, resident, of these of files, ...: pages
	if len(fields) < 3 {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return 0
	}
	return n * int64(os.Getpagesize())
}
