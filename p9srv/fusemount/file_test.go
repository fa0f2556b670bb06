package fusemount

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// random fills n bytes, the same for the same seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(b)
	return b
}

func TestLargeCopy(t *testing.T) {
	s, dir := mounted(t, Options{})
	want := random(1, 100<<20)
	check(t, os.WriteFile(s.back("a"), want, 0o644))
	src, err := os.Open(filepath.Join(dir, "a"))
	check(t, err)
	defer src.Close()
	dst, err := os.Create(filepath.Join(dir, "b"))
	check(t, err)
	n, err := io.Copy(dst, src)
	check(t, err)
	check(t, dst.Sync())
	check(t, dst.Close())
	got, err := os.ReadFile(s.back("b"))
	check(t, err)
	if n != 100<<20 || sha256.Sum256(got) != sha256.Sum256(want) {
		t.Fatalf("the copy differs (%d bytes)", n)
	}
}

// aligned is a slice of n bytes at a multiple of 4096.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & 4095
	return b[skip : skip+n]
}

func TestDirectIO(t *testing.T) {
	s, dir := mounted(t, Options{})
	const size = 3 << 20
	want := aligned(size)
	copy(want, random(2, size))
	fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT, 0o644)
	check(t, err)
	defer unix.Close(fd)
	if n, err := unix.Pwrite(fd, want, 0); n != size || err != nil {
		t.Fatal(n, err)
	}
	// What the server changes is seen by the next read.
	back, err := os.OpenFile(s.back("f"), os.O_RDWR, 0)
	check(t, err)
	defer back.Close()
	for i := range 3 {
		copy(want[4096:], fmt.Sprintf("changed %d times", i))
		_, err := back.WriteAt(want, 0)
		check(t, err)
		got := aligned(size)
		if n, err := unix.Pread(fd, got, 0); n != size || err != nil || !bytes.Equal(got, want) {
			t.Fatal("read differs", n, err)
		}
	}
}

func TestMmap(t *testing.T) {
	s, dir := mounted(t, Options{})
	const text = "the quick brown fox "
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, bytes.Repeat([]byte(text), 20000), 0o644))
	// The kernel may write pages back through this file, which appends.
	app, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	defer app.Close()
	p := start(t, "mmap", name)
	p.ready(t)
	p.finish(t)
	got, err := os.ReadFile(s.back("f"))
	check(t, err)
	if !bytes.Equal(got, bytes.ToUpper(bytes.Repeat([]byte(text), 20000))) {
		t.Fatalf("the server's file differs, it has %d bytes", len(got))
	}
}

// TestAppendPages makes the kernel write mapped pages back through a file
// that appends: it is the only one that is open for writing.
func TestAppendPages(t *testing.T) {
	s, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, bytes.Repeat([]byte("abcd"), 5000), 0o644))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND, 0)
	check(t, err)
	p := start(t, "mmap", name, f)
	p.ready(t)
	p.finish(t)
	check(t, f.Close())
	got, err := os.ReadFile(s.back("f"))
	check(t, err)
	if !bytes.Equal(got, bytes.Repeat([]byte("ABCD"), 5000)) {
		t.Fatalf("the server's file differs, it has %d bytes", len(got))
	}
}

// TestAppendTogether appends from two mounts, which know nothing of each
// other's size of the file.
func TestAppendTogether(t *testing.T) {
	s, dir := mounted(t, Options{})
	_, dir2 := s.mount(t, Options{})
	const each = 200
	var under sync.WaitGroup
	for _, d := range []string{dir, dir2} {
		f, err := os.OpenFile(filepath.Join(d, "log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		check(t, err)
		defer f.Close()
		under.Go(func() {
			for range each {
				if _, err := f.WriteString("0123456789abcdef"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	under.Wait()
	got, err := os.ReadFile(s.back("log"))
	check(t, err)
	if !bytes.Equal(got, bytes.Repeat([]byte("0123456789abcdef"), 2*each)) {
		t.Fatalf("the log has %d bytes, or torn ones", len(got))
	}
}

func TestParallelReaders(t *testing.T) {
	_, dir := mounted(t, Options{})
	want := random(3, 8<<20)
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, want, 0o644))
	f, err := os.Open(name)
	check(t, err)
	defer f.Close()
	var under sync.WaitGroup
	for i := range 16 {
		under.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range 50 {
				off := r.IntN(len(want))
				b := make([]byte, min(r.IntN(300<<10), len(want)-off))
				if n, err := f.ReadAt(b, int64(off)); err != nil || !bytes.Equal(b[:n], want[off:off+n]) {
					t.Errorf("%d bytes at %d: %v", n, off, err)
					return
				}
			}
		})
	}
	under.Wait()
}

// TestFreshData reads what the server's side wrote, without events.
func TestFreshData(t *testing.T) {
	s, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, []byte("old one"), 0o644))
	open, err := os.Open(name)
	check(t, err)
	defer open.Close()
	for i := range 20 {
		want := fmt.Sprintf("%07d", i)
		check(t, os.WriteFile(s.back("f"), []byte(want), 0o644))
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	b := make([]byte, 10)
	if n, err := open.ReadAt(b, 0); string(b[:n]) != "0000019" {
		t.Fatalf("the file that was open all the time gives %q, %v", b[:n], err)
	}
}

func TestUnlinkOpenFile(t *testing.T) {
	s, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	check(t, err)
	defer f.Close()
	_, err = f.WriteString("still here")
	check(t, err)
	check(t, os.Remove(name))
	if _, err := os.Stat(s.back("f")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the server has the file still")
	}
	_, err = f.WriteAt([]byte("STILL"), 0)
	check(t, err)
	check(t, f.Truncate(7))
	check(t, f.Chmod(0o600))
	b := make([]byte, 20)
	if n, _ := f.ReadAt(b, 0); string(b[:n]) != "STILL h" {
		t.Errorf("read %q", b[:n])
	}
	var st unix.Stat_t
	check(t, unix.Fstat(int(f.Fd()), &st))
	if st.Nlink != 0 || st.Size != 7 || st.Mode&0o777 != 0o600 {
		t.Errorf("nlink %d, size %d, mode %o", st.Nlink, st.Size, st.Mode)
	}
	check(t, unix.Fsetxattr(int(f.Fd()), "user.x", []byte("y"), 0))
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDONLY, 0)
	check(t, err)
	again.Close()
}

func TestRenameOpenFile(t *testing.T) {
	s, dir := mounted(t, Options{})
	check(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	f, err := os.Create(filepath.Join(dir, "a/b/f"))
	check(t, err)
	defer f.Close()
	check(t, os.Rename(filepath.Join(dir, "a/b/f"), filepath.Join(dir, "a/g")))
	check(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")))
	_, err = f.WriteString("moved")
	check(t, err)
	got, err := os.ReadFile(s.back("c/g"))
	if check(t, err); string(got) != "moved" {
		t.Errorf("%q", got)
	}
	check(t, os.WriteFile(filepath.Join(dir, "h"), nil, 0o644))
	check(t, os.Rename(filepath.Join(dir, "h"), filepath.Join(dir, "c/g")))
	if _, err = f.WriteString(", and replaced"); err != nil {
		t.Error(err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "c/g"), unix.AT_FDCWD, filepath.Join(dir, "x"), unix.RENAME_NOREPLACE); err != unix.EINVAL {
		t.Error("RENAME_NOREPLACE:", err)
	}
}

func TestFallocate(t *testing.T) {
	_, dir := mounted(t, Options{})
	f, err := os.Create(filepath.Join(dir, "f"))
	check(t, err)
	defer f.Close()
	fd := int(f.Fd())
	check(t, unix.Fallocate(fd, 0, 0, 10000))
	check(t, unix.Fallocate(fd, 0, 0, 100))
	check(t, unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 20000))
	if st := statOf(t, f.Name()); st.Size != 10000 {
		t.Errorf("size %d", st.Size)
	}
	if err := unix.Fallocate(fd, 0, 0, 1<<60); err != unix.ENOSPC {
		t.Error("more than there is:", err)
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 100); err != unix.EOPNOTSUPP {
		t.Error("punching a hole:", err)
	}
}

func TestSparse(t *testing.T) {
	s, dir := mounted(t, Options{})
	f, err := os.Create(filepath.Join(dir, "f"))
	check(t, err)
	defer f.Close()
	const far = 5 << 30
	_, err = f.WriteAt([]byte("end"), far)
	check(t, err)
	check(t, f.Truncate(far+2))
	if st := statOf(t, s.back("f")); st.Size != far+2 {
		t.Errorf("size %d", st.Size)
	}
	b := make([]byte, 5)
	if n, _ := f.ReadAt(b, far-2); !bytes.Equal(b[:n], []byte("\x00\x00en")) {
		t.Errorf("%q", b[:n])
	}
	if end, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE); err != nil || end != far+2 {
		t.Error("SEEK_HOLE:", end, err)
	}
}

func TestTimes(t *testing.T) {
	_, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	set := func(a, m unix.Timespec) {
		t.Helper()
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{a, m}, 0))
	}
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	set(unix.Timespec{Sec: 1000, Nsec: 123456789}, unix.Timespec{Sec: -5, Nsec: 7})
	st := statOf(t, name)
	if st.Atim.Sec != 1000 || st.Atim.Nsec != 123456789 || st.Mtim.Sec != -5 || st.Mtim.Nsec != 7 {
		t.Errorf("%v %v", st.Atim, st.Mtim)
	}
	set(omit, unix.Timespec{Nsec: unix.UTIME_NOW})
	st = statOf(t, name)
	if st.Atim.Sec != 1000 || time.Since(time.Unix(st.Mtim.Unix())).Abs() > time.Minute {
		t.Errorf("%v %v", st.Atim, st.Mtim)
	}
}

// TestFarTimes: a time that is too far away is the last that can be told, not one
// of another century.
func TestFarTimes(t *testing.T) {
	_, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	far := unix.Timespec{Sec: 20_000_000_000}
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{far, far}, 0))
	st := statOf(t, name)
	if year := time.Unix(st.Mtim.Unix()).UTC().Year(); year != 2262 {
		t.Error(year)
	}
}

// TestFullMapping: what a mapping cannot write back since the server's disk is
// full half way, is told.
func TestFullMapping(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may make a small disk")
	}
	s, dir := mounted(t, Options{})
	small := t.TempDir()
	check(t, unix.Mount("none", small, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { check(t, unix.Unmount(small, unix.MNT_DETACH)) })
	s.disk.aside.Store(&small)
	name := filepath.Join(dir, asideName, "f")
	f, err := os.Create(name)
	check(t, err)
	check(t, f.Truncate(128<<10))
	check(t, f.Close())
	p := start(t, "mmap", name)
	p.in.Close()
	if err := p.Wait(); err == nil {
		t.Error("msync(2) says that all was written")
	}
}

func TestXattr(t *testing.T) {
	s, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, nil, 0o644))
	check(t, unix.Setxattr(name, "user.a", []byte("1"), unix.XATTR_CREATE))
	check(t, unix.Setxattr(name, "user.empty", nil, 0))
	if err := unix.Setxattr(name, "user.a", []byte("2"), unix.XATTR_CREATE); err != unix.EEXIST {
		t.Error("create over:", err)
	}
	if err := unix.Setxattr(name, "user.b", []byte("2"), unix.XATTR_REPLACE); err != unix.ENODATA {
		t.Error("replace nothing:", err)
	}
	check(t, unix.Setxattr(name, "user.a", []byte("three"), unix.XATTR_REPLACE))
	b := make([]byte, 100)
	if n, err := unix.Getxattr(name, "user.a", b); string(b[:max(n, 0)]) != "three" {
		t.Errorf("%q %v", b[:max(n, 0)], err)
	}
	if n, err := unix.Getxattr(s.back("f"), "user.a", b); string(b[:max(n, 0)]) != "three" {
		t.Errorf("the server has %q %v", b[:max(n, 0)], err)
	}
	if _, err := unix.Getxattr(name, "user.a", b[:2]); err != unix.ERANGE {
		t.Error("small buffer:", err)
	}
	if n, err := unix.Listxattr(name, b); err != nil || string(b[:n]) != "user.a\x00user.empty\x00" {
		t.Errorf("%q %v", b[:max(n, 0)], err)
	}
	check(t, unix.Removexattr(name, "user.a"))
	if _, err := unix.Getxattr(name, "user.a", b); err != unix.ENODATA {
		t.Error("removed:", err)
	}
	for _, other := range []string{"security.capability", "trusted.x", "system.posix_acl_access"} {
		if _, err := unix.Getxattr(name, other, b); err != unix.ENOTSUP {
			t.Errorf("%s: %v", other, err)
		}
	}
}

func TestStatfs(t *testing.T) {
	s, dir := mounted(t, Options{})
	var got, want unix.Statfs_t
	check(t, unix.Statfs(dir, &got))
	check(t, unix.Statfs(s.disk.Dir, &want))
	if got.Bsize != want.Bsize || got.Blocks != want.Blocks || got.Files != want.Files || got.Namelen != want.Namelen {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestReadOnly(t *testing.T) {
	s, dir := mounted(t, Options{ReadOnly: true})
	check(t, os.WriteFile(s.back("f"), []byte("x"), 0o644))
	if _, err := os.ReadFile(filepath.Join(dir, "f")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Error(err)
	}
}

// TestOpenWhatIsGone: a name that went behind the kernel's back is looked up
// again, lest what is written go to a file that nobody finds.
func TestOpenWhatIsGone(t *testing.T) {
	s := serve(t)
	_, dir := s.mount(t, Options{})
	name := filepath.Join(dir, "f")
	check(t, os.WriteFile(name, []byte("x"), 0o644))
	check(t, os.Remove(s.back("f")))
	if _, err := os.OpenFile(name, os.O_RDWR, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	check(t, os.WriteFile(name, []byte("new"), 0o644))
	if got, err := os.ReadFile(s.back("f")); string(got) != "new" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
