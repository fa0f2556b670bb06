package fusemount

import (
	"bufio"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// within fails the test if nothing comes from c in good time. The time is
// generous: a loaded machine is no reason to fail.
func within(t *testing.T, c <-chan struct{}, what string) time.Duration {
	t.Helper()
	began := time.Now()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal(what)
	}
	return time.Since(began)
}

// TestStream: a file of version 0 is read record by record.
func TestStream(t *testing.T) {
	s := serve(t)
	s.disk.stream = newStream()
	_, dir := s.mount(t, Options{})
	f, err := os.OpenFile(filepath.Join(dir, "stream"), os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	in := bufio.NewReader(f)
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		s.disk.stream.records <- want
		if got, err := in.ReadString('\n'); got != want {
			t.Fatalf("%q %v, want %q", got, err, want)
		}
	}
	// The same open file can be written meanwhile.
	w, err := os.OpenFile(filepath.Join(dir, "stream"), os.O_WRONLY|os.O_TRUNC, 0)
	check(t, err)
	defer w.Close()
	_, err = w.WriteString("four\n")
	check(t, err)
	if got, err := in.ReadString('\n'); got != "four\n" {
		t.Errorf("%q %v", got, err)
	}
}

// TestInterruptRead ends processes that wait in a read.
func TestInterruptRead(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := serve(t)
			s.disk.stream = newStream()
			_, dir := s.mount(t, Options{})
			p := start(t, "read", filepath.Join(dir, "stream"))
			p.ready(t)
			within(t, s.disk.stream.waiting, "the read never came")
			check(t, p.Process.Signal(sig))
			took := within(t, s.disk.stream.flushed, "the read was not cancelled")
			p.Wait()
			t.Logf("the server heard of it after %v", took)
		})
	}
}

// TestInterruptStat: a process whose stat waits can be ended, but a signal
// that it catches does not disturb it.
func TestInterruptStat(t *testing.T) {
	s := serve(t)
	s.disk.gate = newGate()
	check(t, os.WriteFile(s.back("slow"), nil, 0o644))
	_, dir := s.mount(t, Options{})

	p := start(t, "stat", filepath.Join(dir, "slow"))
	tid, err := strconv.Atoi(p.line(t))
	check(t, err)
	within(t, s.disk.gate.waiting, "the stat never came")
	check(t, unix.Tgkill(p.Process.Pid, tid, unix.SIGUSR1))
	select {
	case <-s.disk.gate.flushed:
		t.Error("a caught signal cancelled a stat")
	case <-time.After(4 * signalPoll): // nothing is to be waited for
	}
	check(t, p.Process.Kill())
	within(t, s.disk.gate.flushed, "the stat was not cancelled")
	p.Wait()

	p = start(t, "stat", filepath.Join(dir, "slow"))
	tid, err = strconv.Atoi(p.line(t))
	check(t, err)
	within(t, s.disk.gate.waiting, "the stat never came")
	check(t, unix.Tgkill(p.Process.Pid, tid, unix.SIGUSR1))
	close(s.disk.gate.open)
	p.ready(t)
	p.finish(t)
}

// TestUnmountCancels: requests that wait do not hold up the end.
func TestUnmountCancels(t *testing.T) {
	s := serve(t)
	s.disk.gate = newGate()
	check(t, os.WriteFile(s.back("slow"), nil, 0o644))
	m, dir := s.mount(t, Options{})
	p := start(t, "stat", filepath.Join(dir, "slow"))
	p.line(t)
	within(t, s.disk.gate.waiting, "the stat never came")
	if os.Geteuid() == 0 {
		if err := m.Unmount(); !errors.Is(err, syscall.EBUSY) {
			t.Error("unmounting in use:", err)
		}
		check(t, m.Close())
		within(t, s.disk.gate.flushed, "the stat was not cancelled")
	}
	if isMounted(t, dir) {
		t.Error("it is mounted still")
	}
}

func TestJudgeSignals(t *testing.T) {
	const head = "Name:\tx\nPid:\t1\n"
	set := func(pnd, shd, blk, ign, cgt string) []byte {
		return []byte(head + "SigPnd:\t" + pnd + "\nShdPnd:\t" + shd + "\nSigBlk:\t" + blk + "\nSigIgn:\t" + ign + "\nSigCgt:\t" + cgt + "\nCapInh:\t0\n")
	}
	const (
		none = "0000000000000000"
		kill = "0000000000000100"
		hup  = "0000000000000001"
		usr1 = "0000000000000200"
		urg  = "0000000000400000"
		tstp = "0000000000080000"
		all  = "fffffffffffffeff"
	)
	for _, c := range []struct {
		text []byte
		want pending
	}{
		{set(none, none, none, none, none), pending{}},
		{set(kill, none, none, none, all), pending{some: true, any: true, fatal: true}},
		{set(none, hup, none, none, none), pending{some: true, any: true, fatal: true}},
		{set(none, hup, none, none, hup), pending{some: true, any: true}},
		{set(hup, none, hup, none, none), pending{}},
		{set(none, hup, none, hup, none), pending{}},
		{set(usr1, none, none, none, all), pending{some: true, any: true}},
		{set(urg, none, none, none, all), pending{some: true}},
		{set(none, tstp, none, none, none), pending{some: true, any: true}},
		{[]byte("rubbish"), pending{}},
		{[]byte(head + "SigPnd:\tzzz\n"), pending{}},
	} {
		if got := judgeSignals(c.text); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.text, got, c.want)
		}
	}
	if _, err := pendingSignals(1 << 30); err == nil {
		t.Error("a thread that is not there has signals")
	}
}

// TestStatus: whatever the server answers, the kernel gets what it takes.
func TestStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fuse.Status
	}{
		{nil, fuse.OK},
		{syscall.ENOENT, fuse.ENOENT},
		{&net.OpError{Err: syscall.ECONNRESET}, fuse.EIO},
		{syscall.ENOSYS, fuse.ENOTSUP},
		{syscall.Errno(0), fuse.EIO},
		{syscall.Errno(512), fuse.EIO},
		{syscall.Errno(1 << 31), fuse.EIO},
		{errors.New("x"), fuse.EIO},
		{(&op{done: closed()}).Err(), fuse.EINTR},
	} {
		if got := status(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
