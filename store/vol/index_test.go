package vol

import (
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

// folder makes n files in a new directory.
func folder(tb testing.TB, v *Volume, dir string, n int) *Node {
	d := mkdir(tb, v.Root(), dir)
	for i := range n {
		writeFile(tb, d, fmt.Sprintf("f%06d", i), "x")
	}
	return d
}

// TestOneChangeAmongMany: of a directory of many names only those are listed,
// and looked at, of which there is news: changed, deleted, or changed below,
// by whichever replica and whoever tells of it.
func TestOneChangeAmongMany(t *testing.T) {
	const many = 2000
	rs := replicas(t, 3)
	a, b, c := rs[0], rs[1], rs[2]
	folder(t, a, "d", many)
	folder(t, a, "e", many)
	for i := range many {
		mkdir(t, must[*Node](t)(a.Root().Lookup(ctx, "e")), fmt.Sprintf("d%06d", i))
	}
	pull(t, b, a, -1)
	pull(t, c, b, -1)
	node := func(v *Volume, names ...string) *Node {
		n := v.Root()
		for _, name := range names {
			n = must[*Node](t)(n.Lookup(ctx, name))
		}
		return n
	}
	few := func(to, from *Volume, names int) {
		t.Helper()
		if p := pullCounted(t, to, from, -1); p.names != names || p.whole > p.applied/2 {
			t.Errorf("%d names, %d of %d listings full; want %d names", p.names, p.whole, p.applied, names)
		}
	}
	writeFile(t, node(a, "d"), "f000007", "changed")
	few(b, a, 2)
	few(c, b, 2)
	ok(t, node(b, "d").Unlink(ctx, "f000008"))
	few(a, b, 2)
	few(c, a, 2)
	writeFile(t, node(c, "e", "d000009"), "new", "new") // 3 directories, the last one full
	writeFile(t, node(c, "d"), "f000010", "changed")
	few(b, c, 5)
	few(a, b, 5)
	if in := len(b.dirs[rootDir].children); in > 3 {
		t.Errorf("%d names of the root in memory", in)
	}
	want := tree(t, a)
	for _, v := range []*Volume{b, c} {
		if got := tree(t, v); !maps.Equal(got, want) {
			t.Error("trees differ")
		}
	}
}

// TestIndexStaysShort: it has no more than some listings' names, and who has
// not heard of what left it is given a full listing.
func TestIndexStaysShort(t *testing.T) {
	rs := replicas(t, 3)
	a, b, c := rs[0], rs[1], rs[2]
	d := folder(t, a, "d", 20)
	pull(t, b, a, -1)
	pull(t, c, a, -1)
	for i := range 3 * minRows {
		writeFile(t, d, "f000001", fmt.Sprint(i))
		ok(t, a.Sync(ctx))
		if p := pullCounted(t, b, a, -1); p.names != 2 {
			t.Fatalf("%d names for change %d", p.names, i)
		}
	}
	for _, v := range []*Volume{a, b} {
		if n := indexRows(t, v); n > 4*minRows+8 {
			t.Errorf("%d rows", n)
		}
	}
	if p := pullCounted(t, c, b, -1); p.names != 21 {
		t.Errorf("%d names to who was away for long", p.names)
	}
	removeAll(t, a, d)
	pull(t, b, a, -1)
	pull(t, a, b, -1)
	if !maps.Equal(tree(t, a), tree(t, b)) {
		t.Error("trees differ")
	}
}

// TestIndexTellsOfWhatCameLater: a changes a file after it listed the root to
// b, and before it lists the directory that the file is in; b tells c.
func TestIndexTellsOfWhatCameLater(t *testing.T) {
	rs := replicas(t, 3)
	a, b, c := rs[0], rs[1], rs[2]
	d := folder(t, a, "d", 20)
	for i := range 20 {
		mkdir(t, a.Root(), fmt.Sprint(i))
	}
	pull(t, b, a, -1)
	pull(t, c, a, -1)
	writeFile(t, d, "f000001", "listed")
	pull(t, c, a, -1)
	root := must[DirState](t)(a.DirState(ctx, DirRequest{Known: must[merge.View](t)(b.View(0)).Ctx}))
	writeFile(t, d, "f000001", "later")
	ok(t, a.Sync(ctx))
	subs, _, err := b.Apply(ctx, 0, root)
	if ok(t, err); len(subs) != 1 {
		t.Fatal(subs)
	}
	below := must[DirState](t)(a.DirState(ctx, DirRequest{Dir: subs[0].Remote, Known: subs[0].Known}))
	_, _, err = b.Apply(ctx, subs[0].Local, below)
	ok(t, err)
	ok(t, b.Finish(ctx, subs[0].Local, below.View))
	ok(t, b.Finish(ctx, 0, root.View))
	if p := pullCounted(t, c, b, -1); p.whole > 0 {
		t.Error("a full listing")
	}
	if got := tree(t, c); !maps.Equal(got, tree(t, b)) || !maps.Equal(got, tree(t, a)) {
		t.Error("trees differ")
	}
}

func removeAll(tb testing.TB, v *Volume, d *Node) {
	for _, e := range must[[]DirEntry](tb)(d.List(ctx)) {
		ok(tb, d.Unlink(ctx, e.Name))
	}
	ok(tb, v.Root().Rmdir(ctx, "d"))
}

// indexRows counts the rows of all directories, and checks that each belongs
// to one.
func indexRows(tb testing.TB, v *Volume) (n int) {
	ok(tb, v.db.View(func(tx *bbolt.Tx) error {
		return eachSummed(tx.Bucket(bucketIndex), func(k, b []byte) error {
			num, dot, whole := splitIndexKey(k)
			r := must[*dirRecord](tb)(readDirRecord(tx, num))
			if !whole || r == nil || !r.Max.Has(dot) {
				tb.Errorf("rows of directory %d with %v", num, dot)
			}
			n += len(must[[]string](tb)(decodeIndexNames(b)))
			return nil
		})
	}))
	return n
}

// TestVolumeWithoutIndex opens a volume that an earlier version made, whose
// changes no index tells of: they are pulled by full listings, later ones are
// not.
func TestVolumeWithoutIndex(t *testing.T) {
	rs := replicas(t, 1)
	path := filepath.Join(t.TempDir(), "volume")
	f := must[*os.File](t)(os.Open("testdata/plain.volume.gz"))
	defer f.Close()
	z := must[*gzip.Reader](t)(gzip.NewReader(f))
	ok(t, os.WriteFile(path, must[[]byte](t)(io.ReadAll(z)), 0o600))
	old := must[*Volume](t)(Open(path, rs[0].o))
	defer old.Close()
	other := filepath.Join(t.TempDir(), "volume")
	ok(t, Create(other, old.ID(), rs[0].o))
	b := must[*Volume](t)(Open(other, rs[0].o))
	defer b.Close()
	if p := pullCounted(t, b, old, -1); p.names != 32 || p.whole != 3 {
		t.Errorf("%d names, %d full listings", p.names, p.whole)
	}
	d := must[*Node](t)(old.Root().Lookup(ctx, "d"))
	writeFile(t, d, "f000003", "changed")
	if p := pullCounted(t, b, old, -1); p.names != 2 || p.whole != 0 {
		t.Errorf("%d names, %d full listings", p.names, p.whole)
	}
	if !maps.Equal(tree(t, old), tree(t, b)) || len(tree(t, b)) != 32 {
		t.Error("trees differ")
	}
}

func FuzzIndexNames(f *testing.F) {
	f.Add(appendIndexNames(nil, []string{"a", "b", "cc"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := decodeIndexNames(b)
		if err != nil {
			return
		}
		if again, err := decodeIndexNames(appendIndexNames(nil, names)); err != nil || !reflect.DeepEqual(again, names) {
			t.Fatalf("%q became %q, %v", names, again, err)
		}
	})
}

// TestDamagedIndex: a full listing does without it.
func TestDamagedIndex(t *testing.T) {
	rs := replicas(t, 2)
	d := folder(t, rs[0], "d", 40)
	pull(t, rs[1], rs[0], -1)
	writeFile(t, d, "f000001", "changed")
	ok(t, rs[0].Sync(ctx))
	ok(t, rs[0].db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketIndex)
		return b.Put(indexKey(must[*dir](t)(rs[0].dirByNumber(2)).num, merge.Dot{Replica: rs[0].Replica(), N: rs[0].state.n}), []byte{9, 'x'})
	}))
	if p := pullCounted(t, rs[1], rs[0], -1); p.whole == 0 {
		t.Error("no full listing")
	}
	if !maps.Equal(tree(t, rs[0]), tree(t, rs[1])) {
		t.Error("trees differ")
	}
}
