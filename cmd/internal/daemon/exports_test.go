package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv/client"
	"bazil/p9srv/export"
)

func dial(t *testing.T, sock string) *client.Conn {
	t.Helper()
	nc, err := export.DialUnix(t.Context(), sock)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(t.Context(), nc, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestExportRemovesItself removes an export by a command that comes through
// it: the connection ends, and the server goes on taking commands.
func TestExportRemovesItself(t *testing.T) {
	d := start(t, "")
	sock := filepath.Join(t.TempDir(), "s")
	must(t, d, "export add x unix!"+sock)
	c := dial(t, sock)
	root, err := c.Attach(t.Context(), "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := opened(t, root, "ctl/ctl", syscall.O_RDWR)
	f.WriteAt(t.Context(), []byte("export remove x"), 0)
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the connection goes on")
	}
	must(t, d, "export add x unix!"+sock, "export remove x")
}

// TestExportsAreKept has exports over a restart, of which one cannot listen any
// more: it says why, the others work, and it can be removed.
func TestExportsAreKept(t *testing.T) {
	d := start(t, "")
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone")
	if err := os.Mkdir(gone, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, d, "volume create v", "export add kept unix!"+dir+"/s volume=v ro conns=3", "export add lost unix!"+gone+"/s")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	d = start(t, d.o.Dir)
	root, err := dial(t, dir+"/s").Attach(t.Context(), "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Mkdir(t.Context(), "x", 0o755, 0); err != syscall.EROFS {
		t.Errorf("mkdir in what is exported ro: %v", err)
	}
	list, err := ctl(t, d, "export list")
	if err != nil || !strings.Contains(list, "conns=1") || !strings.Contains(list, "state=failed") || !strings.Contains(list, "no such file or directory") {
		t.Errorf("the list says %s, %v", list, err)
	}
	must(t, d, "export remove lost")
	wantError(t, d, "export add bad unix!"+gone+"/s", syscall.ENOENT, "no such file or directory")
	wantError(t, d, "export add bad unix!/x volume=none", syscall.ENOENT, "none")
	wantError(t, d, "export add kept unix!/x", syscall.EEXIST, "already")
	wantError(t, d, "export add bad fd!77", syscall.EBADF, "was not started with it")
	wantError(t, d, "export add bad unix!"+dir+"/s", syscall.EADDRINUSE, "another server answers")
	wantError(t, d, "export add bad tcp!192.0.2.1!564", syscall.EINVAL, "insecure")
}
