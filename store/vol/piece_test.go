package vol

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// TestLargeDirectoryInPieces: a directory of more than a few pieces is changed
// on both sides, and at the sender between its pieces, and pulled back and forth:
// nothing is lost, and nothing comes back.
func TestLargeDirectoryInPieces(t *testing.T) {
	const n = 1300
	rs := replicas(t, 2)
	a, b := rs[0], rs[1]
	d := mkdir(t, a.Root(), "d")
	content := func(i, edit int) string { return string(randomBytes(uint64(i*100+edit), 3500)) }
	name := func(i int) string { return fmt.Sprintf("f%06d", i) }
	for i := range n {
		writeFile(t, d, name(i), content(i, 0))
	}
	mkdir(t, d, "g")
	writeFile(t, must[*Node](t)(d.Lookup(ctx, "g")), "below", "x")
	random := rand.New(rand.NewPCG(1, 2))
	edit := 0
	meddle := func(v *Volume) func() {
		return func() {
			d := must[*Node](t)(v.Root().Lookup(ctx, "d"))
			edit++
			for range 20 {
				i := random.IntN(n)
				switch random.IntN(3) {
				case 0:
					d.Unlink(ctx, name(i))
				case 1:
					writeFile(t, d, name(i), content(i, edit))
				default:
					writeFile(t, d, name(i)+"x", "more")
				}
			}
			ok(t, v.Sync(ctx))
		}
	}
	if p := pullBetween(t, b, a, -1, meddle(a)); p.pieced < 3 {
		t.Fatalf("%d pieces", p.pieced)
	}
	meddle(b)()
	pull(t, a, b, 3) // is cut behind the second piece
	pullBetween(t, a, b, -1, meddle(b))
	for range 2 {
		pull(t, b, a, -1)
		pull(t, a, b, -1)
	}
	if !maps.Equal(tree(t, a), tree(t, b)) {
		t.Error("trees differ")
	}
	if p := pullCounted(t, b, a, -1); p.applied > 0 {
		t.Errorf("%d directories applied though nothing has changed", p.applied)
	}
}
