package vol

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"bazil/merge"
)

// modelNode is a file or directory of a plain tree that a volume must equal.
type modelNode struct {
	kind   merge.Kind
	data   string
	mode   uint32
	uid    uint32
	xattrs map[string]string
	names  map[string]*modelNode
	ino    uint64
}

// modelTest runs a history against a volume and a modelNode.
type modelTest struct {
	t    *rapid.T
	disk *disk
	v    *Volume
	root *modelNode
	opts Options
}

var modelNames = []string{"a", "b", "c", "d"}

// place draws a directory, which may not exist, and a name in it.
func (m *modelTest) place() (path []string, name string) {
	for range rapid.IntRange(0, 2).Draw(m.t, "depth") {
		path = append(path, rapid.SampledFrom(modelNames).Draw(m.t, "dir"))
	}
	return path, rapid.SampledFrom(modelNames).Draw(m.t, "name")
}

func (m *modelTest) walkModel(path []string) (*modelNode, error) {
	n := m.root
	for _, name := range path {
		if n.kind != merge.KindDir {
			return nil, syscall.ENOTDIR
		}
		if n = n.names[name]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

func (m *modelTest) walk(path []string) (*Node, error) {
	n := m.v.Root()
	for _, name := range path {
		var err error
		if n, err = n.Lookup(ctx, name); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// both returns a file or directory on both sides, nil on both if there is none.
func (m *modelTest) both(path []string) (*Node, *modelNode) {
	n, err := m.walk(path)
	x, want := m.walkModel(path)
	m.same(err, want)
	return n, x
}

func (m *modelTest) same(got, want error) {
	m.t.Helper()
	if got != want {
		m.t.Fatalf("error %v, want %v", got, want)
	}
}

func (m *modelTest) create(t *rapid.T) {
	path, name := m.place()
	n, x := m.both(path)
	if n == nil {
		return
	}
	w := New{
		Kind: rapid.SampledFrom([]merge.Kind{merge.KindFile, merge.KindFile, merge.KindDir, merge.KindSymlink, merge.KindFifo, merge.KindDevice}).Draw(t, "kind"),
		Mode: uint32(rapid.IntRange(0, 0o7777).Draw(t, "mode")), UID: uint32(rapid.IntRange(0, 3).Draw(t, "uid")),
	}
	if w.Kind == merge.KindSymlink {
		w.Target = rapid.StringOfN(rapid.RuneFrom([]rune("ab/")), 1, 20, -1).Draw(t, "target")
	}
	made, err := n.Create(ctx, name, w)
	switch {
	case x.kind != merge.KindDir:
		m.same(err, syscall.ENOTDIR)
	case x.names[name] != nil:
		m.same(err, syscall.EEXIST)
	default:
		m.same(err, nil)
		x.names[name] = &modelNode{kind: w.Kind, data: w.Target, mode: w.Mode, uid: w.UID, names: map[string]*modelNode{}, ino: made.Ino()}
	}
}

func (m *modelTest) remove(t *rapid.T) {
	path, name := m.place()
	n, x := m.both(path)
	if n == nil {
		return
	}
	rmdir := rapid.Bool().Draw(t, "rmdir")
	var err error
	if rmdir {
		err = n.Rmdir(ctx, name)
	} else {
		err = n.Unlink(ctx, name)
	}
	c := x.names[name]
	switch {
	case x.kind != merge.KindDir:
		m.same(err, syscall.ENOTDIR)
	case c == nil:
		m.same(err, syscall.ENOENT)
	case rmdir && c.kind != merge.KindDir:
		m.same(err, syscall.ENOTDIR)
	case !rmdir && c.kind == merge.KindDir:
		m.same(err, syscall.EISDIR)
	case len(c.names) > 0:
		m.same(err, syscall.ENOTEMPTY)
	default:
		m.same(err, nil)
		delete(x.names, name)
	}
}

func (m *modelTest) rename(t *rapid.T) {
	path, name := m.place()
	toPath, toName := m.place()
	n, x := m.both(path)
	to, y := m.both(toPath)
	if n == nil || to == nil || x.kind != merge.KindDir || y.kind != merge.KindDir {
		return
	}
	err := n.Rename(ctx, name, to, toName)
	c, over := x.names[name], y.names[toName]
	inside := c != nil && strings.HasPrefix(strings.Join(toPath, "/")+"/", strings.Join(append(slices.Clone(path), name), "/")+"/")
	switch {
	case c == nil:
		m.same(err, syscall.ENOENT)
	case c.kind == merge.KindDir && inside:
		m.same(err, syscall.EINVAL)
	case c == over:
		m.same(err, nil)
	case over != nil && c.kind == merge.KindDir && over.kind != merge.KindDir:
		m.same(err, syscall.ENOTDIR)
	case over != nil && c.kind == merge.KindDir && len(over.names) > 0:
		m.same(err, syscall.ENOTEMPTY)
	case over != nil && c.kind != merge.KindDir && over.kind == merge.KindDir:
		m.same(err, syscall.EISDIR)
	default:
		m.same(err, nil)
		delete(x.names, name)
		y.names[toName] = c
	}
}

func (m *modelTest) write(t *rapid.T) {
	path, name := m.place()
	n, x := m.both(append(path, name))
	if n == nil {
		return
	}
	h, err := n.Open(ctx, true)
	if x.kind != merge.KindFile {
		if err == nil {
			t.Fatal("opened")
		}
		return
	}
	m.same(err, nil)
	p := rapid.StringN(1, 100, -1).Draw(t, "data")
	off := rapid.IntRange(0, len(x.data)+10).Draw(t, "off")
	_, err = h.WriteAt(ctx, []byte(p), int64(off))
	m.same(err, nil)
	data := make([]byte, max(len(x.data), off+len(p)))
	copy(data, x.data)
	copy(data[off:], p)
	x.data = string(data)
	x.mode = dropSetID(x.mode)
	if rapid.Bool().Draw(t, "cut") {
		size := rapid.IntRange(0, len(data)).Draw(t, "size")
		m.same(h.Truncate(ctx, int64(size)), nil)
		x.data = x.data[:size]
	}
	m.same(h.Close(), nil)
}

func (m *modelTest) setAttr(t *rapid.T) {
	path, name := m.place()
	n, x := m.both(append(path, name))
	if n == nil {
		return
	}
	mode := uint32(rapid.IntRange(0, 0o7777).Draw(t, "mode"))
	m.same(n.SetAttr(ctx, SetAttr{Mode: &mode}), nil)
	x.mode = mode
	if x.kind != merge.KindSymlink && rapid.Bool().Draw(t, "xattr") {
		m.same(n.SetXattr(ctx, "user.x", []byte(name), 0), nil)
		x.xattrs = map[string]string{"user.x": name}
	}
	if mtime := int64(rapid.IntRange(1, 1000).Draw(t, "mtime")); rapid.Bool().Draw(t, "touch") {
		m.same(n.SetAttr(ctx, SetAttr{MTime: &mtime}), nil)
		if a, err := n.Attr(); err != nil || a.MTime != mtime {
			t.Fatal(a.MTime, err)
		}
	}
}

func (m *modelTest) sync(*rapid.T) { m.same(m.v.Sync(ctx), nil) }

func (m *modelTest) reopen(t *rapid.T) {
	m.same(m.v.Close(), nil)
	m.v = m.disk.openWith(m.opts)
}

// check compares all there is.
func (m *modelTest) check(t *rapid.T) {
	files, dirs, bytes := m.compare(m.v.Root(), m.root, "")
	s, err := m.v.Stats(ctx)
	m.same(err, nil)
	if s.Files != files || s.Dirs != dirs-1 || s.DirtyNames == 0 && s.LogicalBytes != bytes || s.Conflicts != 0 {
		t.Fatalf("%+v, want %d files, %d directories, %d bytes", s, files, dirs-1, bytes)
	}
}

func (m *modelTest) compare(n *Node, x *modelNode, path string) (files, dirs, bytes int64) {
	a, err := n.Attr()
	m.same(err, nil)
	if a.Kind != x.kind || n.Kind() != x.kind || x != m.root && (a.Mode != x.mode || a.UID != x.uid || a.Ino != x.ino) {
		m.t.Fatalf("%s: %+v, want %+v", path, a, x)
	}
	if n.Path() != strings.TrimPrefix(path, "/") {
		m.t.Fatalf("%s has path %s", path, n.Path())
	}
	xs, err := n.ListXattr()
	m.same(err, nil)
	if len(xs) != len(x.xattrs) {
		m.t.Fatalf("%s: xattrs %v, want %v", path, xs, x.xattrs)
	}
	switch x.kind {
	case merge.KindDir:
		return m.compareDir(n, x, path, a)
	case merge.KindFile:
		if got := readNode(m.disk.tb, n); got != x.data || a.Size != int64(len(x.data)) {
			m.t.Fatalf("%s: %q of %d bytes, want %q", path, got, a.Size, x.data)
		}
	case merge.KindSymlink:
		got, err := n.Readlink()
		m.same(err, nil)
		if got != x.data {
			m.t.Fatalf("%s: target %s, want %s", path, got, x.data)
		}
	}
	return 1, 0, int64(len(x.data))
}

func (m *modelTest) compareDir(n *Node, x *modelNode, path string, a Attr) (files, dirs, bytes int64) {
	list, err := n.List(ctx)
	m.same(err, nil)
	dirs = 1
	links := uint32(2)
	if len(list) != len(x.names) {
		m.t.Fatalf("%s: %v, want %v", path, list, slices.Sorted(maps.Keys(x.names)))
	}
	for i, e := range list {
		c := x.names[e.Name]
		if c == nil || c.kind != e.Kind || c.ino != e.Ino || i > 0 && list[i-1].Name >= e.Name {
			m.t.Fatalf("%s: listed %+v", path, e)
		}
		if c.kind == merge.KindDir {
			links++
		}
		child, err := n.Lookup(ctx, e.Name)
		m.same(err, nil)
		byIno, err := m.v.Node(c.ino)
		m.same(err, nil)
		if byIno.Name() != e.Name {
			m.t.Fatalf("%s: number %d is %s", path, c.ino, byIno.Name())
		}
		f, d, b := m.compare(child, c, path+"/"+e.Name)
		files, dirs, bytes = files+f, dirs+d, bytes+b
	}
	if a.NLink != links {
		m.t.Fatalf("%s: %d links, want %d", path, a.NLink, links)
	}
	return files, dirs, bytes
}

func TestModel(t *testing.T) {
	chunks, sealer := testStore(t)
	rapid.Check(t, func(rt *rapid.T) {
		d := newDiskOn(t, chunks, sealer, NewID())
		opts := d.options()
		opts.CacheEntries = rapid.SampledFrom([]int{16, 1000}).Draw(rt, "cache")
		m := &modelTest{t: rt, disk: d, v: d.openWith(opts), opts: opts}
		m.root = &modelNode{kind: merge.KindDir, names: map[string]*modelNode{}}
		rt.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"create":  m.create,
			"create2": m.create,
			"remove":  m.remove,
			"rename":  m.rename,
			"write":   m.write,
			"setattr": m.setAttr,
			"sync":    m.sync,
			"reopen":  m.reopen,
		})
		m.same(m.v.Close(), nil)
		m.v = d.open()
		m.check(rt)
		ok(t, m.v.Close())
	})
}

func (m *modelNode) String() string { return fmt.Sprintf("%v %q %o", m.kind, m.data, m.mode) }
