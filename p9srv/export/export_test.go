package export

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/store"
	"bazil/store/vol"
)

// one is a device with a single volume.
type one struct{ v *vol.Volume }

func (o one) Volume(name string) (*vol.Volume, uint16, bool) { return o.v, 1, name == "files" }
func (o one) VolumeNames() []string                          { return []string{"files"} }

func newManager(t testing.TB) *Manager {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	must(t, store.Create(dir))
	s, err := store.Open(dir, store.Options{})
	must(t, err)
	key, err := s.SharingKey("default")
	must(t, err)
	o := vol.Options{Chunks: s.Chunks(), Sealer: store.NewSealer(key)}
	path := filepath.Join(dir, "v.db")
	must(t, vol.Create(path, vol.NewID(), o))
	v, err := vol.Open(path, o)
	must(t, err)
	m := &Manager{Root: &Root{Volumes: one{v}, Dir: dir}}
	t.Cleanup(func() { must(t, errors.Join(m.Close(), v.Close(), s.Close())) })
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve adds an export on a unix socket and returns the socket's path.
func serve(t *testing.T, m *Manager, name string, words ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	s, err := ParseSpec(name, "unix!"+path, words)
	must(t, err)
	must(t, m.Add(s))
	return path
}

func attach(t *testing.T, path, aname string, uid uint32) (*client.Fid, error) {
	t.Helper()
	nc, err := DialUnix(t.Context(), path)
	must(t, err)
	c, err := client.New(t.Context(), nc, client.Options{})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c.Attach(t.Context(), "", aname, uid)
}

func want(t *testing.T, what string, err error, want syscall.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// create makes a file in dir that uid sees, and writes text to it.
func create(t *testing.T, dir *client.Fid, name, text string, mode uint32) *client.Fid {
	t.Helper()
	f, err := dir.Walk(t.Context())
	must(t, err)
	must(t, f.Create(t.Context(), name, syscall.O_RDWR, mode, 0))
	_, err = f.WriteAt(t.Context(), []byte(text), 0)
	must(t, err)
	return f
}

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
	_, err = attach(t, ro, "../ctl", 0)
	want(t, "attach above the volume", err, syscall.EINVAL)
	_, err = attach(t, ro, "none", 0)
	want(t, "attach to nothing", err, syscall.ENOENT)
}

func TestModesHoldForOthers(t *testing.T) {
	const alice, bob = 70001, 70002 // nobody has these here
	m := newManager(t)
	sock := serve(t, m, "all", "volume=files")
	root, err := attach(t, sock, "", 0)
	must(t, err)
	must(t, root.SetAttr(t.Context(), p9srv.SetAttr{Valid: p9srv.SetMode, Mode: 0o1777}))
	hers, err := attach(t, sock, "", alice)
	must(t, err)
	f := create(t, hers, "private", "x", 0o600)
	if a, err := f.Attr(t.Context()); err != nil || a.UID != alice {
		t.Errorf("the file's owner is %d, %v", a.UID, err)
	}
	his, err := attach(t, sock, "", bob)
	must(t, err)
	g, err := his.Walk(t.Context(), "private")
	must(t, err)
	want(t, "open another's file", g.Open(t.Context(), syscall.O_RDONLY), syscall.EACCES)
	want(t, "chmod another's file", g.SetAttr(t.Context(), p9srv.SetAttr{Valid: p9srv.SetMode, Mode: 0o666}), syscall.EPERM)
	want(t, "unlink in a sticky directory", his.UnlinkAt(t.Context(), "private", 0), syscall.EPERM)
	must(t, f.SetAttr(t.Context(), p9srv.SetAttr{Valid: p9srv.SetMode, Mode: 0o400}))
	must(t, f.SetAttr(t.Context(), p9srv.SetAttr{Valid: p9srv.SetSize}))
	h, err := hers.Walk(t.Context(), "private")
	must(t, err)
	want(t, "open a read-only file to write", h.Open(t.Context(), syscall.O_WRONLY), syscall.EACCES)
}

func TestOwnerMapping(t *testing.T) {
	m := newManager(t)
	root, err := attach(t, serve(t, m, "vm", "volume=files", "owner=1234:1235"), "", 1234)
	must(t, err)
	f, err := root.Walk(t.Context())
	must(t, err)
	must(t, f.Create(t.Context(), "f", syscall.O_RDWR, 0o600, p9srv.NoUID))
	a, err := f.Attr(t.Context())
	must(t, err)
	if a.UID != 1234 || a.GID != 1235 {
		t.Errorf("the guest sees owner %d:%d", a.UID, a.GID)
	}
	host, err := attach(t, serve(t, m, "host", "volume=files"), "f", 0)
	must(t, err)
	if a, err = host.Attr(t.Context()); err != nil || a.UID != uint32(os.Getuid()) {
		t.Errorf("the host sees owner %d, %v", a.UID, err)
	}
}

func TestExportsComeAndGo(t *testing.T) {
	m := newManager(t)
	a, b := serve(t, m, "a"), serve(t, m, "b")
	stays, err := attach(t, b, "files", 0)
	must(t, err)
	if err := m.Add(Spec{Name: "a", Dial: "unix!/x"}); !errors.Is(err, ErrExists) {
		t.Errorf("a second export a: %v", err)
	}
	must(t, m.Remove(t.Context(), "a"))
	if err := m.Remove(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := os.Stat(a); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	if _, err := stays.Attr(t.Context()); err != nil {
		t.Errorf("the other export: %v", err)
	}
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
