package main

import (
	"bytes"
	"fmt"
	"sync"
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
