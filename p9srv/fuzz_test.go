package p9srv_test

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv"
	"bazil/p9srv/p9test"
)

// FuzzSession sends a server what it likes and hangs up. The first byte picks
// the dialect and how the others are read: as bytes of messages, or as choices
// of messages that are whole. Whatever comes, the server must end, without
// anything of the tree held.
func FuzzSession(f *testing.F) {
	for _, seed := range traceSeeds(f) {
		f.Add(seed)
	}
	for mode := range byte(6) {
		f.Add(append([]byte{mode}, strings.Repeat("\x00\x01\x02\x03\x05\x08\x0d\x15\x22\x37\x59\x90\xe9", 20)...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 || len(in) > 1<<16 {
			return
		}
		version := []string{"9P2000.L", "9P2000", "9P2000.u"}[in[0]%3]
		stream := in[1:]
		if in[0]%6 >= 3 {
			stream = p9test.Choose(in[1:], version)
		}
		fuzzSession(t, version, stream)
	})
}

// traceSeeds are the conversations in testdata as bytes.
func traceSeeds(f *testing.F) (seeds [][]byte) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		mode, version := byte(0), "9P2000.L"
		switch filepath.Base(file)[0] {
		case 'p':
			mode, version = 1, "9P2000"
		case 'u':
			mode, version = 2, "9P2000.u"
		}
		seed := []byte{mode}
		for line := range strings.Lines(string(text)) {
			if msg, ok := strings.CutPrefix(strings.TrimSpace(line), "> "); ok && !strings.Contains(msg, "$") {
				if b, err := p9test.Encode(msg, version); err == nil {
					seed = append(seed, b...)
				}
			}
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

// fuzzSession plays a stream of messages to a server of a small tree.
func fuzzSession(t *testing.T, version string, stream []byte) {
	tree := newMemTree()
	tree.limit = 1 << 20
	s := &p9srv.Server{Tree: tree, MaxRequests: 4, MaxFids: 64, MaxMsize: 1 << 16}
	ours, theirs := socketPair(t)
	served := make(chan error, 1)
	go func() { served <- s.ServeConn(t.Context(), theirs) }()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, ours)
	}()
	hello, err := p9test.Encode("Tversion tag=notag msize=8192 version="+version, version)
	check(t, err)
	root, err := p9test.Encode(`Tattach fid=0 uname=u aname="" n_uname=0`, version)
	check(t, err)
	ours.Write(append(append(hello, root...), stream...))
	ours.CloseWrite()
	select {
	case <-served:
	case <-time.After(20 * time.Second):
		t.Fatal("the server goes on")
	}
	ours.Close()
	<-drained
	if n, f := tree.nodes.Load(), tree.files.Load(); n != 0 || f != 0 {
		t.Fatalf("%d nodes and %d files are held", n, f)
	}
}

func socketPair(t testing.TB) (*net.UnixConn, net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	check(t, err)
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		conns[i], err = net.FileConn(f)
		f.Close()
		check(t, err)
	}
	return conns[0].(*net.UnixConn), conns[1]
}

// FuzzDecoder takes fields off bytes.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("1248sq"), []byte("\x01\x02\x00\x03\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, kinds, in []byte) {
		d := p9srv.NewDecoder(in)
		var again []byte
		for _, k := range kinds {
			if d.Bad() {
				break
			}
			left := d.Len()
			var b []byte
			switch k {
			case '1':
				b = []byte{d.U8()}
			case '2':
				b = binary.LittleEndian.AppendUint16(nil, d.U16())
			case '4':
				b = binary.LittleEndian.AppendUint32(nil, d.U32())
			case '8':
				b = binary.LittleEndian.AppendUint64(nil, d.U64())
			case 's':
				b = p9srv.AppendString(nil, d.String())
			case 'q':
				b = p9srv.AppendQID(nil, d.QID())
			default:
				b = append(b, d.Bytes(int(k))...)
			}
			if !d.Bad() {
				again = append(again, b...)
				if left-d.Len() != len(b) {
					t.Fatalf("%c took %d bytes for %d", k, left-d.Len(), len(b))
				}
			}
		}
		if len(again) > len(in) || string(again) != string(in[:len(again)]) {
			t.Fatalf("%q became %q", in, again)
		}
	})
}
