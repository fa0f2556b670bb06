package vol

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// TestSmallFilesCount: the bytes of files that are so small that they become
// part of records count as a commit group's memory, once, whatever the order
// in which they are written; those of others do not.
func TestSmallFilesCount(t *testing.T) {
	const n = 50
	d := newDisk(t)
	v := d.open()
	counted := func() (group, cached int) {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.now.bytes, v.cache.bytes
	}
	for i := range n {
		writeFile(t, v.Root(), fmt.Sprint("small", i), string(randomBytes(uint64(i), inlineMax)))
	}
	group, cached := counted()
	if least := n * (plainName + inlineMax); group < least || group > least+4*plainName {
		t.Errorf("%d files take %d bytes of the group, want %d", n, group, least)
	}
	f := openFile(t, v, "small0", true)
	must[int](t)(f.WriteAt(ctx, randomBytes(99, inlineMax), 1))
	if now, _ := counted(); now > group-inlineMax/2 {
		t.Errorf("with one of them larger than a record may be, %d bytes, and %d before", now, group)
	}
	ok(t, f.Close())
	ok(t, v.Sync(ctx))
	if now, after := counted(); now != 0 || after > cached || after < cached-2*inlineMax {
		t.Errorf("when all is durable, %d bytes of the group and %d of the cache, which had %d", now, after, cached)
	}
	writeFile(t, v.Root(), "small1", "now it has few")
	if _, after := counted(); after > cached-2*inlineMax+plainName {
		t.Errorf("with another file smaller, %d bytes of the cache, which had %d", after, cached)
	}
}

// TestSyncWaitsForGroupInFlight: nothing has changed since a group was closed,
// and that is not on disk yet: who asks for a Sync then has to wait for it.
func TestSyncWaitsForGroupInFlight(t *testing.T) {
	v := testVolume(t)
	writeFile(t, v.Root(), "f", "x")
	held, free, synced := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		synced <- v.db.Update(func(*bbolt.Tx) error { // no group is written meanwhile
			close(held)
			<-free
			return nil
		})
	}()
	<-held
	v.committer.wake()
	inFlight := func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.commit != nil && v.now.empty()
	}
	for end := time.Now().Add(time.Minute); !inFlight(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no group is closed")
		}
	}
	gaveUp, cancel := context.WithCancel(ctx)
	cancel()
	if err := v.Sync(gaveUp); !errors.Is(err, context.Canceled) {
		t.Errorf("did not wait: %v", err)
	}
	close(free)
	ok(t, <-synced)
	ok(t, v.Sync(ctx))
}

// TestFailedGroupIsTakenBack: all that a group had which could not be made
// durable is part of the next one.
func TestFailedGroupIsTakenBack(t *testing.T) {
	v := testVolume(t)
	writeFile(t, v.Root(), "f", "x")
	v.mu.Lock()
	defer v.unlock()
	e := v.now.entries[0]
	v.now.wants = append(v.now.wants, want{})
	v.now.fetched = append(v.now.fetched, 7)
	v.now.turns = append(v.now.turns, turn{})
	g := v.freeze()
	news := len(g.news)
	v.finish(g, syscall.EIO)
	n := v.now
	if !slices.Contains(n.entries, e) || len(n.dirs) != len(g.dirs) || len(n.files) != len(g.files) || !n.spent {
		t.Errorf("%d names, %d directories, %d files, spent %v", len(n.entries), len(n.dirs), len(n.files), n.spent)
	}
	if e.named == g.gen || len(n.wants) != 1 || len(n.fetched) != 1 || len(n.turns) != 1 || news == 0 || len(n.news) != news {
		t.Errorf("named in %d, %d wants, %d fetched, %d turns, %d of %d news", e.named, len(n.wants), len(n.fetched), len(n.turns), len(n.news), news)
	}
	n.wants, n.fetched, n.turns = nil, nil, nil // they were made up
}
