package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The reserve is a file of zeros that is given up when the disk is full and a
// collection needs space to copy into. It is a quarter of a segment and exists
// once the store is large enough for that not to matter.
const (
	reserveFile  = "reserve"
	reservePart  = 4 // of a segment
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

// spendReserve frees the space of the reserve.
func (c *Chunks) spendReserve() error { return c.files.remove(c.reservePath()) }
