package replica

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bazil/merge"
	"bazil/store"
	"bazil/store/vol"
)

var (
	ctx        = context.Background()
	volumeID   = vol.ID{1, 2, 3}
	sharingKey = store.SharingKey{4, 5, 6}
)

// device has a data directory with a volume in it.
type device struct {
	tb testing.TB
	*Replica
	v    *vol.Volume
	path string
}

func newDevice(tb testing.TB) *device {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "data")
	check(tb, store.Create(dir))
	s, err := store.Open(dir, store.Options{})
	check(tb, err)
	tb.Cleanup(func() { s.Close() })
	d := &device{tb: tb, path: filepath.Join(tb.TempDir(), "volume"), Replica: &Replica{Chunks: s.Chunks()}}
	check(tb, vol.Create(d.path, volumeID, d.options()))
	d.open()
	return d
}

func newDevices(tb testing.TB, n int) []*device {
	ds := make([]*device, n)
	for i := range ds {
		ds[i] = newDevice(tb)
	}
	return ds
}

func (d *device) options() vol.Options {
	return vol.Options{Chunks: d.Chunks, Sealer: store.NewSealer(sharingKey), CommitInterval: time.Hour}
}

func (d *device) open() {
	d.tb.Helper()
	v, err := vol.Open(d.path, d.options())
	check(d.tb, err)
	d.v, d.Volume = v, v
	d.tb.Cleanup(func() { v.Close() })
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// at is the node of a slash-separated path, nil if there is none.
func (d *device) at(path string) *vol.Node {
	d.tb.Helper()
	n := d.v.Root()
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		sub, err := n.Lookup(ctx, name)
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
			return nil
		}
		check(d.tb, err)
		n = sub
	}
	return n
}

func (d *device) split(path string) (*vol.Node, string) {
	d.tb.Helper()
	dir, name := filepath.Split(path)
	return d.at(dir), name
}

func (d *device) mkdir(path string) {
	d.tb.Helper()
	dir, name := d.split(path)
	_, err := dir.Create(ctx, name, vol.New{Kind: merge.KindDir, Mode: 0o755})
	check(d.tb, err)
}

func (d *device) write(path, data string) {
	d.tb.Helper()
	dir, name := d.split(path)
	n := d.at(path)
	if n == nil {
		var err error
		n, err = dir.Create(ctx, name, vol.New{Kind: merge.KindFile, Mode: 0o644})
		check(d.tb, err)
	}
	h, err := n.Open(ctx, true)
	check(d.tb, err)
	check(d.tb, h.Truncate(ctx, 0))
	_, err = h.WriteAt(ctx, []byte(data), 0)
	check(d.tb, err)
	check(d.tb, h.Close())
}

func (d *device) remove(path string) {
	d.tb.Helper()
	dir, name := d.split(path)
	if d.at(path).Kind() == merge.KindDir {
		check(d.tb, dir.Rmdir(ctx, name))
	} else {
		check(d.tb, dir.Unlink(ctx, name))
	}
}

func (d *device) rename(from, to string) {
	d.tb.Helper()
	fromDir, fromName := d.split(from)
	toDir, toName := d.split(to)
	check(d.tb, fromDir.Rename(ctx, fromName, toDir, toName))
}

func (d *device) read(path string) string {
	d.tb.Helper()
	n := d.at(path)
	if n == nil {
		d.tb.Fatalf("no %s", path)
	}
	h, err := n.Open(ctx, false)
	check(d.tb, err)
	defer h.Close()
	a, err := n.Attr()
	check(d.tb, err)
	b := make([]byte, a.Size)
	_, err = h.ReadAt(ctx, b, 0)
	check(d.tb, err)
	return string(b)
}

// tree lists all paths, directories with a slash, one a line.
func (d *device) tree() string {
	d.tb.Helper()
	var out strings.Builder
	d.list(&out, d.v.Root(), "")
	return out.String()
}

func (d *device) list(out *strings.Builder, n *vol.Node, at string) {
	d.tb.Helper()
	es, err := n.List(ctx)
	check(d.tb, err)
	for _, e := range es {
		out.WriteString(at + e.Name)
		if e.Kind != merge.KindDir {
			out.WriteString("\n")
			continue
		}
		out.WriteString("/\n")
		sub, err := n.Lookup(ctx, e.Name)
		check(d.tb, err)
		d.list(out, sub, at+e.Name+"/")
	}
}

func (d *device) wantTree(want string) {
	d.tb.Helper()
	want = strings.Join(append(strings.Fields(want), ""), "\n")
	if got := d.tree(); got != want {
		d.tb.Fatalf("tree is\n%swant\n%s", got, want)
	}
}

func (d *device) conflicts() []vol.Conflict {
	d.tb.Helper()
	cs, err := d.v.Conflicts(ctx)
	check(d.tb, err)
	return cs
}

// pull pulls the whole volume.
func (d *device) pull(from *device) Result {
	d.tb.Helper()
	r, err := d.Pull(ctx, from.source(), Options{})
	check(d.tb, err)
	if !r.Complete {
		d.tb.Fatal("not complete")
	}
	return r
}

// gossip lets each device pull from the one before, twice.
func gossip(ds []*device) {
	for range 2 {
		for i, d := range ds {
			ds[(i+1)%len(ds)].pull(d)
		}
	}
}

// source is a peer's volume without a network between.
type source struct {
	d        *device
	calls    atomic.Int64 // of Dirs
	dirs     atomic.Int64 // told
	cutAfter int64        // directories told before the connection breaks; 0: it does not
	lie      func(d *vol.DirState)
}

var errCut = errors.New("connection lost")

func (d *device) source() *source {
	d.tb.Helper()
	check(d.tb, d.v.Sync(ctx))
	return &source{d: d}
}

func (s *source) Info(context.Context) (vol.Info, error) { return s.d.v.Info(), nil }

func (s *source) Dirs(ctx context.Context, reqs []vol.DirRequest, got func(int, vol.DirState) error) error {
	s.calls.Add(1)
	after := ""
	for i := 0; i < len(reqs); {
		r := reqs[i]
		r.After = after
		if n := s.dirs.Add(1); s.cutAfter > 0 && n > s.cutAfter {
			return errCut
		}
		d, err := s.d.v.DirState(ctx, r)
		if errors.Is(err, syscall.ESTALE) {
			d, err = vol.DirState{}, nil
		}
		if err != nil {
			return err
		}
		if s.lie != nil {
			s.lie(&d)
		}
		if err := got(i, d); err != nil {
			return err
		}
		if after = d.To; after == "" {
			i++
		}
	}
	return nil
}

func (s *source) Chunks(ctx context.Context, ids []store.ID, got func(int, []byte) error) error {
	var buf []byte
	for i, id := range slices.Backward(ids) {
		b, err := s.d.Chunks.Get(ctx, id, buf[:0])
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			b, err = nil, nil
		}
		if err == nil && b != nil {
			buf = b
			err = store.VerifyID(id, b)
		}
		if err == nil {
			err = got(i, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noise is incompressible data.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return string(bytes.Clone(b))
}
