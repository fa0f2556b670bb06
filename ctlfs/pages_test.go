package ctlfs

import (
	"bytes"
	"fmt"
	"testing"
)

// TestPages reads a text back from everywhere, in pieces that end within pages
// and beyond them.
func TestPages(t *testing.T) {
	var text pages
	var want []byte
	for i := 0; len(want) < 3*pageSize; i++ {
		line := fmt.Appendf(nil, "line %d%*s\n", i, i%5000, "")
		want = append(want, line...)
		if n, err := text.Write(line); n != len(line) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(line), err)
		}
	}
	for _, size := range []int{1, 4096, pageSize, 2*pageSize + 1, 5 * pageSize} {
		p := make([]byte, size)
		for _, off := range []int{0, 1, pageSize - 1, pageSize, 2*pageSize + 77, len(want) - 1} {
			n := text.readAt(p, int64(off))
			if w := want[off:min(len(want), off+size)]; !bytes.Equal(p[:n], w) {
				t.Errorf("%d bytes at %d: %d, want %d, or others", size, off, n, len(w))
			}
		}
		for _, off := range []int64{-1, int64(len(want)), 1 << 50} {
			if n := text.readAt(p, off); n != 0 {
				t.Errorf("%d bytes at %d, where there are none", n, off)
			}
		}
	}
}
