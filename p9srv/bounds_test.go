package p9srv_test

import (
	"context"
	"strconv"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/p9test"
)

// lendFile lends the bytes that a slowFile reads.
type lendFile struct{ slowFile }

func (f lendFile) ReadBuffers(ctx context.Context, dst [][]byte, off int64, n int) ([][]byte, error) {
	f.of.tree.reads.Add(1)
	p := make([]byte, n)
	if f.of.name == "quick" {
		return append(dst, p), nil
	}
	n, err := f.ReadAt(ctx, p, off)
	return append(dst, p[:n]), err
}

const lentSize = 1000000

// lending starts a server of files that lend, and opens two of them as fids 1
// and 2.
func lending(t *testing.T, s *p9srv.Server, name1, name2 string) (tree *slowTree, read func(fid, tag int), flush func(old int), answer func()) {
	tree = newSlowTree()
	tree.lends = true
	s.Tree = tree
	c := raw(t, listen(t, s), 1<<20)
	for i, name := range []string{name1, name2} {
		fid := strconv.Itoa(i + 1)
		p9test.Say(t, c, "Twalk fid=0 newfid="+fid+" names="+name, "Rwalk")
		p9test.Say(t, c, "Tlopen fid="+fid+" flags=0", "Rlopen")
	}
	read = func(fid, tag int) {
		p9test.Tell(t, c, "Tread fid="+strconv.Itoa(fid)+" offset=0 count="+strconv.Itoa(lentSize)+" tag="+strconv.Itoa(tag))
	}
	flush = func(old int) { p9test.Say(t, c, "Tflush tag=1000 oldtag="+strconv.Itoa(old), "Rflush") }
	answer = func() {
		if msg := p9test.Read(t, c); p9srv.MsgType(msg[4]) != p9srv.Tread+1 || len(msg) != p9srv.ReadHeader+lentSize {
			t.Fatalf("%d bytes, type %d", len(msg), msg[4])
		}
	}
	return tree, read, flush, answer
}

// TestLentBytesAreBounded has many reads under way that will lend much: they
// count as those do that get a buffer.
func TestLentBytesAreBounded(t *testing.T) {
	tree, read, flush, answer := lending(t, &p9srv.Server{}, "stuck", "stuck")
	for tag := range 100 {
		read(1, tag)
	}
	flush(99) // all that came before were taken
	if most := tree.most.Load(); most > 21 {
		t.Errorf("%d reads of %d bytes at once", most, lentSize)
	}
	close(tree.release)
	for range 99 {
		answer()
	}
}

// TestBacklogOfADeafClient: what waited its turn waits for the client, too, to
// read what it was answered.
func TestBacklogOfADeafClient(t *testing.T) {
	const atOnce = 4
	tree, read, flush, answer := lending(t, &p9srv.Server{MaxRequests: atOnce}, "stuck", "quick")
	for tag := range atOnce {
		read(1, tag)
	}
	eventually(t, "reads begun", func() bool { return tree.reading.Load() == atOnce })
	const waiting = 100
	for tag := range waiting {
		read(2, 100+tag)
	}
	flush(9999) // so all of them wait
	close(tree.release)
	unread := atOnce + waiting
	for ; unread > 0; unread-- {
		if n := int(tree.reads.Load()) - (atOnce + waiting - unread); n > 2*atOnce+3 {
			t.Fatalf("%d answers of %d bytes wait to be read", n, lentSize)
		}
		answer()
	}
}
