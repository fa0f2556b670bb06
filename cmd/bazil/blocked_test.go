package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// atOnce is how long a process may take to end that was blocked in a request:
// far less than anything that the request waits for.
const atOnce = 5 * time.Second

func TestBlocked(t *testing.T) {
	needFUSE(t)
	blockedProcesses(t, "--fuse")
}

func TestInGuestBlocked(t *testing.T) {
	inGuest(t)
	needFUSE(t) // for the disk
	blockedProcesses(t)
}

// blockedProcesses: a process that waits for what does not come, in read(2) or
// in fsync(2), ends at once by any signal that ends a program.
func blockedProcesses(t *testing.T, flags ...string) {
	disk := newStuckDisk(t)
	white, black := newDevice(t), &device{dir: filepath.Join(disk.dir, "data")}
	black.run(t, "create")
	black.start(t, "--read-deadline=10m")
	t.Cleanup(func() { black.kill(syscall.SIGKILL) })
	t.Cleanup(disk.open) // before that can end
	befriend(t, white, black, "v", white.addr, noise(3, sharingKeyLen))
	black.ctl(t, "volume", "keep", "v", "lazy")
	dir := white.attach(t, "v")
	must(t, put(dir, "f", noise(4, 300_000)))
	must(t, put(dir, "small", []byte("is inline")))
	black.ctl(t, "sync", "v", "white")
	mnt := black.mountAgain(t, "v", flags...)
	t.Run("read", func(t *testing.T) { blockedReaders(t, white, mnt) })
	t.Run("fsync", func(t *testing.T) { blockedFsync(t, black, disk, mnt, flags) })
}

// blockedReaders read what no peer can give, for the only one that has it does
// not answer. The mount goes on.
func blockedReaders(t *testing.T, white *device, mnt string) {
	white.stop(t)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		endsAtOnce(t, blocked(t, "cat", "exec cat <"+filepath.Join(mnt, "f")), sig)
		wantFile(t, filepath.Join(mnt, "small"), "is inline")
	}
	must(t, white.server.Process.Signal(syscall.SIGCONT))
	wantFile(t, filepath.Join(mnt, "f"), string(noise(4, 300_000)))
}

// blockedFsync: all is durable when the disk answers again.
func blockedFsync(t *testing.T, d *device, disk *stuckDisk, mnt string, flags []string) {
	for n, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		name := filepath.Join(mnt, fmt.Sprint(n))
		must(t, os.WriteFile(name, []byte("text"), 0o644))
		disk.stick()
		sync := blocked(t, "sync", "exec sync "+name)
		<-disk.stuck // the server is in its fsync for it
		endsAtOnce(t, sync, sig)
		disk.open()
		must(t, exec.Command("sync", name).Run())
	}
	d.kill(syscall.SIGKILL)
	d.start(t)
	mnt = d.mountAgain(t, "v", flags...)
	wantFile(t, filepath.Join(mnt, "0"), "text")
	wantFile(t, filepath.Join(mnt, "1"), "text")
}

// TestSilentPeer: a command that waits for a peer which was stopped, and so
// answers nothing but takes what is sent to it, ends at once when it is
// flushed or interrupted, so does following that peer when it is to end, and
// all works again when the peer does.
func TestSilentPeer(t *testing.T) {
	white, black := newDevice(t), newDevice(t)
	befriend(t, white, black, "v", white.addr, noise(3, sharingKeyLen))
	black.run(t, "volume", "follow", "v", "white")
	within(t, time.Minute, "black to follow white", func() {
		for !strings.Contains(black.ctl(t, "status"), "follow=v peer=white state=live") {
		}
	})
	white.stop(t)
	for _, command := range []string{"sync v white", "sync white"} {
		var late []time.Duration
		for range 5 {
			ctl, err := black.attach(t, "ctl").Walk(t.Context(), "ctl")
			must(t, err)
			must(t, ctl.Open(t.Context(), syscall.O_RDWR))
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err = ctl.WriteAt(ctx, []byte(command), 0)
			end, _ := ctx.Deadline()
			late = append(late, time.Since(end))
			if cancel(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", command, err)
			}
		}
		slices.Sort(late)
		t.Logf("%s: flushed after %v to %v", command, late[0], late[len(late)-1])
		if late[0] > 10*time.Millisecond || late[len(late)-1] > atOnce {
			t.Errorf("%s: flushed after %v to %v", command, late[0], late[len(late)-1])
		}
	}
	cmd := blocked(t, "bazil", "exec bazil -data-dir="+black.dir+" volume sync v white")
	began := time.Now()
	must(t, cmd.Process.Signal(syscall.SIGINT))
	within(t, atOnce, "the end of an interrupted sync", func() { cmd.Wait() })
	t.Logf("interrupted: ended after %v", time.Since(began).Round(time.Millisecond))
	within(t, atOnce, "the end of following", func() { black.run(t, "volume", "follow", "v", "white", "off") })
	must(t, white.server.Process.Signal(syscall.SIGCONT))
	must(t, put(white.attach(t, "v"), "f", noise(4, 100)))
	black.run(t, "volume", "sync", "v", "white")
	if got, err := get(black.attach(t, "v"), "f", 1000); err != nil || !bytes.Equal(got, noise(4, 100)) {
		t.Errorf("black has %d bytes, %v", len(got), err)
	}
}

// stop stops the server, and returns when none of its threads runs.
func (d *device) stop(t *testing.T) {
	t.Helper()
	must(t, d.server.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(d.server.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the server does not stop: %v, %v", status, err)
	}
}

// blocked starts a program by a shell and returns when it sleeps in a system
// call.
func blocked(t *testing.T, name, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// What this program catches its children do not ignore, as they would if it
	// had been started in the background.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt)
	defer signal.Stop(caught)
	must(t, cmd.Start())
	within(t, time.Minute, name+" to block", func() {
		for asleep := 0; asleep < 100; {
			f := strings.Fields(procFile(cmd.Process.Pid, "stat"))
			if len(f) > 2 && f[1] == "("+name+")" && (f[2] == "S" || f[2] == "D") {
				asleep++
			} else {
				asleep = 0
			}
		}
	})
	return cmd
}

func procFile(pid int, name string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return string(b)
}

func endsAtOnce(t *testing.T, cmd *exec.Cmd, sig syscall.Signal) {
	t.Helper()
	if f := strings.Fields(procFile(cmd.Process.Pid, "stat")); len(f) < 3 || f[2] == "Z" {
		t.Fatal("it has ended by itself")
	}
	began := time.Now()
	must(t, cmd.Process.Signal(sig))
	within(t, atOnce, fmt.Sprint(sig, " of a blocked process"), func() { cmd.Wait() })
	if got := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != sig {
		t.Errorf("it ended by %v, not by %v", got, sig)
	}
	t.Logf("%v: ended after %v", sig, time.Since(began).Round(time.Millisecond))
}

// stuckDisk is a folder of which fsync can be made to wait.
type stuckDisk struct {
	dir   string
	gate  chan struct{} // holds a token while fsync may go on
	stuck chan struct{} // gets a token when one waits
}

func newStuckDisk(t *testing.T) *stuckDisk {
	d := &stuckDisk{dir: t.TempDir(), gate: make(chan struct{}, 1), stuck: make(chan struct{}, 1)}
	d.gate <- struct{}{}
	below, err := fs.NewLoopbackRoot(t.TempDir())
	must(t, err)
	root := &stuckNode{LoopbackNode: below.(*fs.LoopbackNode), disk: d}
	server, err := fs.Mount(d.dir, root, &fs.Options{MountOptions: fuse.MountOptions{DirectMount: true}})
	must(t, err)
	t.Cleanup(func() {
		d.open()
		if server.Unmount() != nil { // what failed may still be in it
			syscall.Unmount(d.dir, syscall.MNT_DETACH)
		}
	})
	return d
}

// stick makes the next fsync wait for open.
func (d *stuckDisk) stick() { <-d.gate }

func (d *stuckDisk) open() {
	select {
	case d.gate <- struct{}{}:
	default:
	}
}

type stuckNode struct {
	*fs.LoopbackNode
	disk *stuckDisk
}

var (
	_ fs.NodeFsyncer     = (*stuckNode)(nil)
	_ fs.NodeWrapChilder = (*stuckNode)(nil)
)

// WrapChild has what is below wait as well.
func (n *stuckNode) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &stuckNode{LoopbackNode: child.(*fs.LoopbackNode), disk: n.disk}
}

// Fsync waits until it may go on.
func (n *stuckNode) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	select {
	case <-n.disk.gate:
	default:
		select {
		case n.disk.stuck <- struct{}{}:
		default:
		}
		<-n.disk.gate
	}
	n.disk.gate <- struct{}{}
	return f.(fs.FileFsyncer).Fsync(ctx, flags)
}
