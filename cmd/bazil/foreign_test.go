package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"9fans.net/go/plan9"
	plan9client "9fans.net/go/plan9/client"
	"github.com/hugelgupf/p9/p9"
)

// foreignSizes are the files that foreign clients write and read back.
var foreignSizes = []int{0, 1, 4096, 65537, 1 << 20, 100 << 20}

// TestForeignClients has the 9P clients of others write and read a volume.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.run(t, "volume", "create", "files")
	sock := filepath.Join(d.dir, "9p.sock")
	for i, n := range foreignSizes {
		want := noise(uint64(i), n)
		viaHugelgupf(t, sock, fmt.Sprint("l", n), want)
		viaPlan9(t, sock, fmt.Sprint("p", n), want)
	}
}

func viaHugelgupf(t *testing.T, sock, name string, want []byte) {
	conn, err := net.Dial("unix", sock)
	must(t, err)
	c, err := p9.NewClient(conn)
	must(t, err)
	defer c.Close()
	root, err := c.Attach("files")
	must(t, err)
	_, f, err := root.Walk(nil)
	must(t, err)
	_, _, _, err = f.Create(name, p9.ReadWrite, 0o644, p9.NoUID, p9.NoGID)
	must(t, err)
	for at := 0; at < len(want); {
		n, err := f.WriteAt(want[at:min(at+64<<10-1024, len(want))], int64(at))
		must(t, err)
		at += n
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, int64(len(want))+1))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d other bytes came back", name, len(got))
	}
	must(t, f.Close())
	must(t, root.UnlinkAt(name, 0))
}

func viaPlan9(t *testing.T, sock, name string, want []byte) {
	conn, err := plan9client.Dial("unix", sock)
	must(t, err)
	defer conn.Close()
	fs, err := conn.Attach(nil, "glenda", "files")
	must(t, err)
	f, err := fs.Create(name, plan9.ORDWR, 0o644)
	must(t, err)
	_, err = f.Write(want)
	must(t, err)
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	got, err := io.ReadAll(f)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d other bytes came back", name, len(got))
	}
	must(t, f.Close())
	must(t, fs.Remove(name))
}
