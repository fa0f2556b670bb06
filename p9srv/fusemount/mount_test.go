package fusemount

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStaleMount: the process that mounted was killed.
func TestStaleMount(t *testing.T) {
	s := serve(t)
	needFUSE(t)
	dir := t.TempDir()
	p := start(t, "mount", s.sock, dir)
	p.ready(t)
	t.Cleanup(func() { unmount(dir, true) })
	inside, err := os.Open(dir) // keeps it busy
	check(t, err)
	defer inside.Close()
	check(t, p.Process.Kill())
	p.Wait()
	if !isStale(dir) { // stat(2) may still be answered by the kernel, from what it keeps
		t.Fatal("the mount is not stale")
	}
	_, err = Mount(t.Context(), dir, Options{Dial: s.dial})
	if err == nil || !strings.Contains(err.Error(), "stale mount") || !strings.Contains(err.Error(), "fusermount3 -u "+dir) {
		t.Error("mounting over it:", err)
	}
	check(t, Unmount(dir))
	if isMounted(t, dir) {
		t.Error("it is mounted still")
	}
	if err := Unmount(dir); err == nil || !strings.Contains(err.Error(), "not a mount point") {
		t.Error("unmounting twice:", err)
	}
}

// TestUnmountByOther: another process unmounts, and Wait returns.
func TestUnmountByOther(t *testing.T) {
	s := serve(t)
	m, dir := s.mount(t, Options{})
	f, err := os.Create(filepath.Join(dir, "f"))
	check(t, err)
	if err := Unmount(dir); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "in use") {
		t.Error("while a file is open:", err)
	}
	check(t, f.Close())
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(dir, link))
	check(t, Unmount(link))
	check(t, m.Wait())
	check(t, m.Unmount())
}

func TestMountErrors(t *testing.T) {
	s := serve(t)
	needFUSE(t)
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o644))
	refuse := func(context.Context) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	for _, c := range []struct {
		dir  string
		o    Options
		want string
	}{
		{filepath.Join(file, "x"), Options{Dial: s.dial}, "not a directory"},
		{file, Options{Dial: s.dial}, "not a directory"},
		{file + "x", Options{Dial: s.dial}, "no such file"},
		{t.TempDir(), Options{Dial: refuse}, "dialling the server: connection refused"},
		{t.TempDir(), Options{Dial: s.dial, Aname: "nowhere"}, `attaching "nowhere"`},
	} {
		m, err := Mount(t.Context(), c.dir, c.o)
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestPlainUser mounts, works and unmounts as a user who is not root.
func TestPlainUser(t *testing.T) {
	needFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("all other tests run as a plain user already")
	}
	if _, err := fusermountPath(); err != nil {
		t.Skip(err)
	}
	const uid = 65534
	s := serve(t)
	check(t, os.Chown(s.disk.Dir, uid, uid))
	for _, dir := range []string{filepath.Dir(s.sock), filepath.Dir(filepath.Dir(s.sock))} {
		check(t, os.Chmod(dir, 0o755))
	}
	check(t, os.Chmod(s.sock, 0o777))
	dir := t.TempDir()
	check(t, os.Chown(dir, uid, uid))
	check(t, os.WriteFile(s.back("roots"), []byte("x"), 0o600))
	check(t, os.WriteFile(s.back("suid"), []byte("x"), 0o666))
	check(t, os.Chmod(s.back("suid"), 0o666))
	p := start(t, "user", s.sock, dir, t.TempDir())
	p.ready(t)
	p.finish(t)
	if st := statOf(t, s.back("deep/er/file")); st.Uid != uid {
		t.Errorf("its file is of %d", st.Uid)
	}
}

// TestShell runs what people run.
func TestShell(t *testing.T) {
	s, dir := mounted(t, Options{})
	script := `mkdir -p src/deep; cd src
for i in 1 2 3; do seq $i 5000 > deep/f$i; done
ln -s deep/f1 link; touch -d 2001-02-03 deep/f2; chmod 751 deep
cd ..; cp -a src copy; diff -r src copy
test "$(stat -c '%Y %a' copy/deep/f2 copy/deep)" = "$(stat -c '%Y %a' src/deep/f2 src/deep)"
tar cf t.tar src; mkdir out; tar xf t.tar -C out; diff -r src out/src
sed -i s/5000/end/ copy/deep/f1; tail -n 1 copy/deep/f1 | grep end
find . -name 'f*' | wc -l | grep 9
df . > /dev/null; mv copy/deep/f1 out; rm -r src copy out t.tar; test -z "$(ls)"`
	run(t, dir, script)
	if left, _ := os.ReadDir(s.disk.Dir); len(left) != 0 {
		t.Error(left)
	}
}

func TestFindMount(t *testing.T) {
	const table = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
90 22 0:50 / /mnt/a\040b rw - tmpfs tmpfs rw
91 90 0:51 / /mnt/a\040b rw,nosuid master:2 - fuse.bazil my\040files rw
rubbish
92 22 0:52 / /mnt/9 rw - 9p x rw
`
	for dir, want := range map[string]string{"/": "ext4 /dev/sda1", "/mnt/a b": `fuse.bazil my files`, "/mnt/9": "9p x", "/mnt": " "} {
		kind, source, err := findMount(strings.NewReader(table), dir)
		if got := kind + " " + source; got != want || err != nil {
			t.Errorf("%s: %q %v, want %q", dir, got, err, want)
		}
	}
}

func TestAllowsOther(t *testing.T) {
	if allowsOther("#user_allow_other\n") || !allowsOther("mount_max = 3\n user_allow_other \n") {
		t.Error("fuse.conf is misread")
	}
}
