package vol

import (
	"testing"

	"bazil/store"
)

// fetchWanted brings what v wants from another store.
func fetchWanted(tb testing.TB, v *Volume, from *store.Chunks) (files int) {
	tb.Helper()
	for after := uint64(0); ; {
		ws := must[[]Want](tb)(v.Wanted(ctx, after, 3))
		if len(ws) == 0 {
			return files
		}
		for _, w := range ws {
			files++
			after = w.Seq
			for missing := []store.ID{{}}; len(missing) > 0; {
				var ids []store.ID
				var err error
				missing, err = v.WantChunks(ctx, w, func(id store.ID, _ bool) error {
					ids = append(ids, id)
					return nil
				})
				ok(tb, err)
				for _, id := range ids {
					sealed := must[[]byte](tb)(from.Get(ctx, id, nil))
					must[bool](tb)(v.o.Chunks.Put(ctx, id, sealed))
				}
			}
			ok(tb, v.Fetched(ctx, w.Seq))
		}
	}
}

// TestWanted: content that came in is asked for until it is here, also after
// the volume was closed, and no longer when its version is gone.
func TestWanted(t *testing.T) {
	chunks, sealer := testStore(t)
	away, _ := testStore(t)
	id := NewID()
	a := newDiskOn(t, chunks, sealer, id).open()
	disk := newDiskOn(t, away, sealer, id)
	b := disk.open()
	want := map[string]string{}
	for i, size := range []int{10, 20000, 300000, 3 << 20, 400000, 500000, 70000} {
		name := string(rune('a' + i))
		want[name] = string(randomBytes(uint64(i), size))
		writeFile(t, a.Root(), name, want[name])
	}
	pull(t, b, a, -1)
	ok(t, b.Root().Unlink(ctx, "e"))
	delete(want, "e")
	ok(t, b.Root().Rename(ctx, "c", b.Root(), "moved"))
	want["moved"] = want["c"]
	delete(want, "c")
	ok(t, b.Close())
	b = disk.open()
	if n := fetchWanted(t, b, chunks); n != 5 {
		t.Fatalf("%d files were wanted", n)
	}
	for name, data := range want {
		if readFile(t, b.Root(), name) != data {
			t.Errorf("%s is another", name)
		}
	}
	ok(t, b.Sync(ctx))
	if ws := must[[]Want](t)(b.Wanted(ctx, 0, 10)); len(ws) > 0 {
		t.Fatalf("still wanted: %+v", ws)
	}
}

// TestMarkChunks: every chunk of what is there is marked, and of what is not,
// none.
func TestMarkChunks(t *testing.T) {
	d := newDisk(t)
	v := d.open()
	marked := func() map[store.ID]bool {
		out := make(map[store.ID]bool)
		ok(t, v.MarkChunks(ctx, func(id store.ID) { out[id] = true }))
		return out
	}
	h := openFile(t, v, writeFile(t, v.Root(), "f", string(randomBytes(1, 400000))).Name(), false)
	ok(t, v.Sync(ctx))
	first := marked()
	if len(first) < 2 {
		t.Fatal(len(first))
	}
	covers := func(what string) {
		t.Helper()
		now := marked()
		for id := range first {
			if !now[id] {
				t.Fatalf("%s: chunk %v is not marked", what, id)
			}
		}
	}
	f := must[*Node](t)(v.Root().Lookup(ctx, "f"))
	f.Ref()
	ok(t, v.Root().Unlink(ctx, "f"))
	ok(t, v.Sync(ctx))
	covers("open")
	ok(t, h.Close())
	covers("held")
	f.Unref()
	ok(t, v.Sync(ctx))
	if n := len(marked()); n > 0 {
		t.Fatalf("%d chunks of nothing are marked", n)
	}
	w := openFile(t, v, writeFile(t, v.Root(), "g", "").Name(), true)
	must[int](t)(w.WriteAt(ctx, randomBytes(1, 400000), 0))
	ok(t, w.Sync(ctx))
	must[int](t)(w.WriteAt(ctx, []byte("x"), 0))
	covers("written again, not yet durable")
	ok(t, w.Close())
}
