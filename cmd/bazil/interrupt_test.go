package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bazil/ctlfs"
)

// TestSyncInterrupted: a sync at a terminal shows how far it is, ends at once
// by an interrupt, says so, and the next one gets only the rest.
func TestSyncInterrupted(t *testing.T) {
	const files, size = 24, 1 << 20
	white, black := newDevice(t), newDevice(t)
	tap := newTap(t, white.addr)
	befriend(t, white, black, "v", tap.addr(), noise(3, sharingKeyLen))
	dir := white.attach(t, "v")
	for n := range files {
		must(t, put(dir, fmt.Sprint("f", n), noise(uint64(n)+100, size)))
	}
	tap.allow(files / 3 * size) // then nothing comes through
	tty, cmd := atTerminal(t, "bazil", "-data-dir="+black.dir, "volume", "sync", "v", "white")
	tty.waitFor(t, "v, white: ", " bytes")
	began := time.Now()
	tty.press(t, "\x03")
	within(t, atOnce, "Ctrl-C of a sync", func() { cmd.Wait() })
	t.Logf("interrupted after %v", time.Since(began).Round(time.Millisecond))
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	tty.waitFor(t, "bazil: interrupted")
	tap.allow(1 << 40)
	before := black.syncRecord(t, func(r ctlfs.Record) bool { return r.Get("ended") != "" })
	if before.Get("error") == "" {
		t.Errorf("the status tells of no error: %v", before)
	}
	black.run(t, "volume", "sync", "v", "white")
	after := black.syncRecord(t, func(r ctlfs.Record) bool { return r.Get("ended") != "" && r.Get("error") == "" })
	rest, err := strconv.Atoi(after.Get("bytes"))
	must(t, err)
	if all := files * size; rest > all*3/4+size || rest == 0 {
		t.Errorf("the second sync got %d of %d bytes, after %v", rest, all, before)
	}
	t.Logf("the second sync got %d of %d bytes", rest, files*size)
	root := black.attach(t, "v")
	for n := range files {
		if b, err := get(root, fmt.Sprint("f", n), size); err != nil || !bytes.Equal(b, noise(uint64(n)+100, size)) {
			t.Fatalf("f%d: %d bytes, %v", n, len(b), err)
		}
	}
}

// syncRecord waits for a record of a sync in status.
func (d *device) syncRecord(t *testing.T, want func(ctlfs.Record) bool) (r ctlfs.Record) {
	t.Helper()
	within(t, time.Minute, "the record of a sync", func() {
		for {
			for line := range strings.Lines(d.ctl(t, "status")) {
				var err error
				if r, err = ctlfs.ParseRecord(strings.TrimSuffix(line, "\n")); err == nil && r.Get("sync") == "v" && want(r) {
					return
				}
			}
		}
	})
	return r
}

// tap passes connections on to an address, and bytes from there only as many
// as are allowed.
type tap struct {
	l  net.Listener
	to string

	mu   sync.Mutex // guards left
	more *sync.Cond
	left int
}

func newTap(t *testing.T, to string) *tap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &tap{l: l, to: to, left: 1 << 20}
	p.more = sync.NewCond(&p.mu)
	t.Cleanup(func() { l.Close(); p.allow(1 << 40) })
	go p.run()
	return p
}

func (p *tap) addr() string { return p.l.Addr().String() }

func (p *tap) allow(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = n
	p.more.Broadcast()
}

func (p *tap) take(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.left < n {
		p.more.Wait()
	}
	p.left -= n
}

func (p *tap) run() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		go func() { io.Copy(out, in); out.Close() }()
		go func() { io.Copy(in, &tapped{out, p}); in.Close() }()
	}
}

type tapped struct {
	net.Conn
	p *tap
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), 32<<10)])
	c.p.take(n)
	return n, err
}

// terminal is a pseudo-terminal, and what was written to it.
type terminal struct {
	master *os.File

	mu   sync.Mutex // guards said
	said bytes.Buffer
}

func (y *terminal) press(t *testing.T, keys string) {
	t.Helper()
	_, err := y.master.WriteString(keys)
	must(t, err)
}

// atTerminal starts a program whose standard files are a terminal.
func atTerminal(t *testing.T, name string, args ...string) (*terminal, *exec.Cmd) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { master.Close() })
	var unlock, num int32
	for req, arg := range map[uintptr]*int32{unix.TIOCSPTLCK: &unlock, unix.TIOCGPTN: &num} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), req, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Fatal(errno)
		}
	}
	slave, err := os.OpenFile(filepath.Join("/dev/pts", fmt.Sprint(num)), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	defer slave.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	tty := &terminal{master: master}
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := master.Read(b)
			tty.mu.Lock()
			tty.said.Write(b[:n])
			tty.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return tty, cmd
}

// waitFor waits until the terminal has shown some texts, in any order.
func (y *terminal) waitFor(t *testing.T, texts ...string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		y.mu.Lock()
		said := y.said.String()
		y.mu.Unlock()
		missing := ""
		for _, text := range texts {
			if !strings.Contains(said, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the terminal does not show %q but %q", missing, said)
		}
	}
}
