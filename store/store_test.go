package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// newDir makes a data directory.
func newDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCreateOpen(t *testing.T) {
	dir := newDir(t)
	if err := Create(dir); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), dir) {
		t.Errorf("created twice: %v", err)
	}
	pub, err := PublicKey(dir)
	if err != nil || len(pub) != 64 {
		t.Fatalf("public key %q: %v", pub, err)
	}
	s := mustOpen(t, dir, Options{})
	if got, _ := s.secrets.public(); got != pub || s.Dir() != dir || s.SecretKey() == [32]byte{} {
		t.Errorf("public key %s, file says %s", got, pub)
	}
	if got := s.SharingKeys(); len(got) != 1 || got[0] != DefaultSharingKey {
		t.Errorf("sharing keys %q", got)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: %v", err)
	}
	if got, err := PublicKey(dir); err != nil || got != pub {
		t.Errorf("public key while open: %v", err)
	}
	mustClose(t, s)
	mustClose(t, mustOpen(t, dir, Options{}))
	checkTreeModes(t, dir)
}

// TestCloseFreesLock closes a store while something else has its lock file
// open, as a child between fork and exec has.
func TestCloseFreesLock(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{})
	child, err := syscall.Dup(int(s.lock.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	mustClose(t, s)
	mustClose(t, mustOpen(t, dir, Options{}))
}

func checkTreeModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(dir); err == nil || !strings.Contains(err.Error(), "mine") {
		t.Errorf("created in a directory in use: %v", err)
	}
	if err := Create(filepath.Join(dir, "mine")); err == nil {
		t.Error("created over a file")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left something: %v", entries)
	}
}

// TestCreateInterrupted cuts creation short after each of its steps.
func TestCreateInterrupted(t *testing.T) {
	whole := newDir(t)
	for _, present := range [][]string{
		{},
		{lockFile},
		{lockFile, formatNewFile},
		{lockFile, formatNewFile, keyFile},
		{lockFile, formatNewFile, keyFile, pubkeyFile, chunksDir},
		{lockFile, formatNewFile, keyFile, pubkeyFile, chunksDir, indexDir, configFile},
	} {
		dir := t.TempDir()
		for _, name := range present {
			b, err := os.ReadFile(filepath.Join(whole, name))
			switch {
			case name == chunksDir || name == indexDir:
				err = os.Mkdir(filepath.Join(dir, name), 0o700)
			case name == formatNewFile:
				err = os.WriteFile(filepath.Join(dir, name), []byte(formatText)[:5], 0o600)
			case err == nil:
				err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(dir, Options{}); err == nil {
			t.Errorf("%v: opened", present)
		}
		if err := Create(dir); err != nil {
			t.Errorf("%v: %v", present, err)
		}
		s := mustOpen(t, dir, Options{})
		if _, err := s.SharingKey(DefaultSharingKey); err != nil {
			t.Error(err)
		}
		mustClose(t, s)
	}
}

func TestOpenRefusesModes(t *testing.T) {
	for _, name := range []string{"", keyFile, configFile, chunksDir, indexDir} {
		dir := newDir(t)
		path := filepath.Join(dir, name)
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, fi.Mode().Perm()|0o040); err != nil {
			t.Fatal(err)
		}
		_, err = Open(dir, Options{})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("chmod %04o %s", fi.Mode().Perm(), path)) {
			t.Errorf("%q open to others: %v", name, err)
		}
	}
}

func TestOpenRefusesVersions(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  error
		told  string
	}{
		"format": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, formatFile), []byte("bazil data directory\nversion 7\n"), 0o600)
		}, ErrVersion, "version 7"},
		"format is something else": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, formatFile), []byte("PK\x03\x04"), 0o600)
		}, ErrDamaged, ""},
		"key": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, keyFile), []byte("bazil key 2\nplain\n"), 0o600)
		}, ErrVersion, `"bazil key 2", known is "bazil key 1"`},
		"key wrapping": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, keyFile), []byte("bazil key 1\nscrypt 5\n00\n"), 0o600)
		}, ErrVersion, `"scrypt 5", known are plain and argon2id`},
		"no data directory": {func(dir string) error {
			return os.Remove(filepath.Join(dir, formatFile))
		}, os.ErrNotExist, ""},
		"configuration": {func(dir string) error {
			c, err := openConfig(filepath.Join(dir, configFile))
			if err != nil {
				return err
			}
			tx, err := c.db.db.Begin(true)
			if err != nil {
				return err
			}
			return errors.Join(tx.Bucket(metaBucket).Put(versionKey, []byte("9")), tx.Commit(), c.close())
		}, ErrVersion, `"9", known is "1"`},
	} {
		dir := newDir(t)
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), c.told) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}

func TestSharingKeys(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{})
	key := testKey()
	if err := s.AddSharingKey("friends", key); err != nil {
		t.Fatal(err)
	}
	if err := s.AddSharingKey("friends", NewSharingKey()); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "friends") {
		t.Errorf("added twice: %v", err)
	}
	mustClose(t, s)
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	if got, err := s.SharingKey("friends"); err != nil || !got.Equal(key) {
		t.Errorf("read back: %v", err)
	}
	if got := fmt.Sprint(s.SharingKeys()); got != "[default friends]" {
		t.Errorf("names %s", got)
	}
	if len(key.Fingerprint()) != 32 || key.Fingerprint() == NewSharingKey().Fingerprint() {
		t.Errorf("fingerprint %s", key.Fingerprint())
	}
	if err := s.RemoveSharingKey("friends"); err != nil {
		t.Error(err)
	}
	if err := s.RemoveSharingKey("friends"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := s.SharingKey("friends"); !errors.Is(err, ErrNotFound) {
		t.Errorf("read after removal: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\nb", "\xff", strings.Repeat("x", 256)} {
		if err := s.AddSharingKey(name, key); err == nil {
			t.Errorf("name %q accepted", name)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil || bytes.Contains(raw, key[:]) {
		t.Errorf("the configuration shows the key (%v)", err)
	}
}

func TestPassphrase(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{})
	secret := s.SecretKey()
	shared, _ := s.SharingKey(DefaultSharingKey)
	if err := SetPassphrase(dir, nil, []byte("x")); !errors.Is(err, ErrLocked) {
		t.Errorf("changed while open: %v", err)
	}
	mustClose(t, s)
	if err := SetPassphrase(dir, nil, []byte("open sesame")); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(filepath.Join(dir, keyFile))
	if strings.Contains(string(raw), string(appendHex(secret[:]))) {
		t.Error("the key file shows the secret")
	}
	ask := func(s string) Options {
		return Options{Passphrase: func() ([]byte, error) { return []byte(s), nil }}
	}
	for _, o := range []Options{{}, ask("open barley")} {
		if _, err := Open(dir, o); !errors.Is(err, ErrPassphrase) {
			t.Errorf("opened without the passphrase: %v", err)
		}
	}
	if err := SetPassphrase(dir, nil, nil); !errors.Is(err, ErrPassphrase) {
		t.Errorf("changed with a wrong one: %v", err)
	}
	s = mustOpen(t, dir, ask("open sesame"))
	if again, err := s.SharingKey(DefaultSharingKey); err != nil || !again.Equal(shared) || s.SecretKey() != secret {
		t.Errorf("secrets changed: %v", err)
	}
	mustClose(t, s)
	if err := SetPassphrase(dir, []byte("open sesame"), nil); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, dir, Options{}))
	checkTreeModes(t, dir)
}

func FuzzKeyFile(f *testing.F) {
	s, _ := newSecrets()
	f.Add(encodeSecrets(s, nil))
	f.Add([]byte("bazil key 1\nargon2id 1 8 1 00112233445566778899aabbccddeeff\n00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("argon2id")) {
			return // deliberately slow
		}
		decodeSecrets(b, func() ([]byte, error) { return nil, nil })
	})
}

type configValue struct {
	Name  string
	Count int
	Raw   []byte
	ID    ID
	P     Pointer
}

func TestConfig(t *testing.T) {
	dir := newDir(t)
	s := mustOpen(t, dir, Options{})
	c := s.Config()
	want := configValue{"a", 5, []byte{1}, ID{7}, Pointer{ID{8}, Key{9}}}
	err := c.Update(func(tx *Tx) error {
		return errors.Join(tx.Put("peers", "k1", want), tx.Put("peers", "k0", 1), tx.Put("volumes", "k1", "v"))
	})
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if err := c.Update(func(tx *Tx) error { return errors.Join(tx.Delete("peers", "k1"), boom) }); !errors.Is(err, boom) {
		t.Error(err)
	}
	mustClose(t, s)
	if err := c.View(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("view after close: %v", err)
	}
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	checkConfig(t, s.Config(), want)
}

func checkConfig(t *testing.T, c *Config, want configValue) {
	t.Helper()
	err := c.View(func(tx *Tx) error {
		var got configValue
		if err := tx.Get("peers", "k1", &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) || !got.P.Key.Equal(want.P.Key) {
			t.Errorf("got %v, %v", got, err)
		}
		if err := tx.Get("peers", "none", &got); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if err := tx.Get("none", "k1", &got); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		var n int
		if err := tx.Get("peers", "k1", &n); !errors.Is(err, ErrDamaged) {
			t.Errorf("wrong type: %v", err)
		}
		var keys []string
		err := tx.Each("peers", func(key string, get func(any) error) error {
			keys = append(keys, key)
			if key == "k0" {
				return get(&n)
			}
			return nil
		})
		if fmt.Sprint(keys) != "[k0 k1]" || n != 1 {
			t.Errorf("keys %v, value %d", keys, n)
		}
		return errors.Join(err, tx.Each("none", nil))
	})
	if err != nil {
		t.Error(err)
	}
	err = c.Update(func(tx *Tx) error {
		return errors.Join(tx.Delete("peers", "k1"), tx.Delete("peers", "k1"), tx.Delete("none", "x"))
	})
	if err != nil {
		t.Error(err)
	}
	if err := c.Update(func(tx *Tx) error { return tx.Put("peers", "", 1) }); err == nil {
		t.Error("empty key accepted")
	}
}

// TestConfigFlips flips bits of the configuration: it is refused, or whole, or
// has gone back by a transaction and says so.
func TestConfigFlips(t *testing.T) {
	path := filepath.Join(t.TempDir(), configFile)
	c, err := openConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		err := c.Update(func(tx *Tx) error {
			return tx.Put(fmt.Sprint("table", i%3), fmt.Sprint("key", i), strings.Repeat("value", i))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	found := 0
	for range 300 {
		bit := r.IntN(8 * len(whole))
		if n := len(whole) / 4096; r.IntN(2) == 0 { // where the last transactions wrote
			bit = 8*4096*(n-1-r.IntN(n/2)) + r.IntN(8*4096)
		}
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if told, why := tryConfig(t, b); why != "" {
			t.Errorf("bit %d: %s", bit, why)
		} else if told {
			found++
		}
	}
	t.Logf("%d flips found", found)
	if found < 10 {
		t.Error("hardly any flip was found")
	}
}

// tryConfig opens a configuration with these bytes. told says that damage was
// found, why what was read that is not right.
func tryConfig(t *testing.T, b []byte) (told bool, why string) {
	path := filepath.Join(t.TempDir(), configFile)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := openConfig(path)
	if err != nil {
		return true, ""
	}
	defer c.close()
	if c.db.Lost() != nil {
		return true, ""
	}
	err = c.View(func(tx *Tx) error {
		for i := range 60 {
			var v string
			if err := tx.Get(fmt.Sprint("table", i%3), fmt.Sprint("key", i), &v); err != nil || v != strings.Repeat("value", i) {
				return fmt.Errorf("key %d has %.20q, %w", i, v, err)
			}
		}
		return nil
	})
	if err != nil {
		why = err.Error()
	}
	return false, why
}
