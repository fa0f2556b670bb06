package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"bazil/cmd/internal/daemon"
)

// ingest copies a folder into a volume, again and again, and out of it.
type ingest struct {
	by      string // how the volume is reached
	source  string
	workers int
	profile string // folder for profiles; "": none

	files   []sourceFile
	dirs    []string
	bytes   int64
	data    string // the data directory
	started time.Time
	cpu     time.Duration

	profiling *os.File // the profile of the present step
}

type sourceFile struct {
	name string // below source
	size int64
	time time.Time
}

const bufferSize = 1 << 20

func (in *ingest) run(ctx context.Context, tmp string) error {
	if err := in.list(); err != nil {
		return err
	}
	fmt.Printf("%s: %d files, %d bytes, by %s\n", in.source, len(in.files), in.bytes, in.by)
	in.data = filepath.Join(tmp, "data")
	d, err := newServer(ctx, in.data)
	if err != nil {
		return err
	}
	if err := in.takeIn(ctx, d); err != nil {
		return errors.Join(err, d.Close())
	}
	if err := d.Close(); err != nil {
		return err
	}
	d = nil
	debug.FreeOSMemory() // the next server is to have what a new process has
	if d, err = startServer(ctx, in.data); err != nil {
		return err
	}
	return errors.Join(in.giveBack(ctx, d, filepath.Join(tmp, "out")), d.Close())
}

// list finds all files of the source.
func (in *ingest) list() error {
	return filepath.WalkDir(in.source, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(in.source, p)
		if err != nil || name == "." {
			return err
		}
		name = filepath.ToSlash(name)
		if e.IsDir() {
			in.dirs = append(in.dirs, name)
			return nil
		}
		fi, err := e.Info()
		if err == nil && fi.Mode().IsRegular() {
			in.files = append(in.files, sourceFile{name, fi.Size(), fi.ModTime()})
			in.bytes += fi.Size()
		}
		return err
	})
}

// takeIn measures all steps that write.
func (in *ingest) takeIn(ctx context.Context, d *daemon.Daemon) error {
	t, err := openTree(ctx, in.by, d, in.data)
	if err != nil {
		return err
	}
	defer t.close()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"first", func() error { return in.copyIn(ctx, t, "a", in.put) }},
		{"second", func() error { return in.copyIn(ctx, t, "a", in.update) }},
		{"again", func() error { return in.copyIn(ctx, t, "a", in.put) }},
		{"dup", func() error { return in.copyIn(ctx, t, "b", in.put) }},
		{"edit", func() error { return in.edit(ctx, t) }},
	} {
		if err := in.start(step.name); err != nil {
			return err
		}
		if err := errors.Join(step.do(), t.sync(ctx)); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if err := in.report(step.name); err != nil {
			return err
		}
	}
	return nil
}

// giveBack measures reading all that first took in.
func (in *ingest) giveBack(ctx context.Context, d *daemon.Daemon, out string) error {
	t, err := openTree(ctx, in.by, d, in.data)
	if err != nil {
		return err
	}
	defer t.close()
	if err := in.start("restore"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(out, "a"), 0o755); err != nil {
		return err
	}
	if err := in.makeDirs(ctx, t, "a", func(dir string) error { return os.Mkdir(filepath.Join(out, dir), 0o755) }); err != nil {
		return err
	}
	err = in.each(ctx, func(ctx context.Context, f sourceFile, buf []byte) error {
		name := path.Join("a", f.name)
		w, err := os.Create(filepath.Join(out, name))
		if err != nil {
			return err
		}
		return errors.Join(t.get(ctx, name, w, buf), w.Close(), os.Chtimes(w.Name(), f.time, f.time))
	})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := in.report("restore"); err != nil {
		return err
	}
	return in.compare(ctx, filepath.Join(out, "a"))
}

// makeDirs makes top and all directories of the source in it.
func (in *ingest) makeDirs(ctx context.Context, t tree, top string, also func(dir string) error) error {
	if err := t.mkdir(ctx, top); err != nil {
		return err
	}
	for _, d := range in.dirs {
		if err := errors.Join(t.mkdir(ctx, path.Join(top, d)), also(path.Join(top, d))); err != nil {
			return err
		}
	}
	return nil
}

// copyIn does something with each file of the source for the copy in top.
func (in *ingest) copyIn(ctx context.Context, t tree, top string, one func(context.Context, tree, string, sourceFile, []byte) error) error {
	if err := in.makeDirs(ctx, t, top, func(string) error { return nil }); err != nil {
		return err
	}
	return in.each(ctx, func(ctx context.Context, f sourceFile, buf []byte) error {
		return one(ctx, t, path.Join(top, f.name), f, buf)
	})
}

// each runs do for all files, some at once.
func (in *ingest) each(ctx context.Context, do func(context.Context, sourceFile, []byte) error) error {
	g, ctx := errgroup.WithContext(ctx)
	next := make(chan sourceFile)
	g.Go(func() error {
		defer close(next)
		for _, f := range in.files {
			select {
			case next <- f:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range in.workers {
		g.Go(func() error {
			buf := make([]byte, bufferSize)
			for f := range next {
				if err := do(ctx, f, buf); err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (in *ingest) put(ctx context.Context, t tree, name string, f sourceFile, buf []byte) error {
	r, err := os.Open(filepath.Join(in.source, f.name))
	if err != nil {
		return err
	}
	defer r.Close()
	return t.put(ctx, name, r, f.time, buf)
}

// update writes what looks changed.
func (in *ingest) update(ctx context.Context, t tree, name string, f sourceFile, buf []byte) error {
	size, mtime, err := t.stat(ctx, name)
	if err == nil && size == f.size && mtime.Equal(f.time) {
		return nil
	}
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return err
	}
	return in.put(ctx, t, name, f, buf)
}

// edit writes the largest file with 100 zeros inserted in its middle.
func (in *ingest) edit(ctx context.Context, t tree) error {
	big := in.files[0]
	for _, f := range in.files {
		if f.size > big.size {
			big = f
		}
	}
	r, err := os.Open(filepath.Join(in.source, big.name))
	if err != nil {
		return err
	}
	defer r.Close()
	edited := io.MultiReader(io.LimitReader(r, big.size/2), bytes.NewReader(make([]byte, 100)), r)
	return t.put(ctx, "edited", edited, big.time, make([]byte, bufferSize))
}

// compare holds what came out against the source.
func (in *ingest) compare(ctx context.Context, out string) error {
	return in.each(ctx, func(_ context.Context, f sourceFile, _ []byte) error {
		want, err := os.ReadFile(filepath.Join(in.source, f.name))
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(out, f.name))
		if err == nil && !bytes.Equal(got, want) {
			err = errors.New("came back as other bytes")
		}
		return err
	})
}

// start begins a step.
func (in *ingest) start(step string) error {
	if in.profile != "" {
		f, err := os.Create(filepath.Join(in.profile, step+".pprof"))
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			return err
		}
		in.profiling = f
	}
	in.started, in.cpu = time.Now(), cpuTime()
	return nil
}

// report prints what the step took since start.
func (in *ingest) report(step string) error {
	took, cpu := time.Since(in.started), cpuTime()-in.cpu
	if in.profile != "" {
		pprof.StopCPUProfile()
		if err := in.profiling.Close(); err != nil {
			return err
		}
	}
	fmt.Printf("%-8s %8.3f s %8.1f MB/s %8.2f CPU s ", step, took.Seconds(), float64(in.bytes)/1e6/took.Seconds(), cpu.Seconds())
	for _, part := range []string{".", "chunks", "chunks/reserve", "index", "volumes"} {
		size, err := sizeOf(filepath.Join(in.data, part))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		fmt.Printf(" %s %.1f", part, float64(size)/1e6)
	}
	fmt.Println(" MB")
	return nil
}

// cpuTime is the processor time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sizeOf is what all files below dir hold.
func sizeOf(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			n += fi.Size()
		}
		return err
	})
	return n, err
}
