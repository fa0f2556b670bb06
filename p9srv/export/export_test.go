package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
)

func TestRootListsVolumes(t *testing.T) {
	m := newManager(t)
	root, err := attach(t, serve(t, m, "all"), "", 0)
	must(t, err)
	must(t, root.Open(t.Context(), syscall.O_RDONLY))
	entries, err := root.ReadDir(t.Context(), 0, 8192)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != ". .. files" {
		t.Errorf("the root lists %q", got)
	}
}

func TestReadOnlyVolumeExport(t *testing.T) {
	m := newManager(t)
	files, err := attach(t, serve(t, m, "rw", "volume=files"), "", 0)
	must(t, err)
	create(t, files, "f", "text", 0o644)
	_, err = files.Mkdir(t.Context(), "sub", 0o755, 0)
	must(t, err)

	ro := serve(t, m, "ro", "volume=files", "ro")
	root, err := attach(t, ro, "", 0)
	must(t, err)
	_, err = root.Mkdir(t.Context(), "d", 0o755, 0)
	want(t, "mkdir", err, syscall.EROFS)
	want(t, "unlink", root.UnlinkAt(t.Context(), "f", 0), syscall.EROFS)
	f, err := root.Walk(t.Context(), "f")
	must(t, err)
	want(t, "chmod", f.SetAttr(t.Context(), p9srv.SetAttr{Valid: p9srv.SetMode, Mode: 0o600}), syscall.EROFS)
	want(t, "open to write", f.Open(t.Context(), syscall.O_RDWR), syscall.EROFS)
	must(t, f.Open(t.Context(), syscall.O_RDONLY))
	if _, err := attach(t, ro, "sub", 0); err != nil {
		t.Errorf("attach to a directory: %v", err)
	}
	if a, err := root.Attr(t.Context()); err != nil || a.Mode&0o777 == 0 {
		t.Errorf("its root: %o, %v", a.Mode, err)
	}
	_, err = attach(t, ro, "../ctl", 0)
	want(t, "attach above the volume", err, syscall.EINVAL)
	_, err = attach(t, ro, "none", 0)
	want(t, "attach to nothing", err, syscall.ENOENT)
}

// TestExportsComeAndGo adds and removes exports while bytes go through another.
func TestExportsComeAndGo(t *testing.T) {
	m := newManager(t)
	a, b := serve(t, m, "a"), serve(t, m, "b")
	stays, err := attach(t, b, "files", 0)
	must(t, err)
	var moved atomic.Int64
	end := transfer(t, create(t, stays, "moving", "", 0o644), &moved)
	for range 5 {
		before := moved.Load()
		eventually(t, "bytes moved", func() bool { return moved.Load() > before })
		if err := m.Add(Spec{Name: "a", Dial: "unix!/x"}); !errors.Is(err, ErrExists) {
			t.Errorf("a second export a: %v", err)
		}
		leaves, err := attach(t, a, "files", 0)
		must(t, err)
		must(t, m.Remove(t.Context(), "a"))
		if _, err := leaves.Attr(t.Context()); err == nil {
			t.Error("a connection of an export that was removed goes on")
		}
		if err := m.Remove(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		if _, err := os.Stat(a); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket stays: %v", err)
		}
		a = serve(t, m, "a")
	}
	if err := end(); err != nil {
		t.Errorf("the other export after %d bytes: %v", moved.Load(), err)
	}
}

// transfer writes to f and reads it again until end is called, and counts the
// bytes that were right.
func transfer(t *testing.T, f *client.Fid, moved *atomic.Int64) (end func() error) {
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		data := make([]byte, 1<<20)
		got := make([]byte, len(data))
		for i := byte(0); ; i++ {
			for j := range data {
				data[j] = i + byte(j>>8)
			}
			_, err := f.WriteAt(t.Context(), data, 0)
			if err == nil {
				_, err = f.ReadAt(t.Context(), got, 0)
			}
			if err == nil && !bytes.Equal(got, data) {
				err = errors.New("other bytes came back")
			}
			select {
			case <-stop:
				done <- err
				return
			default:
			}
			if err != nil {
				done <- err
				return
			}
			moved.Add(int64(len(data)))
		}
	}()
	return func() error {
		close(stop)
		return <-done
	}
}

// TestAddRefused leaves nothing of an export that cannot listen, and says why.
func TestAddRefused(t *testing.T) {
	m := newManager(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for dial, want := range map[string]string{
		"tcp!127.0.0.1!" + port:                 "address already in use",
		"unix!" + t.TempDir() + "/none/s":       "no such file or directory",
		"unix!" + serve(t, m, "own"):            "another server answers there",
		"fd!0":                                  "descriptors 0 to 2",
		"fd!999":                                "was not started with it",
		fmt.Sprint("fd!", descriptor(t, taken)): "was not started with it",
		"unix!" + t.TempDir() + "/" + strings.Repeat("s", 200): "a socket's own name",
	} {
		s, err := ParseSpec("x", dial, nil)
		must(t, err)
		if err := m.Add(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", dial, err, want)
		}
		if len(m.List()) != 1 {
			t.Errorf("%s: %v are left", dial, m.List())
		}
	}
}

// descriptor is a listener's own, which is none that the process was started with.
func descriptor(t *testing.T, l net.Listener) (n uintptr) {
	t.Helper()
	c, err := l.(*net.TCPListener).SyscallConn()
	must(t, err)
	must(t, c.Control(func(fd uintptr) { n = fd }))
	return n
}

// TestInheritedSocket serves a listening socket and a connected one that come
// through exec.
func TestInheritedSocket(t *testing.T) {
	m := newManager(t)
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	defer syscall.Close(fds[1])
	must(t, m.Add(Spec{Name: "pair", Dial: fmt.Sprint("fd!", fds[1])}))
	f := os.NewFile(uintptr(fds[0]), "ours")
	nc, err := net.FileConn(f)
	f.Close()
	must(t, err)
	c, err := client.New(t.Context(), nc, client.Options{})
	must(t, err)
	defer c.Close()
	_, err = c.Attach(t.Context(), "", "files", 0)
	must(t, err)
	must(t, m.Remove(t.Context(), "pair"))
}

func TestConnectionLimit(t *testing.T) {
	m := newManager(t)
	sock := serve(t, m, "few", "conns=1")
	_, err := attach(t, sock, "files", 0)
	must(t, err)
	nc, err := DialUnix(t.Context(), sock)
	must(t, err)
	if _, err := client.New(t.Context(), nc, client.Options{}); err == nil {
		t.Error("a second connection was served")
	}
}

func TestUnixSockets(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100), strings.Repeat("e", 100))
	must(t, os.MkdirAll(long, 0o755))
	for _, path := range []string{filepath.Join(t.TempDir(), "s"), filepath.Join(long, "s")} {
		l, err := ListenUnix(path)
		must(t, err)
		_, err = ListenUnix(path)
		want(t, "a second listener", err, syscall.EADDRINUSE)
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
		must(t, l.Close())
		left, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "t")})
		must(t, err)
		left.SetUnlinkOnClose(false)
		stale := left.Addr().String()
		left.Close()
		l, err = ListenUnix(stale)
		must(t, err)
		must(t, l.Close())
	}
	plain := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(plain, nil, 0o600))
	_, err := ListenUnix(plain)
	want(t, "a file in the way", err, syscall.EEXIST)
	_, err = DialUnix(context.Background(), plain+"no")
	want(t, "nobody there", err, syscall.ENOENT)
}
