package vol

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bazil/merge"
	"bazil/store"
)

// snapTreeOf is the content of each file of a snapshot by its path.
func snapTreeOf(tb testing.TB, n *SnapNode) map[string]string {
	tb.Helper()
	out := make(map[string]string)
	var walk func(n *SnapNode, path string)
	walk = func(n *SnapNode, path string) {
		for _, e := range must[[]DirEntry](tb)(n.List(ctx)) {
			c := must[*SnapNode](tb)(n.Lookup(ctx, e.Name))
			switch {
			case c.Ino() != e.Ino || c.Name() != e.Name:
				tb.Fatal("another file")
			case e.Kind == merge.KindDir:
				walk(c, path+e.Name+"/")
			case e.Kind == merge.KindFile:
				out[path+e.Name] = readSnap(tb, c)
			}
		}
	}
	walk(n, "")
	return out
}

func readSnap(tb testing.TB, n *SnapNode) string {
	tb.Helper()
	f := must[*SnapFile](tb)(n.Open(ctx))
	p := make([]byte, n.Attr().Size+1)
	return string(p[:must[int](tb)(f.ReadAt(ctx, p, 0))])
}

func TestSnapshot(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	root := v.Root()
	dir := mkdir(t, root, "d")
	big := string(randomBytes(4, 300000))
	f := writeFile(t, dir, "f", big)
	must[*Node](t)(root.Create(ctx, "link", New{Kind: merge.KindSymlink, Mode: 0o777, Target: "there"}))
	must[*Node](t)(root.Create(ctx, "fifo", New{Kind: merge.KindFifo, Mode: 0o600}))
	must[*Node](t)(root.Create(ctx, "dev", New{Kind: merge.KindDevice, Mode: 0o600, Rdev: 7, Block: true}))
	mkdir(t, root, "empty")
	mode, when := uint32(0o4711), int64(123456789)
	ok(t, f.SetAttr(ctx, SetAttr{Mode: &mode, MTime: &when}))
	ok(t, f.SetXattr(ctx, "user.x", []byte("y"), 0))
	was, dirWas := attr(t, f), attr(t, dir)
	info := must[SnapshotInfo](t)(v.Snapshot(ctx, "first"))
	if info.Files != 4 || info.Bytes != 300005 {
		t.Fatalf("%+v", info)
	}
	writeFile(t, dir, "f", "changed")
	ok(t, root.Unlink(ctx, "link"))
	ok(t, root.Rename(ctx, "d", root, "moved"))
	must[SnapshotInfo](t)(v.Snapshot(ctx, "second"))
	_, err := v.Snapshot(ctx, "first")
	fails(t, err, syscall.EEXIST)
	_, err = v.OpenSnapshot(ctx, "third")
	fails(t, err, syscall.ENOENT)
	ok(t, v.Close())

	v = d.open()
	s := must[*SnapNode](t)(v.OpenSnapshot(ctx, "first"))
	if got := snapTreeOf(t, s); !maps.Equal(got, map[string]string{"d/f": big}) {
		t.Fatal("another tree")
	}
	sd := must[*SnapNode](t)(s.Lookup(ctx, "d"))
	sf := must[*SnapNode](t)(sd.Lookup(ctx, "f"))
	got := sf.Attr()
	if got.Mode != was.Mode || got.MTime != when || got.CTime != was.CTime || got.Size != was.Size || got.Blocks != was.Blocks {
		t.Fatalf("%+v, was %+v", got, was)
	}
	if got := sd.Attr(); got.MTime != dirWas.MTime || got.Mode != dirWas.Mode {
		t.Fatalf("%+v, was %+v", got, dirWas)
	}
	if string(sf.Xattrs()["user.x"]) != "y" {
		t.Fatal("xattr")
	}
	if link := must[*SnapNode](t)(s.Lookup(ctx, "link")); must[string](t)(link.Readlink()) != "there" {
		t.Fatal("link")
	}
	if dev := must[*SnapNode](t)(s.Lookup(ctx, "dev")).Attr(); dev.Rdev != 7 || !dev.Block {
		t.Fatalf("%+v", dev)
	}
	_, err = s.Lookup(ctx, "none")
	fails(t, err, syscall.ENOENT)
	second := must[*SnapNode](t)(v.OpenSnapshot(ctx, "second"))
	if got := snapTreeOf(t, second); !maps.Equal(got, map[string]string{"moved/f": "changed"}) {
		t.Fatal(got)
	}
	list := must[[]SnapshotInfo](t)(v.Snapshots(ctx))
	if len(list) != 2 || !reflect.DeepEqual(list[0], info) {
		t.Fatalf("%+v", list)
	}
	other := newDiskOn(t, d.chunks, d.sealer, NewID()).open()
	if got := snapTreeOf(t, must[*SnapNode](t)(other.OpenSnapshotAt(ctx, info.Pointer))); len(got) != 1 {
		t.Fatal("cannot be read by its pointer")
	}
	ok(t, v.RemoveSnapshot(ctx, "first"))
	fails(t, v.RemoveSnapshot(ctx, "first"), syscall.ENOENT)
}

// TestSnapshotLargeDir: a directory of many chunks is found, listed and shared
// but for what changed.
func TestSnapshotLargeDir(t *testing.T) {
	v := testVolume(t)
	d := mkdir(t, v.Root(), "d")
	const n = 5000
	for i := range n {
		must[*Node](t)(d.Create(ctx, fmt.Sprintf("%x %s", i*7919%n, strings.Repeat("n", 60)), New{Kind: merge.KindFile}))
	}
	puts := v.o.Chunks.Stats().Chunks
	must[SnapshotInfo](t)(v.Snapshot(ctx, "a"))
	first := v.o.Chunks.Stats().Chunks - puts
	writeFile(t, d, "one more", "x")
	must[SnapshotInfo](t)(v.Snapshot(ctx, "b"))
	second := v.o.Chunks.Stats().Chunks - puts - first
	if first < 8 || second > 8 {
		t.Fatalf("%d chunks, then %d", first, second)
	}
	s := must[*SnapNode](t)(must[*SnapNode](t)(v.OpenSnapshot(ctx, "b")).Lookup(ctx, "d"))
	list, want := must[[]DirEntry](t)(s.List(ctx)), must[[]DirEntry](t)(d.List(ctx))
	if len(list) != len(want) {
		t.Fatal(len(list))
	}
	for i := range list {
		if list[i].Name != want[i].Name {
			t.Fatal(list[i].Name)
		}
		if i%97 == 0 {
			must[*SnapNode](t)(s.Lookup(ctx, list[i].Name))
		}
	}
}

// TestSnapshotShares: what a later snapshot takes from an earlier one is what
// making it anew would give, whatever changed between and meanwhile.
func TestSnapshotShares(t *testing.T) {
	d := newDisk(t)
	o := d.options()
	o.CommitInterval = time.Millisecond
	v := d.openWith(o)
	r := rand.New(rand.NewPCG(1, 2))
	dirs := []*Node{v.Root()}
	for i := range 12 {
		dirs = append(dirs, mkdir(t, dirs[r.IntN(len(dirs))], fmt.Sprint("d", i)))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	change := func(r *rand.Rand, i int) {
		writeFile(t, dirs[r.IntN(len(dirs))], fmt.Sprint("f", r.IntN(3)), fmt.Sprint(i))
	}
	for i := range 40 {
		for range r.IntN(4) {
			change(r, i)
		}
		if i == 20 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(3, 4))
				for i := 1000; !stop.Load(); i++ {
					change(r, i)
				}
			})
		}
		must[SnapshotInfo](t)(v.Snapshot(ctx, fmt.Sprint(i)))
		if i == 30 {
			stop.Store(true)
			wg.Wait()
		}
		if i < 20 || i > 30 {
			got := snapTreeOf(t, must[*SnapNode](t)(v.OpenSnapshot(ctx, fmt.Sprint(i))))
			if want := plainTree(t, v); !maps.Equal(got, want) && i != 30 {
				t.Fatalf("snapshot %d: %v, want %v", i, got, want)
			}
		}
	}
}

// TestSnapshotMarks: all chunks of snapshots are marked, and those that a
// later one may use again.
func TestSnapshotMarks(t *testing.T) {
	v := testVolume(t)
	d := mkdir(t, v.Root(), "d")
	writeFile(t, d, "f", string(randomBytes(8, 200000)))
	must[SnapshotInfo](t)(v.Snapshot(ctx, "a"))
	marked := func() map[store.ID]bool {
		out := make(map[store.ID]bool)
		ok(t, v.MarkChunks(ctx, func(id store.ID) { out[id] = true }))
		return out
	}
	a := marked()
	ok(t, d.Unlink(ctx, "f"))
	must[SnapshotInfo](t)(v.Snapshot(ctx, "b"))
	now := marked()
	for id := range a {
		if !now[id] {
			t.Fatalf("chunk %v of a snapshot is not marked", id)
		}
	}
	ok(t, v.RemoveSnapshot(ctx, "a"))
	ok(t, v.RemoveSnapshot(ctx, "b"))
	kept := marked()
	must[SnapshotInfo](t)(v.Snapshot(ctx, "c"))
	again := marked()
	for id := range kept {
		if !again[id] {
			t.Fatal("a tree was kept and not used")
		}
	}
	if len(again) > len(kept)+1 {
		t.Fatalf("%d chunks, %d were kept", len(again), len(kept))
	}
}

func FuzzSnapNode(f *testing.F) {
	x := snapEntry{name: "n", kind: merge.KindFile, mode: 0o644, mtime: 5, ctime: 7, btime: 1, content: "\x01\x02hello", xattrs: map[string][]byte{"user.a": {1}}}
	dir := snapEntry{name: "o", kind: merge.KindDir, tree: store.Pointer{ID: store.ID{1}}}
	f.Add(appendSnapEntry(appendSnapEntry(snapHead(nil, 0), &x), &dir))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeSnapNode(b)
		if err != nil || n.level > 0 {
			return
		}
		again := snapHead(nil, 0)
		for i := range n.entries {
			again = appendSnapEntry(again, &n.entries[i])
		}
		if m, err := decodeSnapNode(again); err != nil || !reflect.DeepEqual(m, n) {
			t.Fatalf("%+v became %+v, %v", n, m, err)
		}
	})
}

func FuzzSnapRoot(f *testing.F) {
	f.Add(appendSnapRoot(nil, &snapRoot{created: 5, files: 1, bytes: 2, root: snapEntry{kind: merge.KindDir, mode: 0o755}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeSnapRoot(b)
		if err != nil {
			return
		}
		r.root.name = "root"
		if again, err := decodeSnapRoot(appendSnapRoot(nil, r)); err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzSnapshotInfo(f *testing.F) {
	f.Add(appendSnapshotInfo(nil, &SnapshotInfo{Created: 4, Files: 5, Bytes: 6}))
	f.Add(appendSnapTree(nil, &snapTree{files: 5, bytes: 6}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSnapshotInfo("x", b); err == nil {
			if again, err := decodeSnapshotInfo("x", appendSnapshotInfo(nil, &s)); err != nil || !reflect.DeepEqual(again, s) {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
		if s, err := decodeSnapTree(b); err == nil {
			if again, err := decodeSnapTree(appendSnapTree(nil, &s)); err != nil || again != s {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
	})
}
