package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const fullSegment = 64 << 10

// fullStore returns a store on a disk that is full to the last byte, with its
// reserve, and what it has: most of its segments are sealed.
func fullStore(t *testing.T) (*Chunks, faultFiles, []chunk) {
	fs := newFaultFiles()
	c := simChunks(t, fs, fullSegment)
	all := putMany(t, c, 13*(fullSegment/1064)-4, 1000)
	c.sealAll()
	if err := c.refillReserve(); err != nil || fs.Files[c.reservePath()] == nil {
		t.Fatalf("no reserve: %v", err)
	}
	fs.fill()
	return c, fs, all
}

// TestCollectSmallStore: something else fills the disk on which a store of a few
// segments is, none of which is dead as a whole. Its reserve was made before, and
// was not there while the disk had room.
func TestCollectSmallStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newFaultFiles()
		fs.Room = 100 * fullSegment
		c, err := openChunks(fs, "d", Options{SegmentSize: fullSegment})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.close(); err != nil {
				t.Error(err)
			}
		}()
		all := putMany(t, c, 3*(fullSegment/1064)-4, 1000)
		look := func() bool {
			time.Sleep(reserveLookAt) // of the bubble's clock
			synctest.Wait()
			fs.Mu.Lock()
			defer fs.Mu.Unlock()
			return fs.Files[c.reservePath()] != nil
		}
		if look() {
			t.Error("there is a reserve on an empty disk")
		}
		fs.Mu.Lock()
		fs.Room = fs.Used() + reserveBelow*fullSegment - 1
		fs.Mu.Unlock()
		if !look() {
			t.Fatal("there is none though the disk becomes full")
		}
		fs.fill()
		live := some(all, 1, 2)
		if _, err := c.Collect(context.Background(), markAll(live), CollectOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, ch := range live {
			mustGet(t, c, ch)
		}
		if s := c.Stats(); s.Chunks != int64(len(live)) {
			t.Errorf("%d chunks are left of %d", s.Chunks, len(live))
		}
	})
}

// fill leaves no room on the disk.
func (fs faultFiles) fill() {
	fs.Mu.Lock()
	fs.Room = fs.Used()
	fs.Mu.Unlock()
}

// some returns num of every den chunks.
func some(all []chunk, num, den int) (live []chunk) {
	for i, ch := range all {
		if i%den < num {
			live = append(live, ch)
		}
	}
	return live
}

// TestCollectOnFullDisk: a collection can run when there is no byte left,
// whatever part of the segments is alive, and whoever wants room meanwhile.
func TestCollectOnFullDisk(t *testing.T) {
	for _, part := range [][2]int{{1, 7}, {1, 2}, {11, 16}} {
		t.Run(fmt.Sprint(part[0], " of ", part[1], " alive"), func(t *testing.T) {
			c, fs, all := fullStore(t)
			extra := newChunk(99999, 1000)
			if _, err := c.Put(context.Background(), extra.id, extra.sealed); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("put: %v", err)
			}
			live := some(all, part[0], part[1])
			for _, err := range collectBeside(t, c, live) {
				t.Error(err)
			}
			fs.Mu.Lock()
			if r := fs.Files[c.reservePath()]; r == nil || len(r.Seen) != fullSegment {
				t.Error("there is no reserve for the next one")
			}
			fs.Mu.Unlock()
			for _, ch := range live {
				mustGet(t, c, ch)
			}
			for _, ch := range all {
				if !slices.ContainsFunc(live, func(l chunk) bool { return l.id == ch.id }) && c.Has(ch.id) {
					t.Fatal("a dead chunk is left")
				}
			}
		})
	}
}

// TestCollectOnCopyingDisk: where a write over old bytes takes new room, as in
// a file system that never overwrites, the reserve is room nevertheless.
func TestCollectOnCopyingDisk(t *testing.T) {
	c, fs, all := fullStore(t)
	refused := 0
	fs.Mu.Lock()
	fs.Fail = func(call, path string) error {
		spent := path == c.reservePath() && fs.Files[path] == nil // it has the name of a segment now
		if call == "write" && spent && fs.Used() >= fs.Room {
			refused++
			return &os.PathError{Op: call, Path: path, Err: syscall.ENOSPC}
		}
		return nil
	}
	fs.Mu.Unlock()
	live := some(all, 1, 2)
	if _, err := c.Collect(context.Background(), markAll(live), CollectOptions{}); err != nil || refused == 0 {
		t.Fatalf("%v, with %d writes refused", err, refused)
	}
	for _, ch := range live {
		mustGet(t, c, ch)
	}
}

// collectBeside collects while others write as much as they can and segments
// are sealed.
func collectBeside(t *testing.T, c *Chunks, live []chunk) (errs []error) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			c.kickSeal()
		}
	})
	wg.Go(func() {
		for n := uint64(1 << 20); ctx.Err() == nil; n++ {
			ch := newChunk(n, 1000)
			if _, err := c.Put(ctx, ch.id, ch.sealed); err != nil && ctx.Err() == nil && !errors.Is(err, syscall.ENOSPC) {
				t.Error(err)
			}
		}
	})
	if _, err := c.Collect(ctx, markAll(live), CollectOptions{}); err != nil {
		errs = append(errs, err)
	}
	stop()
	wg.Wait()
	return errs
}

// TestReserveOutlastsCrash: the reserve that was made is whole after a crash,
// and the segment that becomes of it has a header whenever it has its name: a
// large one with neither header nor record would be set aside as damaged.
func TestReserveOutlastsCrash(t *testing.T) {
	const segment = 2 * MaxSealed
	fs := newFaultFiles()
	fs.Room = (reserveBelow - 1) * segment
	c, err := openSim(fs) // nothing is flushed but what asks for it
	if err != nil {
		t.Fatal(err)
	}
	defer halt(c)
	c.segmentSize = segment
	all := putMany(t, c, 3, 1000)
	if err := c.refillReserve(); err != nil {
		t.Fatal(err)
	}
	if err := fs.SyncDir(c.dir); err != nil { // the name may come later, the room may not
		t.Fatal(err)
	}
	crashes := func(try func(left faultFiles)) {
		fs.Mu.Lock()
		defer fs.Mu.Unlock()
		for seed := range uint64(20) {
			try(faultFiles{fs.Crash(rand.New(rand.NewPCG(seed, 2)))})
		}
	}
	crashes(func(left faultFiles) {
		if n := left.Files[c.reservePath()]; n == nil || len(n.Seen) != segment {
			t.Error("the reserve is not whole after a crash")
		}
	})
	if err := c.spendReserve(t.Context()); err != nil {
		t.Fatal(err)
	}
	crashes(func(left faultFiles) {
		again := simChunks(t, left, segment)
		mustGet(t, again, all[0])
		for name := range left.Files {
			if strings.HasSuffix(name, ".damaged") {
				t.Errorf("a crash leaves %s", name)
			}
		}
	})
	if err := c.unspend(true); err != nil {
		t.Error(err)
	}
}
