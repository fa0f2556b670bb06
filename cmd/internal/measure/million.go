package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bazil/merge"
	"bazil/p9srv/client"
	"bazil/store/vol"
)

// million is a volume of many files.
type million struct {
	files  int
	server string
	data   string
}

const perDir = 10_000

func (m *million) run(ctx context.Context, tmp string) error {
	m.data = filepath.Join(tmp, "data")
	if err := m.build(ctx); err != nil {
		return err
	}
	size, err := sizeOf(m.data)
	if err != nil {
		return err
	}
	fmt.Printf("%d bytes in the data directory, %d a file\n", size, size/int64(m.files))
	if err := m.visit(ctx); err != nil {
		return err
	}
	return m.snapshots(ctx)
}

// build makes the files, empty ones but for every tenth.
func (m *million) build(ctx context.Context) error {
	d, err := newServer(ctx, m.data)
	if err != nil {
		return err
	}
	v, _, ok := d.Volume(volumeName)
	if !ok {
		return errors.Join(errors.New("volume could not be opened"), d.Close())
	}
	start := time.Now()
	for i := range m.files / perDir {
		if err := fillDir(ctx, v, i); err != nil {
			return errors.Join(err, d.Close())
		}
	}
	err = v.Sync(ctx)
	took := time.Since(start)
	fmt.Printf("%d files made durable in %.1f s, %.0f/s\n", m.files, took.Seconds(), float64(m.files)/took.Seconds())
	return errors.Join(err, d.Close())
}

func dirName(i int) string { return fmt.Sprintf("dir%04d", i) }

func fillDir(ctx context.Context, v *vol.Volume, i int) error {
	dir, err := v.Root().Create(ctx, dirName(i), vol.New{Kind: merge.KindDir, Mode: 0o755})
	if err != nil {
		return err
	}
	for j := range perDir {
		n, err := dir.Create(ctx, fmt.Sprintf("some-file-%05d.txt", j), vol.New{Kind: merge.KindFile, Mode: 0o644})
		if err == nil && j%10 == 0 {
			err = writeTo(ctx, n, fmt.Sprintf("this is file %d of directory %d\n", j, i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeTo(ctx context.Context, n *vol.Node, text string) error {
	h, err := n.Open(ctx, true)
	if err != nil {
		return err
	}
	_, err = h.WriteAt(ctx, []byte(text), 0)
	return errors.Join(err, h.Close())
}

// visit starts the server program and looks at the volume through it.
func (m *million) visit(ctx context.Context) error {
	cmd := exec.Command(m.server, "-data-dir="+m.data, "server", "run", "-addr=127.0.0.1:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	out.Read(make([]byte, 1)) // says that it listens
	go io.Copy(io.Discard, out)
	err = m.look(ctx, start, cmd.Process.Pid)
	return errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
}

func (m *million) look(ctx context.Context, start time.Time, pid int) error {
	c, root, err := attach(ctx, m.data, volumeName)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := root.Walk(ctx, dirName(0), "some-file-00007.txt"); err != nil {
		return err
	}
	report := func(what string, start time.Time) {
		fmt.Printf("%-40s %9.1f ms, server has %s\n", what, float64(time.Since(start).Microseconds())/1e3, memory(pid))
	}
	report("started, and a file looked up", start)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"ls of 10,000 names", func() error { _, err := readDir(ctx, root, dirName(m.files/perDir/2)); return err }},
		{"ls again", func() error { _, err := readDir(ctx, root, dirName(m.files/perDir/2)); return err }},
		{"ls -l of 10,000 names", func() error { return longList(ctx, root, dirName(m.files/perDir-1)) }},
		{"1,000 files looked up all over", func() error { return m.scattered(ctx, root, 1000) }},
		{"walk and stat of everything", func() error { return m.walk(ctx, root) }},
		{"change of a file, durable", func() error { return changeOne(ctx, root) }},
	} {
		start := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		report(step.what, start)
	}
	return nil
}

// snapshots makes two, with one file changed between them, in this process.
func (m *million) snapshots(ctx context.Context) error {
	d, err := startServer(ctx, m.data)
	if err != nil {
		return err
	}
	v, _, _ := d.Volume(volumeName)
	for i, what := range []string{"first snapshot", "snapshot after one change"} {
		if err := changeInside(ctx, v, fmt.Sprint("change ", i)); err != nil {
			return errors.Join(err, d.Close())
		}
		start := time.Now()
		if _, err := v.Snapshot(ctx, fmt.Sprint("s", i)); err != nil {
			return errors.Join(err, d.Close())
		}
		fmt.Printf("%-40s %9.1f ms\n", what, float64(time.Since(start).Microseconds())/1e3)
	}
	return d.Close()
}

func changeInside(ctx context.Context, v *vol.Volume, text string) error {
	dir, err := v.Root().Lookup(ctx, dirName(0))
	if err != nil {
		return err
	}
	n, err := dir.Lookup(ctx, "some-file-00005.txt")
	if err != nil {
		return err
	}
	return errors.Join(writeTo(ctx, n, text), v.Sync(ctx))
}

// memory is what a process has now and had at most.
func memory(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	var all []string
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmHWM", "VmRSS", "RssAnon", "RssFile":
			all = append(all, name+" "+strings.TrimSpace(value))
		}
	}
	return strings.Join(all, ", ")
}

func readDir(ctx context.Context, root *client.Fid, name string) (names []string, err error) {
	f, err := root.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Clunk(ctx)
	if err := f.Open(ctx, syscall.O_RDONLY|syscall.O_DIRECTORY); err != nil {
		return nil, err
	}
	for off := uint64(0); ; {
		es, err := f.ReadDir(ctx, off, 64<<10)
		if err != nil || len(es) == 0 {
			return names, err
		}
		for _, e := range es {
			off = e.Offset
			if e.Name != "." && e.Name != ".." {
				names = append(names, e.Name)
			}
		}
	}
}

func longList(ctx context.Context, root *client.Fid, name string) error {
	names, err := readDir(ctx, root, name)
	if err != nil {
		return err
	}
	if len(names) != perDir {
		return fmt.Errorf("%s: %d names", name, len(names))
	}
	dir, err := root.Walk(ctx, name)
	if err != nil {
		return err
	}
	defer dir.Clunk(ctx)
	for _, n := range names {
		if err := statOne(ctx, dir, n); err != nil {
			return err
		}
	}
	return nil
}

func statOne(ctx context.Context, dir *client.Fid, path ...string) error {
	f, err := dir.Walk(ctx, path...)
	if err != nil {
		return err
	}
	defer f.Clunk(ctx)
	_, err = f.Attr(ctx)
	return err
}

func (m *million) scattered(ctx context.Context, root *client.Fid, n int) error {
	r := rand.New(rand.NewPCG(1, 1))
	for range n {
		if err := statOne(ctx, root, dirName(r.IntN(m.files/perDir)), fmt.Sprintf("some-file-%05d.txt", r.IntN(perDir))); err != nil {
			return err
		}
	}
	return nil
}

func (m *million) walk(ctx context.Context, root *client.Fid) error {
	for i := range m.files / perDir {
		if err := longList(ctx, root, dirName(i)); err != nil {
			return err
		}
	}
	return nil
}

func changeOne(ctx context.Context, root *client.Fid) error {
	f, err := root.Walk(ctx, dirName(0), "some-file-00003.txt")
	if err != nil {
		return err
	}
	defer f.Clunk(ctx)
	if err := f.Open(ctx, syscall.O_WRONLY); err != nil {
		return err
	}
	if _, err := f.WriteAt(ctx, []byte("changed"), 0); err != nil {
		return err
	}
	return f.Fsync(ctx, false)
}
