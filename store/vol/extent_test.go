package vol

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"bazil/store"
)

// testPointer is never zero, and different for each i.
func testPointer(i uint64) (p store.Pointer) {
	binary.LittleEndian.PutUint64(p.ID[:], i+1)
	binary.LittleEndian.PutUint64(p.Key[:], i+1)
	return p
}

// drawExtents returns up to n sorted extents, mostly dense, with new pointers.
func drawExtents(t *rapid.T, n int, next *uint64) (xs []extent) {
	off := int64(0)
	if shift := rapid.IntRange(0, 60).Draw(t, "shift"); shift > 16 {
		off = rapid.Int64Range(0, 1<<shift).Draw(t, "off")
	}
	count := rapid.IntRange(0, n).Draw(t, "count")
	size := rapid.SampledFrom([]int64{1, 4096, 65536, 300_000, 1 << 20}).Draw(t, "size")
	gap := rapid.SampledFrom([]int64{0, 0, 0, 100, 1 << 20, 1 << 33}).Draw(t, "gap")
	holes := rapid.Bool().Draw(t, "holes")
	for i := range count {
		x := extent{off: off, n: max(size-int64(i%7), 1), ptr: testPointer(*next)}
		if *next++; holes && i%5 == 0 {
			x.ptr = store.Pointer{}
		}
		if x.end() > fileMax {
			break
		}
		xs = append(xs, x)
		off = x.end() + gap*int64(i%3)
	}
	return xs
}

// allExtents reads a whole tree.
func allExtents(tb rapid.TB, s *stored) (xs []extent) {
	var walk func(n *extentNode)
	walk = func(n *extentNode) {
		xs = append(xs, n.extents...)
		for _, c := range n.children {
			lo, _ := partBounds(n.level, n.lo, int(c.index))
			child, err := s.node(context.Background(), c.extentRef, n.level-1, lo)
			if err != nil {
				tb.Fatalf("child %d of level %d: %v", c.index, n.level, err)
			}
			walk(child)
		}
	}
	if s.form == formExtents {
		root, err := s.rootNode(context.Background())
		if err != nil {
			tb.Fatalf("root: %v", err)
		}
		walk(root)
	}
	return xs
}

func TestExtentTreeAgainstList(t *testing.T) {
	chunks, sealer := testStore(t)
	env := startEnv(t, chunks, sealer, chunks.NewReader(sealer, nil), 0)
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		const size = fileMax
		s := storedFrom(env, bodyInfo{form: formHole, size: size})
		var want []extent
		var next uint64
		for range rapid.IntRange(1, 3).Draw(t, "steps") {
			edits := drawExtents(t, 400, &next)
			limit := int64(math.MaxInt64)
			if rapid.IntRange(0, 3).Draw(t, "truncate") == 0 && len(want) > 0 {
				limit = want[rapid.IntRange(0, len(want)-1).Draw(t, "at")].off + rapid.Int64Range(0, 1).Draw(t, "cut")
			}
			info, _, err := rewriteExtents(ctx, s, limit, edits, size)
			if err != nil {
				t.Fatal(err)
			}
			want = storedExtents(splitExtents(overlayExtents(limitExtents(want, limit), edits)))
			// Another env knows the nodes only by their bytes.
			s = storedFrom(newEnv(chunks, sealer, chunks.NewReader(sealer, nil), 0), info)
			if got := allExtents(t, s); len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("%d extents, want %d", len(got), len(want))
			}
			fresh, _, err := rewriteExtents(ctx, storedFrom(env, bodyInfo{form: formHole, size: size}), math.MaxInt64, want, size)
			if err != nil || fresh.encode() != info.encode() {
				t.Fatalf("built at once: %v, or another tree (level %d, %d)", err, fresh.level, info.level)
			}
		}
		checkSegments(t, s, want)
	})
}

// checkSegments compares what is found at and around each extent.
func checkSegments(t *rapid.T, s *stored, want []extent) {
	for i := range want {
		x := &want[i]
		for _, off := range []int64{x.off - 1, x.off, x.end() - 1, x.end()} {
			if off < 0 || off >= s.size {
				continue
			}
			got, n, err := s.segment(context.Background(), off, 1<<40)
			if err != nil || n < 1 {
				t.Fatalf("segment(%d): %d, %v", off, n, err)
			}
			if w := cellAt(want, off); (got == nil) != (w == nil) || w != nil && *got != *w {
				t.Fatalf("segment(%d) is %v, want %v", off, got, w)
			}
		}
	}
}

func TestOverlayExtents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var next uint64
		draw := func(label string) (xs []extent) {
			for off := int64(0); off < 100; {
				n := rapid.Int64Range(1, 20).Draw(t, label)
				if next++; rapid.Bool().Draw(t, "there") {
					xs = append(xs, extent{off: off, n: n, ptr: testPointer(next)})
				}
				off += n
			}
			return xs
		}
		under, over := draw("under"), draw("over")
		got := overlayExtents(under, over)
		pos := int64(0)
		for _, x := range got {
			if x.off < pos || x.n < 1 {
				t.Fatalf("%v: extent at %d begins before %d", got, x.off, pos)
			}
			pos = x.end()
		}
		for off := range int64(130) {
			want := cellAt(over, off)
			if want == nil {
				want = cellAt(under, off)
			}
			x := cellAt(got, off)
			if (x == nil) != (want == nil) || x != nil && (x.ptr != want.ptr || x.at+off-x.off != want.at+off-want.off) {
				t.Fatalf("byte %d is of %v, want %v", off, x, want)
			}
		}
	})
}

// A file of 16 TiB with bytes at its ends has few and small extent chunks.
func TestSparseTreeIsSmall(t *testing.T) {
	env := testEnv(t, 0)
	var edits []extent
	for i := range int64(leafMax) {
		edits = append(edits, extent{off: i << 36, n: 4096, ptr: testPointer(uint64(i))})
	}
	s := storedFrom(env, bodyInfo{form: formHole, size: fileMax})
	info, root, err := rewriteExtents(context.Background(), s, math.MaxInt64, edits, 1<<44)
	if err != nil || !root.leaf() || info.level != 0 || info.allocated != leafMax*4096 {
		t.Fatalf("%+v, %v", info, err)
	}
}

// A tree that shrinks to what fits a leaf is one.
func TestTreeShrinks(t *testing.T) {
	env := testEnv(t, 0)
	ctx := context.Background()
	var xs []extent
	for i := range int64(leafMax + 50) {
		xs = append(xs, extent{off: i << 20, n: 1 << 20, ptr: testPointer(uint64(i))})
	}
	empty := storedFrom(env, bodyInfo{form: formHole, size: fileMax})
	full, _, err := rewriteExtents(ctx, empty, math.MaxInt64, xs, fileMax)
	if err != nil || full.level != 1 {
		t.Fatalf("%+v, %v", full, err)
	}
	for _, n := range []int64{leafMax + 1, leafMax, leafMax - 1, 100, 1, 0} {
		got, _, err := rewriteExtents(ctx, storedFrom(env, full), n<<20, nil, fileMax)
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := rewriteExtents(ctx, empty, math.MaxInt64, xs[:n], fileMax)
		if err != nil || got.encode() != want.encode() {
			t.Errorf("%d extents left: %+v, want %+v, %v", n, got, want, err)
		}
	}
}

func FuzzExtentNode(f *testing.F) {
	f.Add(encodeExtentLeaf(nil, []extent{{off: 5, n: 100, at: 7, ptr: testPointer(1)}, {off: 1 << 24, n: 1, ptr: testPointer(2)}}), 0, int64(0), true)
	f.Add(encodeExtentInner(nil, 1, []extentChild{{index: 3, extentRef: extentRef{count: 300, alloc: 1 << 20, ptr: testPointer(3)}}}), 1, int64(0), true)
	f.Add(encodeExtentInner(nil, 5, []extentChild{{index: 63, extentRef: extentRef{count: 300, alloc: 1 << 20, ptr: testPointer(3)}}}), 5, int64(0), true)
	f.Fuzz(func(t *testing.T, plain []byte, level int, lo int64, root bool) {
		if level = level & 7 % (extentTop + 1); root || level == extentTop {
			lo = 0
		} else {
			lo = (lo & (fileMax - 1)) / levelSize(level) * levelSize(level)
		}
		n, err := decodeExtentNode(plain, level, lo, root)
		if err != nil {
			if !errors.Is(err, ErrBody) && !errors.Is(err, ErrVersion) {
				t.Fatalf("%v is neither ErrBody nor ErrVersion", err)
			}
			return
		}
		if n.count < 1 || n.alloc < int64(n.count) || n.end() > fileMax || n.memory() > 2*int64(len(plain))+1000 {
			t.Fatalf("%+v from %d bytes", n, len(plain))
		}
		again := encodeExtentLeaf(nil, n.extents)
		if !n.leaf() {
			again = encodeExtentInner(nil, level, n.children)
			n.child(lo)
		}
		if string(again) != string(plain) {
			t.Fatal("another encoding of the same node was taken")
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, i := range []bodyInfo{
		{form: formHole},
		{form: formHole, size: 1 << 20},
		{form: formInline, size: 3, inline: "abc"},
		{form: formPacked, size: 300, packed: "frame"},
		{form: formChunk, size: 5000, ptr: testPointer(1)},
		{form: formExtents, size: 1 << 40, allocated: 1 << 20, level: 2, ptr: testPointer(2)},
	} {
		f.Add(string(i.encode()))
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := Body(s)
		info, err := b.parse()
		if err != nil {
			if !errors.Is(err, ErrBody) && !errors.Is(err, ErrVersion) || b.Size() != 0 {
				t.Fatalf("%v, size %d", err, b.Size())
			}
			return
		}
		if again := info.encode(); again != b {
			t.Fatalf("%v encodes as %v", b, again)
		}
		if info.size < 0 || info.size > fileMax || info.allocated > info.size {
			t.Fatalf("%+v", info)
		}
	})
}

// A tree whose root has children grows by several levels at once.
func TestTreeGrows(t *testing.T) {
	env := testEnv(t, 0)
	ctx := context.Background()
	var xs []extent
	for i := range int64(2 * leafMax) {
		xs = append(xs, extent{off: i << 20, n: 1 << 20, ptr: testPointer(uint64(i))})
	}
	info, _, err := rewriteExtents(ctx, storedFrom(env, bodyInfo{form: formHole, size: fileMax}), math.MaxInt64, xs, fileMax)
	if err != nil || info.level != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	far := extent{off: 1 << 52, n: 5, ptr: testPointer(0)}
	info, _, err = rewriteExtents(ctx, storedFrom(env, info), math.MaxInt64, []extent{far}, fileMax)
	if err != nil || info.level != 4 {
		t.Fatalf("%+v, %v", info, err)
	}
	s := storedFrom(newEnv(env.chunks, env.sealer, env.reader, 0), info)
	if got := allExtents(t, s); !reflect.DeepEqual(got, append(xs, far)) {
		t.Errorf("%d extents, want %d", len(got), len(xs)+1)
	}
	info, _, err = rewriteExtents(ctx, s, far.off, nil, fileMax)
	if err != nil || info.level != 1 {
		t.Fatalf("without the far extent: %+v, %v", info, err)
	}
}
