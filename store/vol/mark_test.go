package vol

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"bazil/merge"
	"bazil/store"
)

func markedChunks(tb testing.TB, v *Volume) map[store.ID]bool {
	tb.Helper()
	out := make(map[store.ID]bool)
	ok(tb, v.MarkChunks(ctx, func(id store.ID) { out[id] = true }))
	return out
}

// TestSnapshotOfMarkedChunks: when all that a snapshot has is gone from the
// volume, what is marked is enough to read it: a directory so large that it is
// a tree of chunks, and files that no other name has.
func TestSnapshotOfMarkedChunks(t *testing.T) {
	v := testVolume(t)
	d := mkdir(t, v.Root(), "d")
	for i := range 1500 {
		name := fmt.Sprintf("%04d%s", i, strings.Repeat("n", 60))
		if i%300 == 0 {
			writeFile(t, d, name, string(randomBytes(uint64(i), 20_000)))
			continue
		}
		must[*Node](t)(d.Create(ctx, name, New{Kind: merge.KindFile, Mode: 0o644}))
	}
	info := must[SnapshotInfo](t)(v.Snapshot(ctx, "s"))
	want := snapTreeOf(t, must[*SnapNode](t)(v.OpenSnapshot(ctx, "s")))
	ok(t, v.Root().removeTree(ctx, "d"))
	ok(t, v.Sync(ctx))
	elsewhere, _ := testStore(t)
	for id := range markedChunks(t, v) {
		must[bool](t)(elsewhere.Put(ctx, id, must[[]byte](t)(v.o.Chunks.Get(ctx, id, nil))))
	}
	other := newDiskOn(t, elsewhere, v.o.Sealer, NewID()).open()
	if got := snapTreeOf(t, must[*SnapNode](t)(other.OpenSnapshotAt(ctx, info.Pointer))); !maps.Equal(got, want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}

// TestMarksOfOpenFile: chunks of a file that is being written are marked from
// when they are stored on, before a body has them and while only the file's own
// one has.
func TestMarksOfOpenFile(t *testing.T) {
	v := testVolume(t)
	writeFile(t, v.Root(), "f", "")
	h := openFile(t, v, "f", true)
	must[int](t)(h.WriteAt(ctx, randomBytes(1, 5<<20), 0))
	drain(v.env)
	stored := map[store.ID]bool{}
	h.f.c.pendingChunks(func(id store.ID) { stored[id] = true })
	covers := func(when string) {
		t.Helper()
		marked := markedChunks(t, v)
		for id := range stored {
			if !marked[id] {
				t.Fatalf("%s: chunk %v is not marked", when, id)
			}
		}
	}
	if len(stored) == 0 {
		t.Fatal("nothing was stored while writing")
	}
	covers("written")
	stored = chunkIDs(t, v.env, must[Body](t)(h.f.c.Flush(ctx)))
	covers("flushed")
	ok(t, h.Close())
}

// TestMarksOfGroupInFlight: what a group will make durable is marked, though
// all of it has been removed since.
func TestMarksOfGroupInFlight(t *testing.T) {
	v := testVolume(t)
	f := writeFile(t, v.Root(), "f", string(randomBytes(2, 20_000)))
	want := chunkIDs(t, v.env, must[Body](t)(f.syncedBody()))
	must[SnapshotInfo](t)(v.Snapshot(ctx, "s"))
	ok(t, v.Root().Unlink(ctx, "f"))
	ok(t, v.Sync(ctx))
	s := must[*SnapNode](t)(v.OpenSnapshot(ctx, "s"))
	must[RestoreResult](t)(v.Restore(ctx, v.Root(), "", s, RestoreOptions{}))
	ok(t, v.RemoveSnapshot(ctx, "s"))
	v.mu.Lock()
	g := v.freeze()
	v.mu.Unlock()
	ok(t, v.Root().Unlink(ctx, "f"))
	marked := markedChunks(t, v)
	v.mu.Lock()
	v.finish(g, syscall.EIO)
	v.unlock()
	for id := range want {
		if !marked[id] {
			t.Errorf("chunk %v is not marked", id)
		}
	}
}

// TestMarkingMissesNames: a volume that has fewer names than its directories know
// says so, rather than have the chunks of the others collected.
func TestMarkingMissesNames(t *testing.T) {
	v := testVolume(t)
	writeFile(t, v.Root(), "f", "x")
	ok(t, v.Sync(ctx))
	ok(t, v.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNames).Delete(numKey(rootDir, "f"))
	}))
	if err := v.MarkChunks(ctx, func(store.ID) {}); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v", err)
	}
}
