package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// exercise does on a mounted volume what every program does, through whatever
// client mounted it.
func exercise(t *testing.T, dir string) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, string)
	}{
		{"sizes", exerciseSizes},
		{"append and truncate", exerciseAppend},
		{"names", exerciseNames},
		{"rename", exerciseRename},
		{"modes and times", exerciseAttributes},
		{"unlinked but open", exerciseUnlinked},
		{"refused", exerciseRefused},
		{"holes", exerciseHoles},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub, err := os.MkdirTemp(dir, "exercise")
			must(t, err)
			c.run(t, sub)
			must(t, os.RemoveAll(sub))
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noise is n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func exerciseSizes(t *testing.T, dir string) {
	for i, n := range []int{0, 1, 4095, 4096, 4097, 65536, 65537, 1 << 20, 5<<20 + 3, 100 << 20} {
		name := filepath.Join(dir, fmt.Sprint(n))
		want := noise(uint64(i), n)
		must(t, os.WriteFile(name, want, 0o644))
		got, err := os.ReadFile(name)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: other bytes came back (%d of them)", n, len(got))
		}
		if fi, err := os.Stat(name); err != nil || fi.Size() != int64(n) {
			t.Fatalf("%d bytes: stat says %v, %v", n, fi.Size(), err)
		}
		must(t, os.Remove(name))
	}
}

func exerciseAppend(t *testing.T, dir string) {
	name := filepath.Join(dir, "log")
	for i := range 3 {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		must(t, err)
		_, err = fmt.Fprintf(f, "line %d\n", i)
		must(t, errors.Join(err, f.Sync(), f.Close()))
	}
	wantFile(t, name, "line 0\nline 1\nline 2\n")
	must(t, os.Truncate(name, 7))
	wantFile(t, name, "line 0\n")
	must(t, os.Truncate(name, 9))
	wantFile(t, name, "line 0\n\x00\x00")
	must(t, os.WriteFile(name, []byte("new"), 0o644))
	wantFile(t, name, "new")
}

func wantFile(t *testing.T, name, want string) {
	t.Helper()
	got, err := os.ReadFile(name)
	must(t, err)
	if string(got) != want {
		t.Fatalf("%s holds %.80q, want %.80q", filepath.Base(name), got, want)
	}
}

func exerciseNames(t *testing.T, dir string) {
	long := string(bytes.Repeat([]byte("n"), 255))
	names := []string{" ", "-", "\xff\xfe", "a\nb", "colon:\\", "émile", long}
	for _, n := range names {
		must(t, os.WriteFile(filepath.Join(dir, n), []byte(n), 0o600))
	}
	slices.Sort(names)
	if got := list(t, dir); !slices.Equal(got, names) {
		t.Fatalf("listed %q, want %q", got, names)
	}
	for _, n := range names {
		wantFile(t, filepath.Join(dir, n), n)
	}
	err := os.WriteFile(filepath.Join(dir, long+"n"), nil, 0o600)
	if !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Fatalf("a name of 256 bytes: %v", err)
	}
	many := filepath.Join(dir, "many")
	must(t, os.Mkdir(many, 0o755))
	for i := range 500 {
		must(t, os.WriteFile(filepath.Join(many, fmt.Sprint(i)), nil, 0o600))
	}
	if got := list(t, many); len(got) != 500 {
		t.Fatalf("listed %d names of 500", len(got))
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func exerciseRename(t *testing.T, dir string) {
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	must(t, os.MkdirAll(at("a", "b"), 0o755))
	must(t, os.WriteFile(at("a", "b", "f"), []byte("one"), 0o644))
	must(t, os.WriteFile(at("g"), []byte("two"), 0o644))
	f, err := os.OpenFile(at("a", "b", "f"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	must(t, os.Rename(at("a"), at("c")))
	wantFile(t, at("c", "b", "f"), "one")
	must(t, os.Rename(at("c", "b", "f"), at("g")))
	wantFile(t, at("g"), "one")
	_, err = f.WriteAt([]byte("ONE"), 0)
	must(t, errors.Join(err, f.Sync()))
	wantFile(t, at("g"), "ONE")
	if err := os.Rename(at("c"), at("c", "b", "c")); !errors.Is(err, syscall.EINVAL) {
		t.Fatalf("a directory into itself: %v", err)
	}
	must(t, os.WriteFile(at("c", "x"), nil, 0o644))
	must(t, os.Mkdir(at("d"), 0o755))
	if err := syscall.Rename(at("d"), at("c")); !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
		t.Fatalf("over a directory with entries: %v", err)
	}
	must(t, syscall.Rename(at("c"), at("d"))) // os.Rename refuses what rename(2) allows
	if got := list(t, dir); !slices.Equal(got, []string{"d", "g"}) {
		t.Fatalf("listed %q", got)
	}
}

func exerciseAttributes(t *testing.T, dir string) {
	name := filepath.Join(dir, "f")
	must(t, os.WriteFile(name, []byte("x"), 0o640))
	must(t, os.Chmod(name, 0o751))
	when := time.Date(2001, 2, 3, 4, 5, 6, 789012345, time.UTC)
	if mountType(t, dir) == "9p" {
		when = when.Truncate(time.Second) // what v9fs of Linux 6.1 makes of a time to be set
	}
	must(t, os.Chtimes(name, when, when))
	fi, err := os.Stat(name)
	must(t, err)
	if fi.Mode() != 0o751 || !fi.ModTime().Equal(when) {
		t.Fatalf("mode %v time %v, want 0751 %v", fi.Mode(), fi.ModTime(), when)
	}
	must(t, os.WriteFile(name, []byte("y"), 0))
	if fi, err = os.Stat(name); err != nil || fi.ModTime().Equal(when) {
		t.Fatalf("a write left the time at %v, %v", fi.ModTime(), err)
	}
	must(t, os.Symlink("f", filepath.Join(dir, "link")))
	if to, err := os.Readlink(filepath.Join(dir, "link")); err != nil || to != "f" {
		t.Fatalf("the link leads to %q, %v", to, err)
	}
	wantFile(t, filepath.Join(dir, "link"), "y")
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	if fi, err := os.Lstat(filepath.Join(dir, "pipe")); err != nil || fi.Mode().Type() != fs.ModeNamedPipe {
		t.Fatalf("the fifo is %v, %v", fi.Mode(), err)
	}
}

func exerciseUnlinked(t *testing.T, dir string) {
	name := filepath.Join(dir, "gone")
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("still here")
	must(t, err)
	must(t, os.Remove(name))
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("after removal: %v", err)
	}
	got := make([]byte, 20)
	n, _ := f.ReadAt(got, 0)
	if string(got[:n]) != "still here" {
		t.Fatalf("an unlinked file reads %q", got[:n])
	}
	must(t, f.Truncate(5))
	must(t, f.Chmod(0o600))
	if fi, err := f.Stat(); err != nil || fi.Size() != 5 {
		t.Fatalf("an unlinked file has size %v, %v", fi.Size(), err)
	}
}

func exerciseRefused(t *testing.T, dir string) {
	sub := filepath.Join(dir, "d")
	must(t, os.Mkdir(sub, 0o755))
	must(t, os.WriteFile(filepath.Join(sub, "f"), nil, 0o644))
	for _, c := range []struct {
		what string
		err  error
		want syscall.Errno
	}{
		{"mkdir over a directory", os.Mkdir(sub, 0o755), syscall.EEXIST},
		{"rmdir with entries", syscall.Rmdir(sub), syscall.ENOTEMPTY},
		{"unlink of a directory", syscall.Unlink(sub), syscall.EISDIR},
		{"rmdir of a file", syscall.Rmdir(filepath.Join(sub, "f")), syscall.ENOTDIR},
		{"a missing file", syscall.Unlink(filepath.Join(sub, "no")), syscall.ENOENT},
		{"through a file", os.WriteFile(filepath.Join(sub, "f", "x"), nil, 0o644), syscall.ENOTDIR},
		{"a link to a file", os.Link(filepath.Join(sub, "f"), filepath.Join(dir, "hard")), syscall.EPERM},
		{"O_EXCL", exclusive(filepath.Join(sub, "f")), syscall.EEXIST},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
}

func exclusive(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		f.Close()
	}
	return err
}

func exerciseHoles(t *testing.T, dir string) {
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	defer f.Close()
	const far = 5 << 30
	_, err = f.WriteAt([]byte("end"), far)
	must(t, err)
	must(t, f.Sync())
	fi, err := f.Stat()
	must(t, err)
	if fi.Size() != far+3 {
		t.Fatalf("size %d, want %d", fi.Size(), far+3)
	}
	got := make([]byte, 4096)
	if _, err := f.ReadAt(got, far/2); err != nil || !bytes.Equal(got, make([]byte, 4096)) {
		t.Fatalf("a hole does not read as zeros: %v", err)
	}
	if n, _ := f.ReadAt(got, far); string(got[:n]) != "end" {
		t.Fatalf("behind the hole: %q", got[:n])
	}
}
