package vol

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"bazil/merge"
	"bazil/store"
)

// files are the content of files by their paths.
type files map[string]string

// lifeOp is an operation on a volume.
type lifeOp struct {
	kind       string
	name, to   string
	data       string
	off        int
	snapshotAs string
}

// life is what a process does to a volume, the same for the same tree at its
// beginning and the same seed.
type life struct {
	r    *rand.Rand
	tree files
	ids  map[string]int // which file a name has
	n    int            // operations so far
	last string         // name written last
	name string
}

func newLife(seed uint64, t files) *life {
	l := &life{r: rand.New(rand.NewPCG(seed, 11)), tree: maps.Clone(t), ids: map[string]int{}, last: "a", name: fmt.Sprint(seed)}
	for i, name := range slices.Sorted(maps.Keys(t)) {
		l.ids[name] = -i
	}
	return l
}

// next draws an operation and does it to the tree.
func (l *life) next() lifeOp {
	l.n++
	name := []string{"a", "b", "c", "d", "in/a", "in/b"}[l.r.IntN(6)]
	k := l.r.IntN(32)
	if k >= 26 {
		name = l.last
	}
	old, there := l.tree[name]
	switch {
	case k >= 26 && there:
		return lifeOp{kind: "fsync", name: name}
	case k >= 20 && len(old) > 0:
		return l.write(name, old, l.r.IntN(len(old)), 3000)
	case k < 4 || !there && k < 13:
		return l.write(name, old, l.r.IntN(len(old)+1), l.size())
	case k < 7:
		return l.write(name, old, len(old), l.size())
	case k < 9:
		l.tree[name] = old[:l.r.IntN(len(old)+1)]
		return lifeOp{kind: "truncate", name: name, off: len(l.tree[name])}
	case k < 11:
		return l.rename(name, []string{"a", "b", "in/a"}[l.r.IntN(3)])
	case k < 12:
		delete(l.tree, name)
		delete(l.ids, name)
		return lifeOp{kind: "unlink", name: name}
	case k < 13:
		return lifeOp{kind: "collect"}
	case k < 14:
		return lifeOp{kind: "snapshot", snapshotAs: fmt.Sprintf("s%s-%d", l.name, l.n)}
	}
	return lifeOp{kind: "sync"}
}

func (l *life) size() int { return []int{10, 3000, 6000, 60000}[l.r.IntN(4)] }

func (l *life) write(name, old string, at, size int) lifeOp {
	if _, there := l.ids[name]; !there {
		l.ids[name] = l.n
	}
	l.last = name
	data := string(randomBytes(l.r.Uint64N(50), 1+l.r.IntN(size)))
	l.tree[name] = old[:at] + data + old[min(len(old), at+len(data)):]
	return lifeOp{kind: "write", name: name, data: data, off: at}
}

func (l *life) rename(name, to string) lifeOp {
	if name != to {
		l.tree[to], l.ids[to] = l.tree[name], l.ids[name]
		delete(l.tree, name)
		delete(l.ids, name)
	}
	return lifeOp{kind: "rename", name: name, to: to}
}

// A process that lives tells of each operation by a line: "begin N", then
// "done N" if it made everything before durable, or "synced N" if it made its
// file durable. At last it tells "closed N".
const lifeEnv = "BAZIL_TEST_LIFE" // "DIR SEED STEPS SIZE"; seed 0 is for fsyncs

const lifeVolume = "volumes/v.db"

// TestMain lets the test program be the process that lives on a mounted disk.
func TestMain(m *testing.M) {
	if arg := os.Getenv(lifeEnv); arg != "" {
		if err := live(arg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func live(arg string) error {
	var dir string
	var seed uint64
	var steps, size int
	if _, err := fmt.Sscan(arg, &dir, &seed, &steps, &size); err != nil {
		return err
	}
	told := os.NewFile(3, "told")
	if seed == 0 {
		p, err := openParts(dir, 8<<20, func(s *store.Store) Options {
			return Options{Chunks: s.Chunks(), Sealer: store.NewSealer(store.SharingKey{7}), CommitInterval: time.Hour}
		})
		if err != nil {
			return err
		}
		return errors.Join(p.fsyncs(told, steps, size), p.close())
	}
	p, err := openLife(dir)
	if err != nil {
		return err
	}
	t, err := readTree(p.v.Root())
	if err != nil {
		return err
	}
	l := newLife(seed, t)
	for range steps {
		op := l.next()
		fmt.Fprintln(told, "begin", l.n)
		durable, err := p.do(op)
		if err != nil {
			return fmt.Errorf("%s: %w", op.kind, err)
		}
		if durable && op.kind == "fsync" {
			fmt.Fprintln(told, "synced", l.n)
		} else if durable {
			fmt.Fprintln(told, "done", l.n)
		}
	}
	if err := p.close(); err != nil {
		return err
	}
	fmt.Fprintln(told, "closed", l.n)
	return nil
}

// fsyncsEach is how often each writer of fsyncs does.
const fsyncsEach = 20

// fsyncs lets some writers write 4 KiB and fsync it, again and again, each in
// a file of its own that has size bytes.
func (p *lifeParts) fsyncs(told *os.File, writers, size int) error {
	handles := make([]*Handle, writers)
	for i := range handles {
		n, err := p.v.Root().Create(context.Background(), fmt.Sprint("w", i), New{Kind: merge.KindFile, Mode: 0o644})
		if err == nil {
			handles[i], err = n.Open(context.Background(), true)
		}
		for data := randomBytes(uint64(i), size); err == nil && len(data) > 0; data = data[min(len(data), 64<<10):] {
			_, err = handles[i].WriteAt(context.Background(), data[:min(len(data), 64<<10)], int64(size-len(data)))
		}
		if err != nil {
			return err
		}
	}
	if err := p.v.Sync(context.Background()); err != nil {
		return err
	}
	fmt.Fprintln(told, "begin", writers)
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil { // until flushes are counted
		return err
	}
	g := new(errgroup.Group)
	for w, h := range handles {
		g.Go(func() error {
			for i := range fsyncsEach {
				if _, err := h.WriteAt(context.Background(), randomBytes(uint64(w*1000+i), 4096), int64(i*77777%max(size-4096, 1))); err != nil {
					return err
				}
				if err := h.Sync(context.Background()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	fmt.Fprintln(told, "done", writers)
	return err
}

// lifeParts is an open data directory with one volume.
type lifeParts struct {
	s *store.Store
	v *Volume
}

func lifeOptions(s *store.Store) Options {
	return Options{
		Chunks: s.Chunks(), Sealer: store.NewSealer(store.SharingKey{7}),
		CommitInterval: time.Hour, DirtyLimit: 256 << 10, LogSize: 512 << 10,
	}
}

func openLife(dir string) (*lifeParts, error) { return openParts(dir, 96<<10, lifeOptions) }

func openParts(dir string, segmentSize int64, options func(*store.Store) Options) (*lifeParts, error) {
	s, err := store.Open(dir, store.Options{SegmentSize: segmentSize})
	if err != nil {
		return nil, err
	}
	v, err := Open(dir+"/"+lifeVolume, options(s))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &lifeParts{s, v}, nil
}

func (p *lifeParts) close() error { return errors.Join(p.v.Close(), p.s.Close()) }

// do does an operation, and says whether all before is durable, or after an
// fsync all of its file.
func (p *lifeParts) do(op lifeOp) (durable bool, err error) {
	ctx := context.Background()
	dir, name, err := p.dirOf(op.name)
	if err != nil {
		return false, err
	}
	switch op.kind {
	case "write":
		return false, p.write(dir, name, op)
	case "fsync":
		return p.fsync(dir, name)
	case "truncate":
		return false, p.truncate(dir, name, int64(op.off))
	case "rename":
		to, toName, err := p.dirOf(op.to)
		return false, errors.Join(err, dir.Rename(ctx, name, to, toName))
	case "unlink":
		return false, dir.Unlink(ctx, name)
	case "collect":
		_, err := p.s.Chunks().Collect(ctx, p.v.MarkChunks, store.CollectOptions{MinDead: 0.1})
		return false, tolerate(err)
	case "snapshot":
		_, err := p.v.Snapshot(ctx, op.snapshotAs)
		return err == nil, tolerate(err)
	}
	err = p.v.Sync(ctx)
	return err == nil, tolerate(err)
}

// tolerate forgives what a failing disk does to who waits for it.
func tolerate(err error) error {
	if errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}

func (p *lifeParts) dirOf(path string) (*Node, string, error) {
	name, ok := strings.CutPrefix(path, "in/")
	if !ok {
		return p.v.Root(), path, nil
	}
	d, err := p.v.Root().Lookup(context.Background(), "in")
	return d, name, err
}

func (p *lifeParts) write(dir *Node, name string, op lifeOp) error {
	ctx := context.Background()
	n, err := dir.Create(ctx, name, New{Kind: merge.KindFile, Mode: 0o644})
	if errors.Is(err, syscall.EEXIST) {
		n, err = dir.Lookup(ctx, name)
	}
	if err != nil {
		return err
	}
	h, err := n.Open(ctx, true)
	if err != nil {
		return err
	}
	_, err = h.WriteAt(ctx, []byte(op.data), int64(op.off))
	return errors.Join(err, h.Close())
}

func (p *lifeParts) fsync(dir *Node, name string) (durable bool, err error) {
	ctx := context.Background()
	n, err := dir.Lookup(ctx, name)
	if err != nil {
		return false, err
	}
	h, err := n.Open(ctx, true)
	if err != nil {
		return false, err
	}
	err = h.Sync(ctx)
	return err == nil, tolerate(errors.Join(err, h.Close()))
}

func (p *lifeParts) truncate(dir *Node, name string, size int64) error {
	ctx := context.Background()
	n, err := dir.Lookup(ctx, name)
	if err != nil {
		return err
	}
	h, err := n.Open(ctx, true)
	if err != nil {
		return err
	}
	return errors.Join(h.Truncate(ctx, size), h.Close())
}

// readTree reads all files of a volume, two levels deep.
func readTree(root *Node) (files, error) {
	t := files{}
	for _, prefix := range []string{"", "in/"} {
		dir, err := root, error(nil)
		if prefix != "" {
			dir, err = root.Lookup(context.Background(), "in")
		}
		if err == nil {
			err = t.readDir(dir, prefix)
		}
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t files) readDir(dir *Node, prefix string) error {
	entries, err := dir.List(context.Background())
	for _, e := range entries {
		if e.Kind != merge.KindFile {
			continue
		}
		n, err := dir.Lookup(context.Background(), e.Name)
		if err != nil {
			return err
		}
		h, err := n.Open(context.Background(), false)
		if err != nil {
			return err
		}
		c, err := readAll(h)
		if err != nil {
			return fmt.Errorf("%s: %w", prefix+e.Name, err)
		}
		t[prefix+e.Name] = c
	}
	return err
}

// readAll reads a file and closes it.
func readAll(h interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}) (string, error) {
	var b []byte
	for p := make([]byte, 64<<10); ; {
		n, err := h.ReadAt(context.Background(), p, int64(len(b)))
		b = append(b, p[:n]...)
		if err != nil || n < len(p) {
			if c, ok := h.(*Handle); ok {
				err = errors.Join(err, c.Close())
			}
			return string(b), err
		}
	}
}

// readSnapshot reads all files of a snapshot.
func readSnapshot(v *Volume, name string) (files, error) {
	root, err := v.OpenSnapshot(context.Background(), name)
	if err != nil {
		return nil, err
	}
	t := files{}
	return t, t.readSnap(root, "")
}

func (t files) readSnap(dir *SnapNode, prefix string) error {
	entries, err := dir.List(context.Background())
	for _, e := range entries {
		n, err := dir.Lookup(context.Background(), e.Name)
		if err != nil {
			return err
		}
		if n.Kind() == merge.KindDir {
			if err := t.readSnap(n, prefix+e.Name+"/"); err != nil {
				return err
			}
			continue
		}
		f, err := n.Open(context.Background())
		if err != nil {
			return err
		}
		if t[prefix+e.Name], err = readAll(f); err != nil {
			return err
		}
	}
	return err
}

// differs names what is different in two trees.
func (t files) differs(o files) (names []string) {
	for name := range t {
		if c, ok := o[name]; !ok || c != t[name] {
			names = append(names, name)
		}
	}
	for name := range o {
		if _, ok := t[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
