package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv/client"
)

// attachAt connects to a unix socket as user 0.
func attachAt(t *testing.T, sock, aname string) *client.Fid {
	t.Helper()
	nc, err := net.Dial("unix", sock)
	must(t, err)
	c, err := client.New(t.Context(), nc, client.Options{})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	f, err := c.Attach(t.Context(), "", aname, 0)
	must(t, err)
	return f
}

// TestSocketActivation gives the server a listening socket as descriptor 3, as
// systemd does, and an export that takes it. Clients that came before the
// server started are served, and after a restart with the socket again.
func TestSocketActivation(t *testing.T) {
	d := newDevice(t)
	d.run(t, "volume", "create", "files")
	sock := filepath.Join(t.TempDir(), "activated")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: sock})
	must(t, err)
	defer l.Close()
	f, err := l.File()
	must(t, err)
	defer f.Close()
	out, err := exec.Command("bazil", "-data-dir="+d.dir, "export", "add", "systemd", "fd!3").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "fd!3: the server was not started with it") {
		t.Errorf("without a socket: %s, %v", out, err)
	}
	for round := range 2 {
		must(t, d.kill(syscall.SIGTERM))
		waiting := make(chan *client.Fid)
		go func() { waiting <- attachAt(t, sock, "") }()
		d.files = []*os.File{f}
		d.start(t)
		if round == 0 {
			d.run(t, "export", "add", "systemd", "fd!3", "volume=files")
		}
		root := <-waiting
		name := []string{"first", "second"}[round]
		_, err := root.Mkdir(t.Context(), name, 0o755, 0)
		must(t, err)
	}
	if list := d.run(t, "export", "list", "--records"); !strings.Contains(list, "export=systemd dial=fd!3") {
		t.Errorf("the list is %s", list)
	}
}

// TestStaleSockets kills a server, whose sockets stay, and starts it again.
func TestStaleSockets(t *testing.T) {
	d := newDevice(t)
	sock := filepath.Join(t.TempDir(), "s")
	d.run(t, "volume", "create", "files")
	d.run(t, "export", "add", "more", "unix!"+sock, "volume=files")
	d.kill(syscall.SIGKILL)
	if _, err := os.Lstat(sock); err != nil {
		t.Fatal("the socket did not stay: ", err)
	}
	d.start(t)
	_, err := attachAt(t, sock, "").Mkdir(t.Context(), "here", 0o755, 0)
	must(t, err)
	if fi, err := os.Stat(sock); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", fi.Mode(), err)
	}
}
