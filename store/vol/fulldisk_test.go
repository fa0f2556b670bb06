package vol

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"bazil/merge"
	"bazil/store"
)

// smallDisk mounts a tmpfs of so many MiB.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", mib)); err != nil {
		if os.Getuid() != 0 && os.Getenv("CI") == "" {
			t.Skip("only root can mount a small disk")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestFullDisk fills a real disk: writers hear ENOSPC, readers go on, nothing
// is lost, and what is removed and collected makes room again.
func TestFullDisk(t *testing.T) {
	for _, segment := range []int64{0, 1 << 20} {
		t.Run(fmt.Sprint("segments of ", segment), func(t *testing.T) { testFullDisk(t, segment) })
	}
}

func testFullDisk(t *testing.T, segment int64) {
	dir := filepath.Join(smallDisk(t, 32), "data")
	ok(t, store.Create(dir))
	s := must[*store.Store](t)(store.Open(dir, store.Options{SegmentSize: segment}))
	o := lifeOptions(s)
	o.DirtyLimit = 4 << 20
	path := filepath.Join(dir, "v.db")
	ok(t, Create(path, NewID(), o))
	v := must[*Volume](t)(Open(path, o))
	want := files{}
	n := fillDisk(t, v, want)
	if n < 10 {
		t.Fatalf("full after %d files", n)
	}
	// Full: more is refused, what was durable is read.
	writeSome(v, "more", string(randomBytes(99, 500_000)))
	if err := v.Sync(ctx); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("sync on a full disk: %v", err)
	}
	for name, c := range want {
		if readFile(t, v.Root(), name) != c {
			t.Errorf("%s reads as something else", name)
		}
	}
	// Removing, what could not be written included, and collecting make room.
	ok(t, v.Root().Unlink(ctx, "more"))
	ok(t, v.Root().Unlink(ctx, fmt.Sprint(n)))
	for i := 0; i < n; i += 2 {
		ok(t, v.Root().Unlink(ctx, fmt.Sprint(i)))
		delete(want, fmt.Sprint(i))
	}
	ok(t, v.Sync(ctx))
	for range 2 {
		must[store.CollectProgress](t)(s.Chunks().Collect(ctx, v.MarkChunks, store.CollectOptions{}))
	}
	for i := range 5 {
		name := fmt.Sprint("again", i)
		want[name] = string(randomBytes(uint64(1000+i), 500_000))
		ok(t, writeSome(v, name, want[name]))
		ok(t, v.Sync(ctx))
	}
	ok(t, v.Close())
	ok(t, s.Close())
	s = must[*store.Store](t)(store.Open(dir, store.Options{SegmentSize: segment}))
	defer s.Close()
	v = must[*Volume](t)(Open(path, lifeOptions(s)))
	defer v.Close()
	got := must[files](t)(rootFiles(v))
	if diff := want.differs(got); len(diff) > 0 {
		t.Errorf("after all %q differ", diff)
	}
}

// TestFullToTheLastByte: names alone fill the disk, and something else takes
// what they left. Removing can be made durable nevertheless, and a collection
// makes room of it.
func TestFullToTheLastByte(t *testing.T) {
	disk := smallDisk(t, 32)
	dir := filepath.Join(disk, "data")
	ok(t, store.Create(dir))
	s := must[*store.Store](t)(store.Open(dir, store.Options{}))
	defer s.Close()
	o := lifeOptions(s)
	o.DirtyLimit = 4 << 20
	path := filepath.Join(dir, "v.db")
	ok(t, Create(path, NewID(), o))
	v := must[*Volume](t)(Open(path, o))
	const large = 60
	for i := range large {
		ok(t, writeSome(v, fmt.Sprint("large", i), string(randomBytes(uint64(i), 300_000))))
	}
	ok(t, v.Sync(ctx))
	want := files{}
	fillWithNames(t, v, want)
	err := os.WriteFile(filepath.Join(disk, "else"), make([]byte, 32<<20), 0o600) // as far as it goes
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := writeSome(v, "more", "x"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a file more: %v", err)
	}
	sizesOnFullDisk(t, must[*Node](t)(v.Root().Lookup(ctx, "large0")))
	for i := range large {
		ok(t, v.Root().Unlink(ctx, fmt.Sprint("large", i)))
		if i%10 == 0 {
			ok(t, v.Sync(ctx))
		}
	}
	ok(t, v.Sync(ctx))
	must[store.CollectProgress](t)(s.Chunks().Collect(ctx, v.MarkChunks, store.CollectOptions{}))
	want["more"] = "y"
	ok(t, writeSome(v, "more", "y"))
	ok(t, v.Sync(ctx))
	v.crash()
	v = must[*Volume](t)(Open(path, o))
	defer v.Close()
	if diff := want.differs(must[files](t)(rootFiles(v))); len(diff) > 0 {
		t.Errorf("after all %q differ", diff)
	}
}

// sizesOnFullDisk: what is refused for want of room has changed nothing, and a
// file can be cut.
func sizesOnFullDisk(t *testing.T, n *Node) {
	mode, when := uint32(0o600), int64(1e18)
	before := attr(t, n)
	larger, smaller := before.Size+1, int64(5)
	for _, s := range []SetAttr{{Size: &larger}, {Size: &larger, Mode: &mode}, {Size: &larger, MTime: &when}} {
		fails(t, n.SetAttr(ctx, s), syscall.ENOSPC)
		if got := attr(t, n); got != before {
			t.Errorf("refused, and it has become %+v of %+v", got, before)
		}
	}
	ok(t, n.SetAttr(ctx, SetAttr{Size: &smaller}))
	smaller = 4
	ok(t, n.SetAttr(ctx, SetAttr{Size: &smaller, Mode: &mode, MTime: &when}))
	if got := attr(t, n); got.Size != 4 || got.Mode != mode || got.MTime != when {
		t.Errorf("%+v", got)
	}
}

// fillWithNames makes small files until the disk is full, and notes them. What
// could not be made durable it removes.
func fillWithNames(t *testing.T, v *Volume, want files) {
	for i := 0; ; i++ {
		var names []string
		var err error
		for j := 0; j < 50 && err == nil; j++ {
			name := fmt.Sprint("small", i, "-", j)
			if err = writeSome(v, name, string(randomBytes(uint64(j), 3000))); err == nil {
				names = append(names, name)
				want[name] = string(randomBytes(uint64(j), 3000))
			} else {
				_ = v.Root().Unlink(ctx, name) // if it came to be
			}
		}
		if full := v.Sync(ctx); full != nil {
			err = full
			for _, name := range names {
				ok(t, v.Root().Unlink(ctx, name))
				delete(want, name)
			}
		}
		if errors.Is(err, syscall.ENOSPC) {
			if i < 10 {
				t.Fatalf("full after %d small files", len(want))
			}
			return
		}
		ok(t, err)
	}
}

func rootFiles(v *Volume) (files, error) {
	f := files{}
	return f, f.readDir(v.Root(), "")
}

// fillDisk writes files until the disk is full, and notes those that are
// durable.
func fillDisk(t *testing.T, v *Volume, want files) (n int) {
	for ; ; n++ {
		name, c := fmt.Sprint(n), string(randomBytes(uint64(n), 500_000))
		err := writeSome(v, name, c)
		if err == nil {
			err = v.Sync(ctx)
		}
		if errors.Is(err, syscall.ENOSPC) {
			return n
		}
		ok(t, err)
		want[name] = c
	}
}

func writeSome(v *Volume, name, c string) error {
	n, err := v.Root().Create(ctx, name, New{Kind: merge.KindFile, Mode: 0o644})
	if err != nil {
		return err
	}
	h, err := n.Open(ctx, true)
	if err != nil {
		return err
	}
	_, err = h.WriteAt(ctx, []byte(c), 0)
	return errors.Join(err, h.Close())
}
