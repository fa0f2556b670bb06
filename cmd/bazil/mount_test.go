package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// bridgeOf is the process behind the FUSE mount at dir.
func bridgeOf(t *testing.T, dir string) *os.Process {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, line := range lines {
		args, _ := os.ReadFile(line)
		if bytes.Contains(args, []byte("\x00fuse-host\x00")) && bytes.HasSuffix(args, []byte("\x00"+dir+"\x00")) {
			var pid int
			fmt.Sscanf(line, "/proc/%d/", &pid)
			p, err := os.FindProcess(pid)
			must(t, err)
			return p
		}
	}
	t.Fatalf("no process holds the mount at %s", dir)
	return nil
}

// TestKilledBridge: what is left is told of, and taken away by the next mount
// and by unmount, also while somebody is in it.
func TestKilledBridge(t *testing.T) {
	needFUSE(t)
	d := newDevice(t)
	dir := d.mount(t, "v", "--fuse")
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("kept"), 0o644))
	for _, again := range []string{"mount", "unmount"} {
		inside, err := os.Open(dir)
		must(t, err)
		defer inside.Close()
		killBridge(t, dir)
		if err := unix.Statfs(dir, new(unix.Statfs_t)); !errors.Is(err, syscall.ENOTCONN) {
			t.Fatalf("the mount is not stale: %v", err)
		}
		if again == "unmount" {
			break
		}
		said := d.run(t, "volume", "mount", "--fuse", "v", dir)
		if !strings.Contains(said, "took away a stale mount on "+dir) {
			t.Errorf("it said %q", said)
		}
		wantFile(t, filepath.Join(dir, "f"), "kept")
	}
	d.run(t, "volume", "unmount", dir)
	if names := list(t, dir); len(names) != 0 {
		t.Errorf("below the mount there is %q", names)
	}
}

// killBridge kills it as the kernel does when memory is short.
func killBridge(t *testing.T, dir string) {
	t.Helper()
	p := bridgeOf(t, dir)
	fd, err := unix.PidfdOpen(p.Pid, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, p.Kill())
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	must(t, err)
}

// TestSignalledBridge: SIGTERM and SIGINT unmount.
func TestSignalledBridge(t *testing.T) {
	needFUSE(t)
	d := newDevice(t)
	dir := d.mount(t, "v", "--fuse")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := bridgeOf(t, dir)
		fd, err := unix.PidfdOpen(p.Pid, 0)
		must(t, err)
		must(t, p.Signal(sig))
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		must(t, errors.Join(err, unix.Close(fd)))
		if got := mountType(t, dir); isOurs(got) {
			t.Fatalf("after %v it is mounted still", sig)
		}
		d.run(t, "volume", "mount", "--fuse", "v", dir)
	}
}

// TestMountSurvivesTheServer kills the server below open files.
func TestMountSurvivesTheServer(t *testing.T) {
	needFUSE(t)
	d := newDevice(t)
	dir := d.mount(t, "v", "--fuse")
	f, err := os.Create(filepath.Join(dir, "f"))
	must(t, err)
	defer f.Close()
	for i := range 3 {
		_, err = fmt.Fprintf(f, "line %d\n", i)
		must(t, errors.Join(err, f.Sync()))
		d.kill(syscall.SIGKILL)
		d.start(t)
	}
	wantFile(t, f.Name(), "line 0\nline 1\nline 2\n")
	must(t, os.Rename(f.Name(), filepath.Join(dir, "g")))
	_, err = f.WriteAt([]byte("LINE"), 0)
	must(t, errors.Join(err, f.Sync()))
	wantFile(t, filepath.Join(dir, "g"), "LINE 0\nline 1\nline 2\n")
}

// TestSyncShowsAtOnce syncs two devices and looks, without a moment between,
// at all that the kernel keeps of a mount: pages of an open and of a mapped
// file, sizes, names that are there and names that are not.
func TestSyncShowsAtOnce(t *testing.T) {
	needFUSE(t)
	white, black := newDevice(t), newDevice(t)
	_, port, err := net.SplitHostPort(white.addr)
	must(t, err)
	key := make([]byte, sharingKeyLen)
	rand.Read(key)
	whiteKey := befriend(t, white, black, "v", net.JoinHostPort("127.0.0.1", port), key)
	w, b := white.mountAgain(t, "v", "--fuse"), black.mountAgain(t, "v", "--fuse")
	bazil := Globals{DataDir: black.dir, ctx: t.Context()}

	text := func(i int) string { return fmt.Sprintf("%7d", i) }
	at := func(dir, name string, i int) string { return filepath.Join(dir, "d", fmt.Sprint(name, i)) }
	must(t, os.Mkdir(filepath.Join(w, "d"), 0o755))
	must(t, os.WriteFile(filepath.Join(w, "f"), []byte(text(0)), 0o644))
	must(t, os.WriteFile(at(w, "old", 0), nil, 0o644))
	sync := func() {
		t.Helper()
		_, err := bazil.ask("sync v " + whiteKey)
		must(t, err)
	}
	sync()
	open, err := os.Open(filepath.Join(b, "f"))
	must(t, err)
	defer open.Close()
	mapped, err := unix.Mmap(int(open.Fd()), 0, 7, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer unix.Munmap(mapped)
	for i := 1; i < 60; i++ {
		absent := func(name string) bool {
			_, err := os.Lstat(at(b, name, i))
			return errors.Is(err, fs.ErrNotExist)
		}
		if !absent("new") || string(mapped) != text(i-1) {
			t.Fatal("wrong from the start")
		}
		must(t, os.WriteFile(filepath.Join(w, "f"), []byte(text(i)), 0o644))
		must(t, os.WriteFile(at(w, "new", i), bytes.Repeat([]byte("x"), i), 0o644))
		must(t, os.Rename(at(w, "old", i-1), at(w, "old", i)))
		sync()
		if string(mapped) != text(i) {
			t.Errorf("round %d: the mapping has %q", i, mapped)
		}
		got := make([]byte, 7)
		if _, err := open.ReadAt(got, 0); err != nil || string(got) != text(i) {
			t.Errorf("round %d: the open file has %q, %v", i, got, err)
		}
		if fi, err := os.Stat(at(b, "new", i)); err != nil || fi.Size() != int64(i) {
			t.Errorf("round %d: the new file: %v", i, err)
		}
		if absent("old") {
			t.Errorf("round %d: the renamed file does not show", i)
		}
		if _, err := os.Lstat(at(b, "old", i-1)); err == nil {
			t.Errorf("round %d: its old name shows still", i)
		}
	}
}

// plainUser is a user who is not root.
const plainUser = 65534

// asPlainUser runs a script as a user who is not root and may open /dev/fuse,
// as it is on most machines, in a folder of that user's.
func asPlainUser(t *testing.T, script string) string {
	t.Helper()
	needFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	home := openFolder(t)
	must(t, os.Chown(home, plainUser, plainUser))
	bin := openFolder(t)
	bazil, err := exec.LookPath("bazil")
	must(t, err)
	program, err := os.ReadFile(bazil)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bin, "bazil"), program, 0o755))
	const world = `mknod -m 666 "$DEV" c 10 229; mount --bind "$DEV" /dev/fuse
exec setpriv --reuid 65534 --regid 65534 --clear-groups bash -euc "$SCRIPT"`
	cmd := exec.Command("unshare", "-m", "bash", "-euc", world)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+home, "DEV="+filepath.Join(t.TempDir(), "fuse"), "SCRIPT="+script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// openFolder is a new folder that all users can reach.
func openFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// serverHere starts a server in a script, and ends it with the script.
const serverHere = `
bazil create; bazil server run > out & server=$!
trap 'bazil unmount mnt 2>/dev/null || true; kill $server; wait' EXIT
until grep -q Listening out; do kill -0 $server; read -t 0.05 < <(:) || true; done
bazil volume create files
mkdir mnt
`

// refused runs a command that must fail, and prints what it says.
const refused = `refused() { if "$@"; then echo "$* did not fail"; exit 1; fi; }
`

// TestPlainUserMounts does all of it without being root.
func TestPlainUserMounts(t *testing.T) {
	out := asPlainUser(t, refused+serverHere+`
bazil volume mount files mnt
echo hello > mnt/greeting
cat mnt/greeting
stat -c 'owner %u:%g' mnt/greeting
bazil unmount mnt
test ! -e mnt/greeting
mkdir closed; chmod 500 closed
refused bazil volume mount files closed
refused bazil volume mount files /usr
refused bazil volume mount --v9fs files mnt
grep -q '^user_allow_other' /etc/fuse.conf 2>/dev/null || refused bazil volume mount -o allow_other files mnt
`)
	for _, want := range []string{
		"volume files is mounted on mnt with the FUSE bridge (only root mounts with v9fs; the FUSE bridge is for all)",
		"hello\n",
		fmt.Sprintf("owner %d:%d\n", plainUser, plainUser),
		"FUSE lets users mount only on directories that they may write to, which",
		"mount on /usr: there are files in it",
		"only root mounts with v9fs",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it did not say %q", want)
		}
	}
	if conf, _ := os.ReadFile("/etc/fuse.conf"); !bytes.Contains(conf, []byte("\nuser_allow_other")) &&
		!strings.Contains(out, "allow_other needs a line user_allow_other in /etc/fuse.conf") {
		t.Error("allow_other was refused with other words")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestAllowOther: other users get in when they are meant to, and then as far
// as the modes let them.
func TestAllowOther(t *testing.T) {
	needFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	d := newDevice(t)
	d.run(t, "volume", "create", "v")
	dir := openFolder(t)
	other := func(words ...string) error {
		return exec.Command("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "--"}, words...)...).Run()
	}
	for _, flags := range [][]string{nil, {"--option=allow_other"}} {
		d.run(t, append([]string{"volume", "mount", "--fuse", "v", dir}, flags...)...)
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
		must(t, os.WriteFile(filepath.Join(dir, "open"), nil, 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "closed"), nil, 0o600))
		if err := other("cat", filepath.Join(dir, "open")); (err == nil) != (flags != nil) {
			t.Errorf("with %q another user's cat: %v", flags, err)
		}
		if err := other("cat", filepath.Join(dir, "closed")); err == nil {
			t.Errorf("with %q another user reads what is not for all", flags)
		}
		d.run(t, "unmount", dir)
	}
}

// TestInGuestStaleV9FS: v9fs does not connect again; the next mount and
// unmount take away what is left, also while somebody is in it.
func TestInGuestStaleV9FS(t *testing.T) {
	inGuest(t)
	d := newDevice(t)
	dir := d.mount(t, "v")
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("kept"), 0o644))
	for range 2 {
		inside, err := os.Open(dir)
		must(t, err)
		defer inside.Close()
		d.kill(syscall.SIGTERM)
		d.start(t)
		said := d.run(t, "volume", "mount", "v", dir)
		if !strings.Contains(said, "took away a stale mount on "+dir) || !strings.Contains(said, "with v9fs") {
			t.Errorf("it said %q", said)
		}
		wantFile(t, filepath.Join(dir, "f"), "kept")
	}
	d.kill(syscall.SIGTERM)
	d.run(t, "volume", "unmount", dir)
	if names := list(t, dir); len(names) != 0 {
		t.Errorf("below the mount there is %q", names)
	}
}
