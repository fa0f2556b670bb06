package p9srv_test

import (
	"context"
	"encoding/binary"
	"net"
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

const stuckSize = 250000

// stuckReads has as many connections as given ask for 60 reads each, which lend
// stuckSize bytes and do not end before release, and returns them.
func stuckReads(t *testing.T, path string, conns int) []net.Conn {
	var all []net.Conn
	for range conns {
		c := raw(t, path, 256<<10)
		p9test.Say(t, c, "Twalk fid=0 newfid=1 names=stuck", "Rwalk")
		p9test.Say(t, c, "Tlopen fid=1 flags=0", "Rlopen")
		for tag := range 60 {
			p9test.Tell(t, c, "Tread fid=1 offset=0 count="+strconv.Itoa(stuckSize)+" tag="+strconv.Itoa(tag))
		}
		all = append(all, c)
	}
	for _, c := range all {
		p9test.Say(t, c, "Tflush tag=1000 oldtag=59", "Rflush") // all that came before were taken
	}
	return all
}

// TestMemoryOfAllConnections: what they hold together is bounded, there is some
// of it for who comes last, and those that have too much go on when their
// own is done.
func TestMemoryOfAllConnections(t *testing.T) {
	const limit, conns = 24 << 20, 4
	tree := newSlowTree()
	tree.lends = true
	path := listen(t, &p9srv.Server{Tree: tree, MaxMemory: limit})
	all := stuckReads(t, path, conns)
	if most := int(tree.most.Load()); most*stuckSize > limit || most < conns {
		t.Errorf("%d reads of %d bytes at once with a bound of %d", most, stuckSize, limit)
	}
	late := raw(t, path, 1<<20)
	p9test.Say(t, late, "Twalk fid=0 newfid=1 names=quick", "Rwalk")
	p9test.Say(t, late, "Tlopen fid=1 flags=0", "Rlopen")
	for range 3 {
		p9test.Say(t, late, "Tread fid=1 offset=0 count="+strconv.Itoa(stuckSize), "Rread")
	}
	close(tree.release)
	for _, c := range all {
		for range 59 {
			if msg := p9test.Read(t, c); p9srv.MsgType(msg[4]) != p9srv.Tread+1 {
				t.Fatalf("type %d", msg[4])
			}
		}
	}
}

// TestMessagesShrink: where messages would take too much memory, who comes late
// gets smaller ones, and full ones again when others have gone.
func TestMessagesShrink(t *testing.T) {
	const limit = 64 << 20
	path := listen(t, &p9srv.Server{Tree: newSlowTree(), MaxMemory: limit, MaxMsize: 1 << 20})
	var all []net.Conn
	var sizes []uint32
	sum := uint32(0)
	for i := range 100 {
		c := dial(t, path)
		all, sizes = append(all, c), append(sizes, agreed(t, c))
		sum += sizes[i]
	}
	if sizes[0] != 1<<20 || sizes[99] != 64<<10 || sum > limit/4+100*64<<10 {
		t.Errorf("together %d: %d", sum, sizes)
	}
	for _, c := range all {
		c.Close()
	}
	eventually(t, "memory given back", func() bool {
		c := dial(t, path)
		defer c.Close() // those who ask must not be the ones who take it
		return agreed(t, c) == 1<<20
	})
}

// agreed is the size that the server agrees to when it is asked for 1 MiB.
func agreed(t *testing.T, c net.Conn) uint32 {
	p9test.Tell(t, c, "Tversion tag=notag msize=1048576 version=9P2000.L")
	return binary.LittleEndian.Uint32(p9test.Read(t, c)[p9srv.HeaderSize:])
}

// TestFidsTakeMemory: a connection does not get more fids than memory is left for.
func TestFidsTakeMemory(t *testing.T) {
	path := listen(t, &p9srv.Server{Tree: newSlowTree(), MaxMemory: 4 << 20})
	c := raw(t, path, 64<<10)
	n := 1
	for ; n < 1<<16; n++ {
		p9test.Tell(t, c, "Twalk fid=0 newfid="+strconv.Itoa(n))
		if msg := p9test.Read(t, c); p9srv.MsgType(msg[4]) != p9srv.Twalk+1 {
			break
		}
	}
	if n < 1024 || n > 4<<20/512 {
		t.Errorf("%d fids", n)
	}
	p9test.Say(t, c, "Tclunk fid=1", "Rclunk")
	p9test.Say(t, c, "Twalk fid=0 newfid=1", "Rwalk")
}
