package p9srv_test

import (
	"encoding/binary"
	"net"
	"os"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/p9test"
)

// FuzzSession sends a server what it likes and hangs up. Whatever comes, the
// server must end, without anything of the tree held.
func FuzzSession(f *testing.F) {
	p9test.Fuzz(f, "testdata", func(t *testing.T, version string, stream []byte) {
		tree := newMemTree()
		tree.limit = 1 << 20
		s := &p9srv.Server{Tree: tree, MaxRequests: 4, MaxFids: 64, MaxMsize: 1 << 16}
		p9test.Converse(t, func(c net.Conn) error { return s.ServeConn(t.Context(), c) }, version, "", stream)
		if n, f := tree.nodes.Load(), tree.files.Load(); n != 0 || f != 0 {
			t.Fatalf("%d nodes and %d files are held", n, f)
		}
	})
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
