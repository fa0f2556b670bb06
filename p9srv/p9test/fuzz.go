package p9test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Fuzz makes sessions of what a fuzzer finds: the first byte picks the dialect
// and how the others are read, as bytes of messages or as choices of whole
// ones. Seeds are the conversations in the folder dir.
func Fuzz(f *testing.F, dir string, play func(t *testing.T, version string, stream []byte)) {
	for _, seed := range seeds(f, dir) {
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
			stream = Choose(in[1:], version)
		}
		play(t, version, stream)
	})
}

// seeds are conversations as bytes.
func seeds(f *testing.F, dir string) (all [][]byte) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.txt"))
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
				if b, err := Encode(msg, version); err == nil {
					seed = append(seed, b...)
				}
			}
		}
		all = append(all, seed)
	}
	return all
}

// patience is how long a server may take to end a session that was cut: less
// than the 10 s after which a fuzzing process ends without a word.
const patience = 8 * time.Second

// Converse has serve take a connection on which a client attaches to aname,
// sends the stream, reads all replies and hangs up. serve must end then, and
// every goroutine of it.
func Converse(t *testing.T, serve func(net.Conn) error, version, aname string, stream []byte) {
	t.Helper()
	before := runtime.NumGoroutine()
	ours, theirs := socketPair(t)
	served := make(chan error, 1)
	go func() { served <- serve(theirs) }()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, ours)
	}()
	hello, err := Encode("Tversion tag=notag msize=8192 version="+version, version)
	if err != nil {
		t.Fatal(err)
	}
	root, err := Encode(`Tattach fid=0 uname=u aname="`+aname+`" n_uname=0`, version)
	if err != nil {
		t.Fatal(err)
	}
	ours.Write(append(append(hello, root...), stream...))
	ours.CloseWrite()
	select {
	case <-served:
	case <-time.After(patience):
		t.Fatal("the server goes on")
	}
	ours.Close()
	<-drained
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func socketPair(t testing.TB) (*net.UnixConn, net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		conns[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return conns[0].(*net.UnixConn), conns[1]
}
