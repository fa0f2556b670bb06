package fusemount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func TestLargeDirectory(t *testing.T) {
	s, dir := mounted(t, Options{})
	const count = 20000
	d := filepath.Join(dir, inMemory(t, s))
	for i := range count {
		check(t, os.WriteFile(filepath.Join(*s.disk.aside.Load(), fmt.Sprintf("file number %d", i)), nil, 0o644))
	}
	got, err := os.ReadDir(d)
	check(t, err)
	if len(got) != count {
		t.Fatalf("%d entries, want %d", len(got), count)
	}
	seen := make(map[string]bool)
	for _, e := range got {
		if seen[e.Name()] || e.Type() != 0 {
			t.Fatal(e)
		}
		seen[e.Name()] = true
	}
}

// TestRemoveWhileListing empties a directory as rm -r does.
func TestRemoveWhileListing(t *testing.T) {
	s, dir := mounted(t, Options{})
	dir = filepath.Join(dir, inMemory(t, s))
	for i := range 1000 {
		check(t, os.WriteFile(filepath.Join(*s.disk.aside.Load(), fmt.Sprint(i)), nil, 0o644))
	}
	d, err := os.Open(dir)
	check(t, err)
	defer d.Close()
	for {
		names, err := d.Readdirnames(100)
		if len(names) == 0 {
			break
		}
		check(t, err)
		for _, name := range names {
			check(t, os.Remove(filepath.Join(dir, name)))
		}
	}
	if left, err := os.ReadDir(*s.disk.aside.Load()); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

func TestInodeNumbers(t *testing.T) {
	s, dir := mounted(t, Options{})
	check(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644))
	check(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	check(t, os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "d/g")))
	for _, name := range []string{"f", "d", "d/g", "."} {
		if got, want := statOf(t, filepath.Join(dir, name)), statOf(t, s.back(name)); got.Ino != want.Ino || got.Nlink != want.Nlink {
			t.Errorf("%s: inode %d nlink %d, want %d %d", name, got.Ino, got.Nlink, want.Ino, want.Nlink)
		}
	}
}

func TestKinds(t *testing.T) {
	s, dir := mounted(t, Options{})
	unix.Umask(0o022)
	for name, mode := range map[string]uint32{
		"fifo": unix.S_IFIFO | 0o640, "sock": unix.S_IFSOCK | 0o600, "file": unix.S_IFREG | 0o604,
	} {
		check(t, unix.Mknod(filepath.Join(dir, name), mode, 0))
		if got := statOf(t, s.back(name)).Mode; got != mode {
			t.Errorf("%s: mode %o, want %o", name, got, mode)
		}
	}
	long := strings.Repeat("x", 255)
	check(t, os.Symlink("a\xffb", filepath.Join(dir, long)))
	if to, err := os.Readlink(s.back(long)); err != nil || to != "a\xffb" {
		t.Errorf("%q %v", to, err)
	}
	if err := os.Mkdir(filepath.Join(dir, long+"x"), 0o755); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Error(err)
	}
	check(t, os.Mkdir(filepath.Join(dir, "dir"), 0o750))
	if err := os.Remove(filepath.Join(dir, "dir")); err != nil {
		t.Error(err)
	}
	if os.Geteuid() == 0 {
		check(t, unix.Mknod(filepath.Join(dir, "dev"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		if st := statOf(t, filepath.Join(dir, "dev")); st.Rdev != unix.Mkdev(1, 3) {
			t.Errorf("rdev %x", st.Rdev)
		}
	}
}

// TestSgidDirectory: what is made in it has its group, and directories pass
// the bit on.
func TestSgidDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it gives files to other groups")
	}
	_, dir := mounted(t, Options{})
	d := filepath.Join(dir, "d")
	check(t, os.Mkdir(d, 0o755))
	check(t, os.Chown(d, 0, 12345))
	check(t, unix.Chmod(d, 0o2755))
	check(t, os.WriteFile(filepath.Join(d, "f"), nil, 0o644))
	check(t, os.Mkdir(filepath.Join(d, "sub"), 0o755))
	if st := statOf(t, filepath.Join(d, "f")); st.Gid != 12345 {
		t.Errorf("group %d", st.Gid)
	}
	if st := statOf(t, filepath.Join(d, "sub")); st.Gid != 12345 || st.Mode != unix.S_IFDIR|0o2755 {
		t.Errorf("group %d, mode %o", st.Gid, st.Mode)
	}
}

// TestForgottenFids: the fid of a file that nobody needs may be given up, and
// comes back.
func TestForgottenFids(t *testing.T) {
	s := serve(t)
	m, dir := s.mount(t, Options{})
	m.bridge.inodes.mu.Lock()
	m.bridge.inodes.maxIdle = 10
	m.bridge.inodes.mu.Unlock()
	check(t, os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755))
	var files []*os.File
	for i := range 100 {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("a/b/c/%d", i)))
		check(t, err)
		defer f.Close()
		files = append(files, f)
	}
	for _, f := range files[50:] {
		f.Close()
	}
	t.Chdir(filepath.Join(dir, "a/b"))
	for i := range 100 {
		name := fmt.Sprintf("c/%d", i)
		check(t, os.Chmod(name, 0o600))
		check(t, os.Rename(name, name+"x"))
		check(t, os.WriteFile(name+"x", []byte("hello"), 0))
	}
	m.bridge.inodes.mu.Lock()
	idle := m.bridge.inodes.nidle
	m.bridge.inodes.mu.Unlock()
	if idle == 0 || idle > 10 {
		t.Errorf("%d fids are idle", idle)
	}
	for _, f := range files[:50] {
		b := make([]byte, 5)
		if _, err := f.ReadAt(b, 0); string(b) != "hello" {
			t.Fatalf("%q %v", b, err)
		}
	}
	t.Chdir("/")
}

func TestOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it works as several users")
	}
	s, dir := mounted(t, Options{AllowOther: true})
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	check(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755))
	check(t, os.Chmod(dir, 0o777))
	check(t, os.WriteFile(filepath.Join(dir, "roots"), []byte("x"), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "suid"), []byte("x"), 0o666))
	check(t, unix.Chmod(filepath.Join(dir, "suid"), 0o6777))

	p := startAs(t, 4321, "make", dir)
	p.ready(t)
	p.finish(t)
	for _, name := range []string{"file", "dir", "link", "fifo", "deep/er/file"} {
		if st := statOf(t, s.back(name)); st.Uid != 4321 || st.Gid != 4321 {
			t.Errorf("%s is of %d:%d", name, st.Uid, st.Gid)
		}
	}
	if st := statOf(t, s.back("suid")); st.Mode&0o7777 != 0o777 {
		t.Errorf("a write of another user leaves mode %o", st.Mode)
	}
	check(t, unix.Chmod(filepath.Join(dir, "file"), 0o6755))
	check(t, os.Chown(filepath.Join(dir, "file"), 77, 78))
	if st := statOf(t, s.back("file")); st.Mode&0o7777 != 0o755 || st.Uid != 77 || st.Gid != 78 {
		t.Errorf("chown leaves mode %o, owner %d:%d", st.Mode, st.Uid, st.Gid)
	}
}

// makeRole makes files of every kind in args[0] and tries what it may not.
func makeRole(args []string) error {
	if err := os.Chdir(args[0]); err != nil {
		return err
	}
	if _, err := os.ReadFile("roots"); !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("could read root's file: %v", err)
	}
	f, err := os.OpenFile("suid", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("y")
	err = errors.Join(err, f.Close(), os.WriteFile("file", []byte("x"), 0o644), os.Mkdir("dir", 0o755),
		os.Symlink("x", "link"), unix.Mkfifo("fifo", 0o600), os.MkdirAll("deep/er", 0o755), os.WriteFile("deep/er/file", nil, 0o600))
	ready()
	return err
}

// TestMovedFid: the fid of a file that was found at another place is given up
// among the others when they are many.
func TestMovedFid(t *testing.T) {
	s, m, dir, _, _ := heldMount(t)
	check(t, os.WriteFile(s.back("f"), nil, 0o644))
	statOf(t, filepath.Join(dir, "f"))
	check(t, os.Rename(s.back("f"), s.back("g")))
	statOf(t, filepath.Join(dir, "g"))
	table := m.bridge.inodes
	table.mu.Lock()
	defer table.mu.Unlock()
	if n := table.byID[fuse.FUSE_ROOT_ID].children["g"]; !n.idle {
		t.Error("it is kept for good")
	}
}

func TestGoodName(t *testing.T) {
	for _, bad := range []string{"", "a/b", "a\x00b", strings.Repeat("x", 1025)} {
		if goodName(bad) {
			t.Errorf("%q", bad)
		}
	}
	if !slices.ContainsFunc([]string{".", "..", "a\nb"}, goodName) {
		t.Error("good names are refused")
	}
}
