package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The reserve is a file of zeros that is given up when the disk is full and a
// collection needs space to copy into. It is half a segment, so that one that
// is half dead can be emptied, and exists once the store is large enough for
// that not to matter.
const (
	reserveFile  = "reserve"
	reservePart  = 2 // of a segment
	reserveAfter = 8 // segments there must be
)

func (c *Chunks) reservePath() string { return filepath.Join(c.dir, reserveFile) }

// refillReserve makes the reserve if the store is large enough and there is
// none. That the disk is too full for it is no error.
func (c *Chunks) refillReserve() error {
	c.mu.RLock()
	n := len(c.segments)
	c.mu.RUnlock()
	if n < reserveAfter {
		return nil
	}
	f, err := c.files.create(c.reservePath())
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(writeZeros(f, c.segmentSize/reservePart), f.Close())
		if err != nil {
			err = errors.Join(err, c.files.remove(c.reservePath()))
		}
	}
	if err != nil && !isFull(err) {
		return fmt.Errorf("reserve: %w", err)
	}
	return nil
}

func writeZeros(f file, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for off := int64(0); off < n; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), n-off)], off); err != nil {
			return err
		}
	}
	return f.Sync()
}

// spendReserve frees the space of the reserve. Until unspend, nobody but the
// collection gets any of it.
func (c *Chunks) spendReserve() error {
	c.spent.Store(true)
	err := c.files.remove(c.reservePath())
	if errors.Is(err, os.ErrNotExist) {
		err = nil // a small store has none
	}
	return err
}

// unspend lets everybody write again: the collection has freed more than the
// reserve, or is over.
func (c *Chunks) unspend() {
	if c.spent.Swap(false) {
		c.kickSeal()
	}
}

// errReserved is what writers get while a collection lives on the reserve.
var errReserved = fmt.Errorf("the space left is for a collection under way: %w", unix.ENOSPC)

// checkSpent fails while a collection lives on the reserve.
func (c *Chunks) checkSpent() error {
	if c.spent.Load() {
		return errReserved
	}
	return nil
}

// The segments of a small disk are small: a full one is to have more than a
// few, and the reserve is to be there.
const (
	minSegmentSize  = 2 << 20
	segmentsPerDisk = 64
)

// segmentSizeOn is the size of segments in a directory if nobody asks for one.
func segmentSizeOn(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return defaultSegmentSize
	}
	disk := int64(st.Blocks) * st.Bsize
	return min(max(disk/segmentsPerDisk, minSegmentSize), defaultSegmentSize)
}
