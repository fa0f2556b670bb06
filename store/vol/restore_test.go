package vol

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bazil/merge"
	"bazil/store"
)

// describe tells all that a snapshot has of each path: kind, settings, times,
// content.
func describe(tb testing.TB, n *SnapNode) map[string]string {
	tb.Helper()
	out := make(map[string]string)
	var walk func(n *SnapNode, path string)
	walk = func(n *SnapNode, path string) {
		x := &n.x
		text := fmt.Sprintf("%v %o %d:%d mtime %d rdev %d %q", x.kind, x.mode, x.uid, x.gid, x.mtime, x.rdev, x.xattrs)
		switch n.kind {
		case merge.KindFile:
			text += fmt.Sprintf("%x", sha256.Sum256([]byte(readSnap(tb, n))))[:16]
		case merge.KindSymlink:
			text += x.content
		case merge.KindDir:
			for _, e := range must[[]DirEntry](tb)(n.List(ctx)) {
				walk(must[*SnapNode](tb)(n.Lookup(ctx, e.Name)), joinPath(path, e.Name))
			}
		}
		out[path] = text
	}
	walk(n, "")
	return out
}

func frozen(tb testing.TB, v *Volume) *SnapNode {
	tb.Helper()
	n, release, err := v.Freeze(ctx)
	ok(tb, err)
	tb.Cleanup(release)
	return n
}

// scramble makes some changes to a tree.
func scramble(tb testing.TB, r *rand.Rand, v *Volume) {
	tb.Helper()
	dirs := []*Node{v.Root()}
	for _, p := range slices.Sorted(maps.Keys(describe(tb, frozen(tb, v)))) {
		if n, err := find(v, p); err == nil && n.Kind() == merge.KindDir && p != "" {
			dirs = append(dirs, n)
		}
	}
	for range 1 + r.IntN(12) {
		d, name := dirs[r.IntN(len(dirs))], fmt.Sprint("n", r.IntN(5))
		if a, err := d.Attr(); err != nil || a.NLink == 0 {
			continue // removed meanwhile
		}
		switch r.IntN(9) {
		case 0, 1:
			if n, err := d.Create(ctx, name, New{Kind: merge.KindDir, Mode: 0o700 | r.Uint32N(64)}); err == nil {
				dirs = append(dirs, n)
			}
		case 2:
			d.Create(ctx, name, New{Kind: merge.KindSymlink, Mode: 0o777, Target: fmt.Sprint("to", r.IntN(4))})
		case 3:
			d.Create(ctx, name, New{Kind: merge.KindFifo, Mode: 0o600})
		case 4:
			d.Create(ctx, name, New{Kind: merge.KindDevice, Mode: 0o600, Rdev: r.Uint64N(9)})
		case 5:
			if err := d.Unlink(ctx, name); err == syscall.EISDIR && r.IntN(3) == 0 {
				ok(tb, d.removeTree(ctx, name))
			}
		case 6:
			d.Rename(ctx, name, dirs[r.IntN(len(dirs))], fmt.Sprint("n", r.IntN(5)))
		case 7:
			if n, err := d.Lookup(ctx, name); err == nil {
				mode := uint32(0o600 | r.IntN(64))
				n.SetAttr(ctx, SetAttr{Mode: &mode})
				n.SetXattr(ctx, "user.x", []byte{byte(r.IntN(3))}, 0)
			}
		default:
			if n, err := d.Lookup(ctx, name); err == nil && n.Kind() != merge.KindFile {
				continue
			}
			writeFile(tb, d, name, string(randomBytes(r.Uint64N(40), []int{3, 7000, 90000}[r.IntN(3)])))
		}
	}
}

func find(v *Volume, path string) (*Node, error) {
	n := v.Root()
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		var err error
		if n, err = n.Lookup(ctx, name); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// TestRestoreModel: whatever became of a tree, an exact restore makes it what
// the snapshot is in all that a snapshot has, also in another volume; Diff
// finds no difference then, and before just those that a comparison of all
// names finds.
func TestRestoreModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := newDisk(t)
		v := d.open()
		scramble(t, r, v)
		scramble(t, r, v)
		must[SnapshotInfo](t)(v.Snapshot(ctx, "a"))
		for range r.IntN(3) {
			scramble(t, r, v)
		}
		a, b := must[*SnapNode](t)(v.OpenSnapshot(ctx, "a")), frozen(t, v)
		want := describe(t, a)
		checkDiff(t, seed, must[[]Difference](t)(Diff(ctx, a, b)), want, describe(t, b))

		if res, err := v.Restore(ctx, v.Root(), "", a, RestoreOptions{Now: b, Exact: true}); err != nil {
			t.Fatalf("seed %d: %+v, %v: from\n%v\nto\n%v", seed, res, err, describe(t, b), want)
		}
		if got := describe(t, frozen(t, v)); !maps.Equal(got, want) {
			t.Fatalf("seed %d: restored\n%v\nwant\n%v", seed, got, want)
		}
		if left := must[[]Difference](t)(Diff(ctx, a, frozen(t, v))); len(left) > 0 {
			t.Fatalf("seed %d: after a restore there are %v", seed, left)
		}
		again := must[RestoreResult](t)(v.Restore(ctx, v.Root(), "", a, RestoreOptions{Now: frozen(t, v), Exact: true}))
		if again != (RestoreResult{}) {
			t.Fatalf("seed %d: a second restore did %+v", seed, again)
		}
		other := newDiskOn(t, d.chunks, d.sealer, NewID()).open()
		info := must[SnapshotInfo](t)(v.SnapshotInfo(ctx, "a"))
		from := must[*SnapNode](t)(other.OpenSnapshotAt(ctx, info.Pointer))
		res := must[RestoreResult](t)(other.Restore(ctx, other.Root(), "", from, RestoreOptions{}))
		if res.Partial != 0 || res.Replaced != 0 {
			t.Fatalf("seed %d: %+v", seed, res)
		}
		ok(t, other.Sync(ctx))
		if got := describe(t, frozen(t, other)); !maps.Equal(got, want) {
			t.Fatalf("seed %d: another volume has\n%v\nwant\n%v", seed, got, want)
		}
	}
}

// checkDiff holds a Diff against the trees: applied to the names of a it gives
// those of b, and it leaves nothing out that differs but the times of
// directories.
func checkDiff(t *testing.T, seed uint64, diff []Difference, a, b map[string]string) {
	t.Helper()
	told := make(map[string]bool)
	for _, d := range diff {
		told[d.Path] = true
		_, inA := a[d.Path]
		_, inB := b[d.Path]
		good := false
		switch d.Change {
		case Added:
			good = inB
		case Removed:
			good = inA
		case Changed:
			good = inA && inB && a[d.Path] != b[d.Path] && len(d.What) > 0
		case Renamed:
			_, was := a[d.From]
			good = inB && was && d.From != d.Path
			told[d.From] = true
			for p := range a {
				if strings.HasPrefix(p, d.From+"/") {
					told[p], told[d.Path+p[len(d.From):]] = true, true
				}
			}
		}
		if !good {
			t.Fatalf("seed %d: %+v\n%v\n%v", seed, d, a, b)
		}
	}
	for p := range a {
		if got, there := b[p]; (!there || got != a[p]) && !told[p] && !strings.HasPrefix(a[p], "dir") {
			t.Fatalf("seed %d: %q is not told: %q, %q", seed, p, a[p], got)
		}
	}
	for p := range b {
		if _, there := a[p]; !there && !told[p] {
			t.Fatalf("seed %d: %q is new and not told", seed, p)
		}
	}
}

func TestDiffTellsRenames(t *testing.T) {
	v := testVolume(t)
	root := v.Root()
	d := mkdir(t, root, "d")
	writeFile(t, d, "f", "some text")
	writeFile(t, d, "g", "more text")
	must[SnapshotInfo](t)(v.Snapshot(ctx, "a"))
	ok(t, root.Rename(ctx, "d", root, "e"))
	must[SnapshotInfo](t)(v.Snapshot(ctx, "b"))
	ok(t, must[*Node](t)(root.Lookup(ctx, "e")).Rename(ctx, "f", root, "top"))
	writeFile(t, d, "g", "longer text")
	must[SnapshotInfo](t)(v.Snapshot(ctx, "c"))
	for names, want := range map[string][]string{
		"ab": {"renamed d e []"},
		"bc": {"changed  e/g [content mtime]", "renamed e/f top []"},
		"ac": {"removed  d []", "removed  d/g []", "added  e []", "added  e/g []", "renamed d/f top []"},
		"cc": nil,
	} {
		from := must[*SnapNode](t)(v.OpenSnapshot(ctx, names[:1]))
		to := must[*SnapNode](t)(v.OpenSnapshot(ctx, names[1:]))
		var got []string
		for _, d := range must[[]Difference](t)(Diff(ctx, from, to)) {
			got = append(got, fmt.Sprintf("%v %s %s %v", d.Change, d.From, d.Path, d.What))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", names, got, want)
		}
	}
}

// TestDiffCost: what two snapshots share is not read.
func TestDiffCost(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	for i := range 40 {
		sub := mkdir(t, v.Root(), fmt.Sprint("d", i))
		for j := range 20 {
			writeFile(t, sub, fmt.Sprint("f", j), "x")
		}
	}
	big := mkdir(t, v.Root(), "big")
	for i := range 4000 {
		must[*Node](t)(big.Create(ctx, fmt.Sprintf("%x %s", i*7919%4000, strings.Repeat("n", 60)), New{Kind: merge.KindFile}))
	}
	a := must[SnapshotInfo](t)(v.Snapshot(ctx, "a"))
	writeFile(t, big, "one", "more")
	b := must[SnapshotInfo](t)(v.Snapshot(ctx, "b"))
	ok(t, v.Close())

	d.open()
	counted := &countingFetcher{chunks: d.chunks}
	empty := must[*store.Store](t)(store.Open(newDataDir(t), store.Options{}))
	defer empty.Close()
	other := newDiskOn(t, empty.Chunks(), d.sealer, NewID()).open()
	other.SetFetch(counted)
	diff := must[[]Difference](t)(Diff(ctx, must[*SnapNode](t)(other.OpenSnapshotAt(ctx, a.Pointer)), must[*SnapNode](t)(other.OpenSnapshotAt(ctx, b.Pointer))))
	if len(diff) != 1 || diff[0].Path != "big/one" || diff[0].Change != Added {
		t.Errorf("%+v", diff)
	}
	if counted.n > 14 {
		t.Errorf("%d chunks were read", counted.n)
	}
}

// countingFetcher counts the chunks that are read.
type countingFetcher struct {
	chunks *store.Chunks
	n      int
}

func (f *countingFetcher) Fetch(ctx context.Context, id store.ID) ([]byte, error) {
	f.n++
	return f.chunks.Get(ctx, id, nil)
}

func newDataDir(t *testing.T) string {
	dir := t.TempDir() + "/data"
	ok(t, store.Create(dir))
	return dir
}

// TestRestoreOverOpenFile: without Exact what the snapshot does not have
// stays, and what is open works on; a file that nobody writes keeps its number.
func TestRestoreOverOpenFile(t *testing.T) {
	v := testVolume(t)
	root := v.Root()
	f := writeFile(t, root, "f", "as it was")
	g := writeFile(t, root, "g", "as it was")
	must[SnapshotInfo](t)(v.Snapshot(ctx, "a"))
	writeFile(t, root, "g", "longer than it was")
	ok(t, v.Sync(ctx))
	read := must[*Handle](t)(g.Open(ctx, false))
	defer read.Close()
	h := must[*Handle](t)(f.Open(ctx, true))
	defer h.Close()
	must[int](t)(h.WriteAt(ctx, []byte("AS IT IS!"), 0))
	writeFile(t, root, "new", "stays")
	a := must[*SnapNode](t)(v.OpenSnapshot(ctx, "a"))
	res := must[RestoreResult](t)(v.Restore(ctx, root, "", a, RestoreOptions{Now: frozen(t, v)}))
	if res != (RestoreResult{Replaced: 2, Extra: 1}) {
		t.Errorf("%+v", res)
	}
	if got := plainTree(t, v); !maps.Equal(got, map[string]string{"f": "as it was", "g": "as it was", "new": "stays"}) {
		t.Errorf("%v", got)
	}
	p := make([]byte, 20)
	if n := must[int](t)(h.ReadAt(ctx, p, 0)); string(p[:n]) != "AS IT IS!" {
		t.Errorf("the open file has %q", p[:n])
	}
	if n := must[int](t)(read.ReadAt(ctx, p, 0)); string(p[:n]) != "longer than it was" {
		t.Errorf("the file open for reading has %q", p[:n])
	}
	if n := must[*Node](t)(root.Lookup(ctx, "g")); n.Ino() != g.Ino() {
		t.Error("a file that nobody wrote has another number")
	}
	ok(t, v.RenameSnapshot(ctx, "a", "b"))
	fails(t, v.RenameSnapshot(ctx, "a", "c"), syscall.ENOENT)
	must[SnapshotInfo](t)(v.Snapshot(ctx, "c"))
	fails(t, v.RenameSnapshot(ctx, "b", "c"), syscall.EEXIST)
	fails(t, v.RenameSnapshot(ctx, "b", "x/y"), syscall.EINVAL)
	must[*SnapNode](t)(v.OpenSnapshot(ctx, "b"))
}
