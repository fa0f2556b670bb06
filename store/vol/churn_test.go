package vol

import (
	"fmt"
	"os"
	"testing"
)

// TestChurnDoesNotGrow makes and removes files over and over, as builds and
// mail queues do: the volume's file grows to what one round takes, and no more.
func TestChurnDoesNotGrow(t *testing.T) {
	const rounds, most = 60, 300
	d := newDisk(t)
	v := d.open()
	root := v.Root()
	mkdir(t, root, "stays")
	size := func() int64 { return must[os.FileInfo](t)(os.Stat(d.path)).Size() }
	var early int64
	for round := range rounds {
		dir := mkdir(t, root, fmt.Sprint("round", round))
		n := most/2 + round*37%(most/2)
		for i := range n {
			writeFile(t, dir, fmt.Sprintf("%d-%d", round, i), string(randomBytes(uint64(i), 10+i*61%3000)))
		}
		ok(t, v.Sync(ctx))
		for i := range n {
			ok(t, dir.Unlink(ctx, fmt.Sprintf("%d-%d", round, i)))
		}
		ok(t, root.Rmdir(ctx, fmt.Sprint("round", round)))
		ok(t, v.Sync(ctx))
		if round == 9 {
			early = size()
		}
	}
	t.Logf("%d bytes after 10 rounds, %d after %d", early, size(), rounds)
	if size() > early+early/2 {
		t.Errorf("%d bytes after 10 rounds, %d after %d", early, size(), rounds)
	}
	ok(t, v.Close())
	v = d.open()
	if got := names(t, v.Root()); got != "stays " {
		t.Errorf("it has %s", got)
	}
}
