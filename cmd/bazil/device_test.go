package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bazil/ctlfs"
)

// device is a data directory with a server that runs on it, as a process of
// its own.
type device struct {
	dir    string // data directory
	addr   string // where the server listens for peers
	server *exec.Cmd
	files  []*os.File // what the server is started with as descriptors from 3 on
	log    *bytes.Buffer
}

// newDevice makes a data directory and starts its server.
func newDevice(t testing.TB) *device {
	t.Helper()
	d := &device{dir: filepath.Join(t.TempDir(), "data")}
	d.run(t, "create")
	d.start(t)
	t.Cleanup(func() { d.kill(syscall.SIGKILL) })
	return d
}

// start starts the server, with flags, and returns when it says that it
// listens.
func (d *device) start(t testing.TB, flags ...string) {
	t.Helper()
	d.log = new(bytes.Buffer)
	d.server = exec.Command("bazil", append([]string{"-data-dir=" + d.dir, "server", "run"}, flags...)...)
	d.server.Stderr = d.log
	d.server.ExtraFiles = d.files
	out, err := d.server.StdoutPipe()
	must(t, err)
	must(t, d.server.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "bazil: Listening on "); ok {
			d.addr = addr
			return
		}
	}
	d.server.Wait()
	t.Fatalf("the server ended before it listened:\n%s", d.log)
}

// kill ends the server by a signal and waits for it.
func (d *device) kill(sig syscall.Signal) error {
	d.server.Process.Signal(sig)
	return d.server.Wait()
}

// run runs one command for the device and returns what it printed.
func (d *device) run(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("bazil", append([]string{"-data-dir=" + d.dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("bazil %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// fails runs a command that is to fail.
func (d *device) fails(args ...string) (code int, out string) {
	cmd := exec.Command("bazil", append([]string{"-data-dir=" + d.dir}, args...)...)
	b, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(b)
}

// ctl writes a command to the device's ctl file, without a process for it, and
// returns the answer.
func (d *device) ctl(t testing.TB, words ...string) string {
	t.Helper()
	answer, err := (&Globals{DataDir: d.dir, ctx: context.Background()}).ask(ctlfs.Join(words))
	if err != nil {
		t.Fatalf("%s: %v", ctlfs.Join(words), err)
	}
	return answer
}

// mount mounts a volume, made for this, at a new folder.
func (d *device) mount(t testing.TB, volume string, flags ...string) string {
	t.Helper()
	d.run(t, "volume", "create", volume)
	return d.mountAgain(t, volume, flags...)
}

// mountAgain mounts a volume that is there at a new folder.
func (d *device) mountAgain(t testing.TB, volume string, flags ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), volume)
	must(t, os.Mkdir(dir, 0o755))
	d.run(t, append([]string{"volume", "mount", volume, dir}, flags...)...)
	t.Cleanup(func() {
		exec.Command("bazil", "unmount", dir).Run()
		syscall.Unmount(dir, syscall.MNT_DETACH)
	})
	return dir
}

// mountType is the type of the filesystem mounted at dir, or above it.
func mountType(t testing.TB, dir string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	kind, at := "", ""
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 2 && (f[1] == dir || strings.HasPrefix(dir, f[1]+"/")) && len(f[1]) >= len(at) {
			kind, at = f[2], f[1]
		}
	}
	return kind
}

// within fails the test when f takes longer than limit.
func within(t testing.TB, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s: not done after %v", what, limit)
	}
}
