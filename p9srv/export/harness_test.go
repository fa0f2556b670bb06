package export

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"bazil/merge"
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
	path := filepath.Join(dir, "v.db")
	must(t, vol.Create(path, vol.NewID(), vol.Options{}))
	m, end := openManager(t, dir)
	t.Cleanup(func() { must(t, end()) })
	return m
}

// openManager serves what is in the folder dir, until end is called.
func openManager(t testing.TB, dir string) (m *Manager, end func() error) {
	t.Helper()
	s, err := store.Open(dir, store.Options{})
	must(t, err)
	key, err := s.SharingKey("default")
	must(t, err)
	v, err := vol.Open(filepath.Join(dir, "v.db"), vol.Options{Chunks: s.Chunks(), Sealer: store.NewSealer(key)})
	must(t, err)
	m = &Manager{Root: &Root{Volumes: one{v}, Dir: dir}}
	return m, func() error { return errors.Join(m.Close(), v.Close(), s.Close()) }
}

func (m *Manager) volume() *vol.Volume { return m.Root.Volumes.(one).v }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve adds an export on a unix socket and returns the socket's path.
func serve(t testing.TB, m *Manager, name string, words ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	s, err := ParseSpec(name, "unix!"+path, words)
	must(t, err)
	must(t, m.Add(s))
	return path
}

func connect(t testing.TB, path string) *client.Conn {
	t.Helper()
	nc, err := DialUnix(t.Context(), path)
	must(t, err)
	c, err := client.New(t.Context(), nc, client.Options{})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func attach(t testing.TB, path, aname string, uid uint32) (*client.Fid, error) {
	t.Helper()
	return connect(t, path).Attach(t.Context(), "", aname, uid)
}

// volumeRoot serves a new volume and attaches to it as user 0.
func volumeRoot(t testing.TB) (*Manager, string, *client.Fid) {
	t.Helper()
	m := newManager(t)
	sock := serve(t, m, "all", "volume=files")
	root, err := attach(t, sock, "", 0)
	must(t, err)
	return m, sock, root
}

func want(t testing.TB, what string, err error, want syscall.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// create makes a file in dir that uid sees, and writes text to it.
func create(t testing.TB, dir *client.Fid, name, text string, mode uint32) *client.Fid {
	t.Helper()
	f := walk(t, dir)
	must(t, f.Create(t.Context(), name, syscall.O_RDWR, mode, p9srv.NoUID))
	_, err := f.WriteAt(t.Context(), []byte(text), 0)
	must(t, err)
	return f
}

func walk(t testing.TB, dir *client.Fid, names ...string) *client.Fid {
	t.Helper()
	f, err := dir.Walk(t.Context(), names...)
	must(t, err)
	return f
}

func open(t testing.TB, dir *client.Fid, flags uint32, names ...string) *client.Fid {
	t.Helper()
	f := walk(t, dir, names...)
	must(t, f.Open(t.Context(), flags))
	return f
}

func mkdir(t testing.TB, dir *client.Fid, name string, mode uint32) *client.Fid {
	t.Helper()
	_, err := dir.Mkdir(t.Context(), name, mode, p9srv.NoUID)
	must(t, err)
	return walk(t, dir, name)
}

func attr(t testing.TB, f *client.Fid) p9srv.Attr {
	t.Helper()
	a, err := f.Attr(t.Context())
	must(t, err)
	return a
}

func readOpen(t testing.TB, f *client.Fid) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := f.ReadAt(t.Context(), b, 0)
	must(t, err)
	return string(b[:n])
}

func chmod(t testing.TB, f *client.Fid, mode uint32) {
	t.Helper()
	must(t, f.SetAttr(t.Context(), p9srv.SetAttr{Valid: p9srv.SetMode, Mode: mode}))
}

func chown(uid, gid uint32) p9srv.SetAttr {
	return p9srv.SetAttr{Valid: p9srv.SetUID | p9srv.SetGID, UID: uid, GID: gid}
}

// listed lists a directory with reads of that size, calling between after each.
func listed(t testing.TB, dir *client.Fid, size uint32, between func(read int)) (all []string) {
	t.Helper()
	d := open(t, dir, syscall.O_RDONLY)
	defer d.Clunk(context.Background())
	for off := uint64(0); ; {
		entries, err := d.ReadDir(t.Context(), off, size)
		must(t, err)
		if len(entries) == 0 {
			return all
		}
		for _, e := range entries {
			all = append(all, e.Name)
			off = e.Offset
		}
		if between != nil {
			between(len(all))
		}
	}
}

// fill makes n empty files, by the volume itself.
func fill(t testing.TB, dir *vol.Node, n int, name func(int) string) {
	t.Helper()
	for i := range n {
		_, err := dir.Create(t.Context(), name(i), vol.New{Kind: merge.KindFile, Mode: 0o644})
		must(t, err)
	}
}

// eventually waits until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("not: ", what)
		}
	}
}
