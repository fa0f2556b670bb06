package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"bazil/p9srv/client"
)

// rewriter writes into a file that is there, and knows what it must have.
type rewriter struct {
	name   string
	r      *rand.Rand
	synced []byte // by an fsync that returned
	next   []byte // with the write that is under way
}

// run writes small pieces anywhere and syncs each, until the server is gone.
func (w *rewriter) run(f *client.Fid, synced func()) error {
	for {
		p := noise(w.r.Uint64(), 1+w.r.IntN(6000))
		off := w.r.IntN(len(w.synced) - len(p))
		w.next = slices.Clone(w.synced)
		copy(w.next[off:], p)
		if _, err := f.WriteAt(context.Background(), p, int64(off)); err != nil {
			return err
		}
		if err := f.Fsync(context.Background(), false); err != nil {
			return err
		}
		w.synced = w.next
		synced()
	}
}

// TestKilledServerKeepsRewrites kills the server again and again under writers
// that change large files in place: each has what was synced last, and at most
// the write after it.
func TestKilledServerKeepsRewrites(t *testing.T) {
	const kills, perLife = 4, 300
	d := newDevice(t)
	d.run(t, "volume", "create", "v")
	writers := make([]*rewriter, 4)
	for i := range writers {
		writers[i] = &rewriter{name: fmt.Sprint(i), r: rand.New(rand.NewPCG(uint64(i), 1)), synced: noise(uint64(i), 300_000+i*100_000)}
		must(t, put(d.attach(t, "v"), writers[i].name, writers[i].synced))
	}
	for range kills {
		root := d.attach(t, "v")
		var count atomic.Int64
		enough := make(chan struct{})
		var wg sync.WaitGroup
		for _, w := range writers {
			f, err := root.Walk(context.Background(), w.name)
			must(t, err)
			must(t, f.Open(context.Background(), syscall.O_RDWR))
			wg.Go(func() {
				err := w.run(f, func() {
					if count.Add(1) == perLife {
						close(enough)
					}
				})
				if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) {
					t.Error(err)
				}
			})
		}
		<-enough
		d.kill(syscall.SIGKILL)
		wg.Wait()
		d.start(t)
		root = d.attach(t, "v")
		for _, w := range writers {
			got, err := get(root, w.name, len(w.synced))
			if err != nil || !bytes.Equal(got, w.synced) && !bytes.Equal(got, w.next) {
				t.Fatalf("file %s has %d bytes, %v: neither what was synced nor the write after it", w.name, len(got), err)
			}
			w.synced = got
		}
	}
	must(t, d.kill(syscall.SIGTERM))
	if aside, _ := filepath.Glob(filepath.Join(d.dir, "volumes", "*.log.*")); len(aside) > 0 {
		t.Error("a log was put aside:", aside)
	}
	d.run(t, "store", "check")
}
