package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestCleanStopsUnderWriters: programs that write through the FUSE bridge
// without a pause notice nothing of servers that are told to end and started
// again.
func TestCleanStopsUnderWriters(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	dir := d.mount(t, "v", "--fuse")
	writer := exec.Command("keepwriting", dir)
	writer.Stderr = new(bytes.Buffer)
	in, err := writer.StdinPipe()
	must(t, err)
	out, err := writer.StdoutPipe()
	must(t, err)
	must(t, writer.Start())
	progress := bufio.NewScanner(out)
	for range 10 {
		for _, job := range writing {
			for progress.Scan() && !strings.HasPrefix(progress.Text(), job.name) {
			}
		}
		if err := d.kill(syscall.SIGTERM); err != nil {
			t.Errorf("the server: %v\n%s", err, d.log)
		}
		d.start(t)
	}
	in.Close()
	io.Copy(io.Discard, out)
	if err := writer.Wait(); err != nil {
		t.Errorf("%v\n%s", err, writer.Stderr)
	}
}

// writing is what the program does all at once, each in a file or folder of
// its own, until more is false: it tells of its progress by that, and compares
// in the end.
var writing = []struct {
	name string
	do   func(path string, more func() bool) error
}{
	{"stream", writeStream},
	{"append", writeAppending},
	{"in place", writeInPlace},
	{"names", writeNames},
}

// keepWriting is the program. It ends when its input does, or with the first
// error.
func keepWriting() {
	over := make(chan struct{})
	go func() {
		defer close(over)
		io.Copy(io.Discard, os.Stdin)
	}()
	var all sync.WaitGroup
	for _, w := range writing {
		all.Go(func() {
			err := w.do(filepath.Join(os.Args[1], w.name), func() bool {
				fmt.Println(w.name)
				select {
				case <-over:
					return false
				default:
					return true
				}
			})
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", w.name, err)
				os.Exit(1)
			}
		})
	}
	all.Wait()
}

// record is the nth of a file of records.
func record(n int) []byte {
	return append(bytes.Repeat(fmt.Appendf(nil, "%08d ", n), 500+n%1000), '\n')
}

// compareRecords compares a file of n records.
func compareRecords(path string, n int) error {
	got, err := os.ReadFile(path)
	for i := range n {
		rest, ok := bytes.CutPrefix(got, record(i))
		if !ok {
			return fmt.Errorf("%s: record %d of %d is %.20q: %w", path, i, n, got, err)
		}
		got = rest
	}
	if len(got) > 0 {
		err = fmt.Errorf("%s: %d bytes more than were written", path, len(got))
	}
	return err
}

func writeStream(path string, more func() bool) error {
	f, err := os.Create(path)
	n := 0
	for ; err == nil && more(); n++ {
		_, err = f.Write(record(n))
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), compareRecords(path, n))
}

func writeAppending(path string, more func() bool) error {
	n := 0
	for more() {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		for i := 0; err == nil && i < 100; i++ {
			_, err = f.Write(record(n))
			n++
		}
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return compareRecords(path, n)
}

func writeInPlace(path string, more func() bool) error {
	want := make([]byte, 256<<10)
	f, err := os.Create(path)
	if err == nil {
		_, err = f.Write(want)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := 0; err == nil && more(); n++ {
		at := r.IntN(len(want) - 4096)
		copy(want[at:], record(n)[:4096])
		_, err = f.WriteAt(want[at:at+4096], int64(at))
		if n%50 == 49 && err == nil {
			err = f.Sync()
		}
	}
	if err != nil {
		return err
	}
	got, err := os.ReadFile(path)
	if !bytes.Equal(got, want) {
		err = errors.Join(err, fmt.Errorf("%s: other bytes", path))
	}
	return errors.Join(err, f.Close())
}

func writeNames(path string, more func() bool) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	for n := 0; more(); n++ {
		if err := writeName(path, dir, n); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
	}
	return nil
}

// writeName replaces a file as editors do, and makes and removes another.
func writeName(path string, dir *os.File, n int) error {
	file, next := filepath.Join(path, "file"), filepath.Join(path, fmt.Sprint("next", n))
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(record(n))
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(next, file), dir.Sync()); err != nil {
		return err
	}
	got, err := os.ReadFile(file)
	if err == nil && !bytes.Equal(got, record(n)) {
		err = fmt.Errorf("%s: other bytes", file)
	}
	aside := filepath.Join(path, "aside")
	return errors.Join(err, os.WriteFile(aside, got, 0o644), os.Truncate(aside, 5), os.Remove(aside),
		os.Mkdir(aside, 0o755), os.Symlink("file", filepath.Join(aside, "link")), os.RemoveAll(aside))
}
