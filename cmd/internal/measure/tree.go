package main

import (
	"context"
	"errors"
	"io"
	"path"
	"sync"
	"syscall"
	"time"

	"bazil/cmd/internal/daemon"
	"bazil/merge"
	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/store/vol"
)

// tree is a volume, however it is reached. Paths are slash-separated, and a
// directory is made or looked up before what is in it.
type tree interface {
	mkdir(ctx context.Context, name string) error
	// put writes a file anew.
	put(ctx context.Context, name string, r io.Reader, mtime time.Time, buf []byte) error
	// stat returns size and time, ENOENT if there is no such file.
	stat(ctx context.Context, name string) (int64, time.Time, error)
	get(ctx context.Context, name string, w io.Writer, buf []byte) error
	sync(ctx context.Context) error
	close() error
}

// openTree reaches the volume of a server that runs in this process.
func openTree(ctx context.Context, by string, d *daemon.Daemon, dir string) (tree, error) {
	if by == "proc" {
		v, _, ok := d.Volume(volumeName)
		if !ok {
			return nil, errors.New("volume could not be opened")
		}
		t := &procTree{v: v}
		t.dirs.Store(".", v.Root())
		return t, nil
	}
	c, root, err := attach(ctx, dir, volumeName)
	if err != nil {
		return nil, err
	}
	t := &wireTree{c: c, root: root}
	t.dirs.Store(".", root)
	return t, nil
}

// writer is where a file's bytes go to.
type writer interface {
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
}

// reader is where they come from.
type reader interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// pour copies all of r to w.
func pour(ctx context.Context, w writer, r io.Reader, buf []byte) error {
	for off := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if _, err := w.WriteAt(ctx, buf[:n], off); err != nil {
				return err
			}
			off += int64(n)
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}

// drain copies all of r to w.
func drain(ctx context.Context, w io.Writer, r reader, buf []byte) error {
	for off := int64(0); ; {
		n, err := r.ReadAt(ctx, buf, off)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		off += int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n < len(buf) {
			return nil
		}
	}
}

// procTree uses package vol.
type procTree struct {
	v    *vol.Volume
	dirs sync.Map // path to *vol.Node
}

func (t *procTree) dir(name string) *vol.Node {
	n, _ := t.dirs.Load(path.Dir(name))
	return n.(*vol.Node)
}

func (t *procTree) mkdir(ctx context.Context, name string) error {
	d, base := t.dir(name), path.Base(name)
	n, err := d.Create(ctx, base, vol.New{Kind: merge.KindDir, Mode: 0o755})
	if errors.Is(err, syscall.EEXIST) {
		n, err = d.Lookup(ctx, base)
	}
	t.dirs.Store(name, n)
	return err
}

func (t *procTree) put(ctx context.Context, name string, r io.Reader, mtime time.Time, buf []byte) error {
	d, base := t.dir(name), path.Base(name)
	n, err := d.Create(ctx, base, vol.New{Kind: merge.KindFile, Mode: 0o644})
	there := errors.Is(err, syscall.EEXIST)
	if there {
		n, err = d.Lookup(ctx, base)
	}
	if err != nil {
		return err
	}
	h, err := n.Open(ctx, true)
	if err != nil {
		return err
	}
	if there {
		err = h.Truncate(ctx, 0)
	}
	if err == nil {
		err = pour(ctx, h, r, buf)
	}
	ns := mtime.UnixNano()
	return errors.Join(err, h.Close(), n.SetAttr(ctx, vol.SetAttr{MTime: &ns}))
}

func (t *procTree) stat(ctx context.Context, name string) (int64, time.Time, error) {
	n, err := t.dir(name).Lookup(ctx, path.Base(name))
	if err != nil {
		return 0, time.Time{}, err
	}
	a, err := n.Attr()
	return a.Size, time.Unix(0, a.MTime), err
}

func (t *procTree) get(ctx context.Context, name string, w io.Writer, buf []byte) error {
	n, err := t.dir(name).Lookup(ctx, path.Base(name))
	if err != nil {
		return err
	}
	h, err := n.Open(ctx, false)
	if err != nil {
		return err
	}
	return errors.Join(drain(ctx, w, h, buf), h.Close())
}

func (t *procTree) sync(ctx context.Context) error { return t.v.Sync(ctx) }
func (t *procTree) close() error                   { return nil }

// wireTree uses the 9P client.
type wireTree struct {
	c    *client.Conn
	root *client.Fid
	dirs sync.Map // path to *client.Fid
}

func (t *wireTree) dir(name string) *client.Fid {
	f, _ := t.dirs.Load(path.Dir(name))
	return f.(*client.Fid)
}

func (t *wireTree) mkdir(ctx context.Context, name string) error {
	d, base := t.dir(name), path.Base(name)
	if _, err := d.Mkdir(ctx, base, 0o755, 0); err != nil && !errors.Is(err, syscall.EEXIST) {
		return err
	}
	f, err := d.Walk(ctx, base)
	t.dirs.Store(name, f)
	return err
}

func (t *wireTree) put(ctx context.Context, name string, r io.Reader, mtime time.Time, buf []byte) error {
	f, err := t.dir(name).Walk(ctx)
	if err != nil {
		return err
	}
	defer f.Clunk(ctx)
	if err := f.Create(ctx, path.Base(name), syscall.O_WRONLY|syscall.O_TRUNC, 0o644, 0); err != nil {
		return err
	}
	if err := pour(ctx, f, r, buf); err != nil {
		return err
	}
	return f.SetAttr(ctx, p9srv.SetAttr{Valid: p9srv.SetMTime | p9srv.SetMTimeValue, MTime: mtime.UnixNano()})
}

func (t *wireTree) stat(ctx context.Context, name string) (int64, time.Time, error) {
	f, err := t.dir(name).Walk(ctx, path.Base(name))
	if err != nil {
		return 0, time.Time{}, err
	}
	defer f.Clunk(ctx)
	a, err := f.Attr(ctx)
	return int64(a.Size), time.Unix(0, a.MTime), err
}

func (t *wireTree) get(ctx context.Context, name string, w io.Writer, buf []byte) error {
	f, err := t.dir(name).Walk(ctx, path.Base(name))
	if err != nil {
		return err
	}
	defer f.Clunk(ctx)
	if err := f.Open(ctx, syscall.O_RDONLY); err != nil {
		return err
	}
	return drain(ctx, w, f, buf)
}

func (t *wireTree) sync(ctx context.Context) error {
	f, err := t.root.Walk(ctx)
	if err != nil {
		return err
	}
	defer f.Clunk(ctx)
	if err := f.Open(ctx, syscall.O_RDONLY); err != nil {
		return err
	}
	return f.Fsync(ctx, false)
}

func (t *wireTree) close() error { return t.c.Close() }
