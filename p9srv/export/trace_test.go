package export

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/p9srv/p9test"
)

// TestTraces plays the conversations of p9srv on a volume, and those about what
// only a volume has.
func TestTraces(t *testing.T) {
	for _, dir := range []string{"../testdata", "testdata"} {
		p9test.PlayAll(t, dir, func(t *testing.T) (string, p9test.Folder) {
			sock := serve(t, newManager(t), "own", "volume=files")
			root, err := attach(t, sock, "", 0)
			must(t, err)
			return sock, folder{t.Context(), root}
		})
	}
}

// folder is a volume as a 9P client has it.
type folder struct {
	ctx  context.Context
	root *client.Fid
}

// Has says what there is not: hard links, and streams.
func (f folder) Has(ability string) bool { return ability != "links" && ability != "streams" }

// dir walks to the directory that a path is in.
func (f folder) dir(path string) (*client.Fid, string, error) {
	names := strings.Split(path, "/")
	last := len(names) - 1
	d, err := f.root.Walk(f.ctx, names[:last]...)
	return d, names[last], err
}

func (f folder) Mkdir(path string, mode fs.FileMode) error {
	d, name, err := f.dir(path)
	if err != nil {
		return err
	}
	defer d.Clunk(f.ctx)
	_, err = d.Mkdir(f.ctx, name, uint32(mode), 0)
	return err
}

func (f folder) WriteFile(path, text string, mode fs.FileMode) error {
	fid, name, err := f.dir(path)
	if err != nil {
		return err
	}
	defer fid.Clunk(f.ctx)
	if err := fid.Create(f.ctx, name, syscall.O_RDWR, 0o600, 0); err != nil {
		return err
	}
	if _, err := fid.WriteAt(f.ctx, []byte(text), 0); err != nil {
		return err
	}
	return fid.SetAttr(f.ctx, p9srv.SetAttr{Valid: p9srv.SetMode, Mode: uint32(mode)})
}

func (f folder) Symlink(target, path string) error {
	d, name, err := f.dir(path)
	if err != nil {
		return err
	}
	defer d.Clunk(f.ctx)
	_, err = d.Symlink(f.ctx, name, target, 0)
	return err
}

func (f folder) ReadFile(name string) (string, error) {
	fid, err := f.root.Walk(f.ctx, strings.Split(name, "/")...)
	if errors.Is(err, syscall.ENOENT) {
		return "", fs.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	defer fid.Clunk(f.ctx)
	if err := fid.Open(f.ctx, syscall.O_RDONLY); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(fidReader{f.ctx, fid}, 0, math.MaxInt64))
	return string(b), err
}

// fidReader is an open fid as io wants it.
type fidReader struct {
	ctx context.Context
	*client.Fid
}

func (r fidReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.Fid.ReadAt(r.ctx, p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}
