package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The reserve is a file of zeros as long as a segment. A collection on a full
// disk makes a segment of it and writes into the room that it has: so nothing
// else that wants room, here or in another program, can take that away, and
// the live chunks of any segment find a place. It exists once the store is
// large enough for it not to matter, or the disk becomes full, which something
// else may do to it.
const (
	reserveFile   = "reserve"
	reserveAfter  = 8                // segments there must be,
	reserveBelow  = 16               // or for so many there is no room any more
	reserveLookAt = 10 * time.Second // how often is looked at the disk
)

func (c *Chunks) reservePath() string { return filepath.Join(c.dir, reserveFile) }

// refillReserve makes the reserve if there is none, unless a collection lives
// on it.
func (c *Chunks) refillReserve() error {
	c.reserving.Lock()
	defer c.reserving.Unlock()
	if c.spent.Load() {
		return nil
	}
	_, err := c.makeReserve()
	return err
}

// wantReserve is refillReserve for who has nobody to tell.
func (c *Chunks) wantReserve() {
	if err := c.refillReserve(); err != nil {
		c.log.Error("cannot make the reserve", "err", err)
	}
}

// makeReserve makes the reserve, or goes on making it, if the store is large
// enough and the disk has the room. It says whether there is one, or need not
// be. The caller holds reserving.
func (c *Chunks) makeReserve() (there bool, err error) {
	if needed, err := c.needsReserve(); err != nil || !needed {
		return true, err
	}
	f, err := c.files.open(c.reservePath())
	if errors.Is(err, os.ErrNotExist) {
		f, err = c.files.create(c.reservePath())
	}
	if err == nil {
		there, err = c.fillReserve(f)
		err = errors.Join(err, f.Close())
	}
	if err == nil && there {
		return true, nil
	}
	remove := c.files.remove(c.reservePath())
	if isFull(err) || errors.Is(remove, os.ErrNotExist) {
		err, remove = nil, nil
	}
	if err = errors.Join(err, remove); err != nil {
		err = fmt.Errorf("reserve: %w", err)
	}
	return false, err
}

// needsReserve says whether there is to be a reserve.
func (c *Chunks) needsReserve() (bool, error) {
	c.mu.RLock()
	n := len(c.segments)
	c.mu.RUnlock()
	if n == 0 || n >= reserveAfter {
		return n > 0, nil
	}
	free, err := c.files.free(c.dir)
	return free < reserveBelow*c.segmentSize, err
}

// fillReserve writes zeros to the end of the reserve, unless the disk is too
// full for them.
func (c *Chunks) fillReserve(f file) (filled bool, err error) {
	size, err := f.Size()
	if err != nil || size >= c.segmentSize {
		return err == nil, err
	}
	if free, err := c.files.free(c.dir); err != nil || free < c.segmentSize-size {
		return false, err
	}
	zeros := make([]byte, min(c.segmentSize-size, 1<<20))
	for off := size; off < c.segmentSize; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), c.segmentSize-off)], off); err != nil {
			return false, err
		}
	}
	return true, f.Sync()
}

// spendReserve makes the reserve the active segment, if there is one. Until
// unspend nobody but the collection appends.
func (c *Chunks) spendReserve(ctx context.Context) error {
	if err := c.lockWriter(ctx); err != nil {
		return err
	}
	defer c.unlockWriter()
	c.reserving.Lock()
	defer c.reserving.Unlock()
	c.spent.Store(true)
	seg, err := reserveSegment(c.handles, c.reservePath(), c.dir, c.lastSeg.Add(1))
	if errors.Is(err, os.ErrNotExist) {
		return nil // the store is small, or the reserve is spent
	}
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	if c.active != nil {
		c.queueSeal(c.active, false)
	}
	c.active = seg
	c.addSegment(seg)
	return nil
}

// reserveSegment makes a segment of the reserve. Its header is on disk before
// it has the name: one with neither header nor record might be damage.
func reserveSegment(hs *handles, reserve, dir string, number uint32) (*segment, error) {
	f, err := hs.files.open(reserve)
	if err != nil {
		return nil, err
	}
	header := segmentHeader{number: number, created: time.Now()}.append(nil)
	if _, err = f.WriteAt(header, 0); err == nil {
		err = f.Sync()
	}
	path := filepath.Join(dir, segmentName(number))
	if err == nil {
		err = hs.files.rename(reserve, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return emptySegment(hs, path, f, number), nil
}

// unspend lets everybody write again if there is a reserve, or anyhow if the
// collection is over.
func (c *Chunks) unspend(over bool) error {
	c.reserving.Lock()
	defer c.reserving.Unlock()
	if !c.spent.Load() {
		return nil
	}
	there, err := c.makeReserve()
	if there || over {
		c.spent.Store(false)
		c.kickSeal()
	}
	return err
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
