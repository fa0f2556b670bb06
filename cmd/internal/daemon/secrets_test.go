package daemon

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/ctlfs"
	"bazil/store"
)

// writer is a buffer for many.
type writer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *writer) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// TestKeysStayInside: no command, no file of ctl, no event, no error and no
// line of the log has the bytes of a key in any form.
func TestKeysStayInside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := store.Create(dir); err != nil {
		t.Fatal(err)
	}
	said := new(writer)
	d := New(Options{Dir: dir, Addr: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { d.Close() }()
	friends := bytes.Repeat([]byte("0aZ~"), 8)
	if err := (keyring{d}).Add(t.Context(), "friends", friends); err != nil {
		t.Fatal(err)
	}
	must(t, d, "volume create v sharing=friends")
	write(t, d, "v/f", noise(1, 300<<10))
	must(t, d, "snapshot create v s")
	v, _, ok := d.Volume("v")
	if !ok {
		t.Fatal("the volume is gone")
	}
	info, err := v.SnapshotInfo(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	u := user{t, attach(t, d, "")}
	for _, v := range ctlfs.Verbs() {
		if strings.HasPrefix(v.Name, "peer location") || strings.HasPrefix(v.Name, "volume remove") {
			continue // the others are to find nobody to wait for, and the volume
		}
		for _, line := range []string{v.Name, v.Example, strings.NewReplacer("myfiles", "v", "before-the-move", "s").Replace(v.Example)} {
			said.Write([]byte(u.answer(line)))
		}
	}
	for _, line := range []string{"", "status", "snapshot pointer v s"} {
		said.Write([]byte(u.answer(line)))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	damageAll(t, dir)
	d = New(Options{Dir: dir, Addr: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, err := open(t.Context(), attach(t, d, ""), "v/f")
	if err == nil {
		_, err = f.ReadAt(t.Context(), make([]byte, 1<<20), 0)
	}
	said.Write([]byte(errorText(err)))
	secret := d.store.SecretKey()
	pointer := info.Pointer.Append(nil)
	for what, key := range map[string][]byte{"device key": secret[:], "sharing key": friends, "chunk key": pointer[len(store.ID{}):]} {
		for how, form := range map[string]string{
			"raw": string(key), "hexadecimal": hex.EncodeToString(key),
			"base64": base64.RawStdEncoding.EncodeToString(key[:30]), "base64url": base64.RawURLEncoding.EncodeToString(key[:30]),
		} {
			if strings.Contains(strings.ToLower(said.String()), strings.ToLower(form)) {
				t.Errorf("the %s is told in %s", what, how)
			}
		}
	}
	if len(said.String()) < 10000 {
		t.Error("too little was said for a test of it")
	}
}

// TestAllIsPrivate: whatever the umask says, nobody else may look at anything in a
// data directory.
func TestAllIsPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	d, _ := shared(t, noise(1, 900<<10))
	must(t, d, "snapshot create v s")
	seen := 0
	err := filepath.WalkDir(d.o.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if fi.IsDir() {
			want = 0o700
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o", path, got)
		}
		seen++
		return nil
	})
	if err != nil || seen < 10 {
		t.Fatal(err, seen)
	}
}

// answer runs a command, and returns what the client reads: the answer or the
// error; for no command, the configuration.
func (u user) answer(line string) string {
	f, err := u.root.Walk(u.t.Context(), "ctl", "ctl")
	if err == nil {
		err = f.Open(u.t.Context(), syscall.O_RDWR)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	defer f.Clunk(u.t.Context())
	if line != "" {
		f.WriteAt(u.t.Context(), []byte(line), 0) // the error is read back
	}
	p := make([]byte, 1<<16)
	n, err := f.ReadAt(u.t.Context(), p, 0)
	if err != nil {
		u.t.Fatalf("the answer to %q: %v", line, err)
	}
	return string(p[:n])
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
