package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestKilledServerKeepsWhatWasSynced kills the server in the middle of
// writing a thousand files, each of which is synced.
func TestKilledServerKeepsWhatWasSynced(t *testing.T) {
	const files, writers, killAt = 1000, 8, 400
	d := newDevice(t)
	d.run(t, "volume", "create", "v")
	content := func(i int) []byte { return append(noise(uint64(i), 1+i*37%20000), fmt.Sprint(i)...) }

	dir := d.attach(t, "v")
	next, synced := make(chan int), make(chan int, files)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range next {
				if put(dir, fmt.Sprint(i), content(i)) == nil {
					synced <- i
				}
			}
		})
	}
	for i := range files {
		next <- i
		if i == killAt {
			d.kill(syscall.SIGKILL)
		}
	}
	close(next)
	wg.Wait()
	close(synced)

	d.start(t)
	dir = d.attach(t, "v")
	count := 0
	for i := range synced {
		count++
		want := content(i)
		if got, err := get(dir, fmt.Sprint(i), len(want)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("file %d was synced; now it has %d bytes of %d, %v", i, len(got), len(want), err)
		}
	}
	if count < killAt-writers || count == files {
		t.Errorf("%d files were synced: the server was not killed in the middle", count)
	}
	must(t, put(dir, "after", []byte("still works")))
	must(t, d.kill(syscall.SIGTERM))
}

// TestKilledServerUnderMount kills the server again and again under programs
// that use a mounted volume: they write a file, fsync it, and rename it over
// the one before. What fsync said is durable is there, and a name has one of
// its contents, whole.
func TestKilledServerUnderMount(t *testing.T) {
	const kills, writers, perLife = 5, 4, 40
	d := newDevice(t)
	dir := d.mount(t, "v", "-fuse")
	var synced [writers]atomic.Int64
	content := func(w, i int) []byte { return append(noise(uint64(w*1000+i), 1+i*977%90000), fmt.Sprint(i)...) }
	for range kills {
		var wg sync.WaitGroup
		var count atomic.Int64
		enough := make(chan struct{})
		stop := make(chan struct{})
		for w := range writers {
			wg.Go(func() {
				for i := int(synced[w].Load()) + 1; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if replaceFile(filepath.Join(dir, fmt.Sprint(w)), content(w, i)) != nil {
						return
					}
					synced[w].Store(int64(i))
					if count.Add(1) == perLife {
						close(enough)
					}
				}
			})
		}
		<-enough
		d.kill(syscall.SIGKILL)
		close(stop)
		d.start(t)
		wg.Wait()
		root := d.attach(t, "v")
		for w := range writers {
			i := int(synced[w].Load())
			want, next := content(w, i), content(w, i+1)
			got, err := get(root, fmt.Sprint(w), len(want)+len(next))
			if err != nil || !bytes.Equal(got, want) && !bytes.Equal(got, next) {
				t.Fatalf("file %d: %d bytes, %v: not what was synced as number %d (%d bytes), nor what came next (%d bytes)", w, len(got), err, i, len(want), len(next))
			}
			if bytes.Equal(got, next) {
				synced[w].Store(int64(i + 1))
			}
		}
	}
}

// replaceFile gives a file a new content as careful programs do.
func replaceFile(path string, content []byte) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
