package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/ctlfs"
	"bazil/noiseconn"
	"bazil/noiseconn/peer"
	"bazil/p9srv"
	"bazil/p9srv/client"
	"bazil/p9srv/export"
	"bazil/store"
)

func TestEveryVerbHasAHandler(t *testing.T) {
	handlers := New(Options{}).handlers()
	for _, v := range ctlfs.Verbs() {
		if handlers[v.Name] == nil && v.Name != "help" {
			t.Errorf("nothing does %q", v.Name)
		}
		delete(handlers, v.Name)
	}
	for name := range handlers {
		t.Errorf("no command is called %q", name)
	}
}

// start starts a server on a new data directory, or on dir.
func start(t testing.TB, dir string) *Daemon {
	t.Helper()
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "data")
		if err := store.Create(dir); err != nil {
			t.Fatal(err)
		}
	}
	d := New(Options{Dir: dir, Addr: "127.0.0.1:0"})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// connect connects to the server's own socket.
func connect(t testing.TB, d *Daemon) *client.Conn {
	t.Helper()
	nc, err := export.DialUnix(t.Context(), filepath.Join(d.store.Dir(), SocketName))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(t.Context(), nc, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// attach shows the tree for as long as the test takes.
func attach(t testing.TB, d *Daemon, aname string) *client.Fid {
	t.Helper()
	c := connect(t, d)
	t.Cleanup(func() { c.Close() })
	return attachTo(t, c, aname)
}

func attachTo(t testing.TB, c *client.Conn, aname string) *client.Fid {
	t.Helper()
	f, err := c.Attach(t.Context(), "glenda", aname, p9srv.NoUID)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ctl runs a command through 9P and returns its answer.
func ctl(t testing.TB, d *Daemon, line string) (string, error) {
	t.Helper()
	c := connect(t, d)
	defer c.Close()
	f, err := attachTo(t, c, "ctl").Walk(t.Context(), "ctl")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(t.Context(), syscall.O_RDWR); err != nil {
		t.Fatal(err)
	}
	_, failed := f.WriteAt(t.Context(), []byte(line), 0)
	p := make([]byte, 1<<16)
	n, err := f.ReadAt(t.Context(), p, 0)
	if err != nil {
		t.Fatal(err)
	}
	if failed != nil {
		return "", fmt.Errorf("%w: %s", failed, p[:n])
	}
	return string(p[:n]), nil
}

// must runs commands that must succeed.
func must(t testing.TB, d *Daemon, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if _, err := ctl(t, d, line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func someKey() noiseconn.PublicKey { return noiseconn.NewSecretKey().Public() }

func TestTwoServersOnOneDirectory(t *testing.T) {
	d := start(t, "")
	second := New(Options{Dir: d.store.Dir()})
	if err := second.Start(t.Context()); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second server: %v", err)
	}
	must(t, d, "volume create still-works")
}

func TestPreferredPort(t *testing.T) {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", DefaultPort))
	if err == nil {
		defer l.Close()
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := store.Create(dir); err != nil {
		t.Fatal(err)
	}
	d := New(Options{Dir: dir})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if port := d.Addr().(*net.TCPAddr).Port; port == DefaultPort || port == 0 {
		t.Errorf("port %d, though that is taken", port)
	}
	taken := New(Options{Dir: dir + "2", Addr: d.Addr().String()})
	if err := store.Create(dir + "2"); err != nil {
		t.Fatal(err)
	}
	if err := taken.Start(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an address that was asked for and is taken: %v", err)
	}
}

func TestPeersSeeWhatTheyAreAllowed(t *testing.T) {
	d := start(t, "")
	key := someKey()
	b := backend{d}
	must(t, d, "volume create a", "volume create b", "peer add "+key.String()+" black")
	if _, err := b.Volume(key, "a"); !errors.Is(err, peer.ErrDenied) || !strings.Contains(err.Error(), "bazil peer volume allow "+key.String()+" a") {
		t.Errorf("a volume that is not allowed: %v", err)
	}
	if _, err := b.Chunks(key, "local"); !errors.Is(err, peer.ErrDenied) || !strings.Contains(err.Error(), "bazil peer storage allow "+key.String()+" local") {
		t.Errorf("storage that is not allowed: %v", err)
	}
	must(t, d, "peer volume allow black a", "peer storage allow black local", "peer volume allow black a")
	if v, err := b.Volume(key, "a"); v == nil || err != nil {
		t.Errorf("an allowed volume: %v", err)
	}
	if c, err := b.Chunks(key, "local"); c == nil || err != nil {
		t.Errorf("allowed storage: %v", err)
	}
	if got := b.Volumes(key); !slices.Equal(got, []string{"a"}) {
		t.Errorf("it sees %q", got)
	}
	if _, err := b.Volume(key, "nonesuch"); !errors.Is(err, peer.ErrDenied) {
		t.Errorf("a volume that is not there: %v", err)
	}
	must(t, d, "volume remove a", "volume create a")
	if _, err := b.Volume(key, "a"); !errors.Is(err, peer.ErrDenied) {
		t.Errorf("a new volume of an old name: %v", err)
	}
	must(t, d, "peer storage revoke black local", "peer remove black")
	if _, err := b.Chunks(key, "local"); !errors.Is(err, peer.ErrDenied) || d.known(key) {
		t.Errorf("a removed peer: %v", err)
	}
}

func TestStrangersAndRemovedPeersAreHungUpOn(t *testing.T) {
	d := start(t, "")
	key := noiseconn.NewSecretKey()
	cfg := noiseconn.Config{Key: key}
	if _, err := noiseconn.Dial(t.Context(), cfg, d.Addr().String(), d.key.Public()); !errors.Is(err, noiseconn.ErrRefused) {
		t.Errorf("a stranger: %v", err)
	}
	must(t, d, "peer add "+key.Public().String())
	c, err := noiseconn.Dial(t.Context(), cfg, d.Addr().String(), d.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must(t, d, "peer remove "+key.Public().String())
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a removed peer's connection: %v", err)
	}
}

// TestCommandsAtOnce makes and removes the same things from many sides: what
// is recorded and what is open must agree at the end.
func TestCommandsAtOnce(t *testing.T) {
	d := start(t, "")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 6 {
				name := fmt.Sprint((i + j) % 3)
				if i%2 == 0 {
					ctl(t, d, "volume create "+name)
					ctl(t, d, "export add "+name+" unix!"+filepath.Join(d.store.Dir(), "x"+name))
				} else {
					ctl(t, d, "export remove "+name)
					ctl(t, d, "volume remove "+name+" delete")
				}
			}
		})
	}
	wg.Wait()
	var recorded, exported []string
	if err := d.view(func(tx *store.Tx) error {
		volumes, err := listVolumes(tx)
		for _, v := range volumes {
			recorded = append(recorded, v.name)
		}
		exports, err2 := listExports(tx)
		for _, e := range exports {
			exported = append(exported, e.name)
		}
		return errors.Join(err, err2)
	}); err != nil {
		t.Fatal(err)
	}
	if open := d.VolumeNames(); !slices.Equal(open, recorded) {
		t.Errorf("open are %q, recorded %q", open, recorded)
	}
	var running []string
	for _, s := range d.exports.List() {
		if s.Spec.Name != ownExport {
			running = append(running, s.Spec.Name)
		}
	}
	if !slices.Equal(running, exported) {
		t.Errorf("exports running %q, recorded %q", running, exported)
	}
	files, err := filepath.Glob(filepath.Join(d.store.Dir(), "volumes", "*.db"))
	if err != nil || len(files) != len(recorded) {
		t.Errorf("%d files for %d volumes, %v", len(files), len(recorded), err)
	}
}

func TestChangesTellQIDPaths(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v")
	root := attach(t, d, "")
	for _, path := range []string{"ctl/changes", "ctl/volumes/v/changes"} {
		f, err := root.Walk(t.Context(), strings.Split(path, "/")...)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Open(t.Context(), syscall.O_RDONLY); err != nil {
			t.Fatal(err)
		}
		dir, err := root.Walk(t.Context(), "v")
		if err != nil {
			t.Fatal(err)
		}
		want := dir.QID().Path
		if err := dir.Create(t.Context(), strings.ReplaceAll(path, "/", "-"), syscall.O_WRONLY, 0o644, 0); err != nil {
			t.Fatal(err)
		}
		if got := waitChange(t, f, want); !slices.Contains(got, want) {
			t.Errorf("%s tells %d, want %d among them", path, got, want)
		}
	}
}

// waitChange reads a changes file until it tells of a path.
func waitChange(t *testing.T, f *client.Fid, want uint64) []uint64 {
	t.Helper()
	var seen []uint64
	p := make([]byte, 1<<16)
	for !slices.Contains(seen, want) {
		n, err := f.Read1(t.Context(), p, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		paths, all, err := ctlfs.ParseChanges(string(p[:n]))
		if err != nil || all {
			t.Fatalf("%q: %v", p[:n], err)
		}
		seen = append(seen, paths...)
	}
	return seen
}

func TestStatusHasNoSecrets(t *testing.T) {
	d := start(t, "")
	secret := bytes.Repeat([]byte{'S'}, 32)
	if err := (keyring{d}).Add(t.Context(), "friends", secret); err != nil {
		t.Fatal(err)
	}
	must(t, d, "volume create v sharing=friends")
	for _, line := range []string{"status", "sharing list", "volume list", ""} {
		got, err := ctl(t, d, line)
		if err != nil || strings.Contains(got, "SSSS") || strings.Contains(got, "53535353") {
			t.Errorf("%q tells %s, %v", line, got, err)
		}
	}
}

func TestCloseEndsBlockedReaders(t *testing.T) {
	d := start(t, "")
	f, err := attach(t, d, "ctl").Walk(t.Context(), "log")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(t.Context(), syscall.O_RDONLY); err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		for {
			if _, err := f.Read1(context.Background(), make([]byte, 4096), 0); err != nil {
				read <- err
				return
			}
		}
	}()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; err == nil {
		t.Error("the reader got no error")
	}
}

// listenSilently listens where nobody ever answers.
func listenSilently(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
