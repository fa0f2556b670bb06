package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"testing"

	"9fans.net/go/plan9"
	plan9client "9fans.net/go/plan9/client"
)

func (d *device) plan9(t *testing.T) *plan9client.Fsys {
	t.Helper()
	conn, err := plan9client.Dial("unix", filepath.Join(d.dir, "9p.sock"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	fs, err := conn.Attach(nil, "glenda", "files")
	must(t, err)
	return fs
}

// wstat changes what change sets in a Dir that touches nothing.
func wstat(t *testing.T, fs *plan9client.Fsys, name string, change func(*plan9.Dir)) error {
	var d plan9.Dir
	d.Null()
	change(&d)
	return fs.Wstat(name, &d)
}

// Test9pfuse sends what 9pfuse does for the calls of Unix programs, to a server
// with a volume: requests of 4096 bytes, truncation by OTRUNC and by wstat,
// fsync and rename as wstat, errors in strerror's words.
func Test9pfuse(t *testing.T) {
	d := newDevice(t)
	d.run(t, "volume", "create", "files")
	fs := d.plan9(t)
	f, err := fs.Create("f", plan9.ORDWR, 0o644)
	must(t, err)
	want := noise(9, 300_001)
	for off := 0; off < len(want); off += 4096 {
		p := want[off:min(off+4096, len(want))]
		if n, err := f.WriteAt(p, int64(off)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	var null plan9.Dir
	null.Null()
	must(t, f.Wstat(&null)) // fsync: what was written survives a crash
	d.kill(syscall.SIGKILL)
	d.start(t)
	fs = d.plan9(t)
	f, err = fs.Open("f", plan9.OREAD)
	must(t, err)
	var got []byte
	for buf := make([]byte, 4096); ; {
		n, err := f.ReadAt(buf, int64(len(got)))
		got = append(got, buf[:n]...)
		if n == 0 || err == io.EOF {
			break
		}
		must(t, err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("after a crash %d bytes, %d were synced", len(got), len(want))
	}
	must(t, f.Close())
	f, err = fs.Open("f", plan9.OWRITE|plan9.OTRUNC)
	must(t, err)
	must(t, f.Close())
	must(t, wstat(t, fs, "f", func(d *plan9.Dir) { d.Length = 10_000_000_000 }))
	must(t, wstat(t, fs, "f", func(d *plan9.Dir) { d.Mode = syscall.S_IFREG | 0o600 }))
	must(t, wstat(t, fs, "f", func(d *plan9.Dir) { d.Mtime, d.Atime = 1e9, 1e9 }))
	must(t, wstat(t, fs, "f", func(d *plan9.Dir) { d.Name = "g" }))
	st, err := fs.Stat("g")
	must(t, err)
	if st.Length != 10_000_000_000 || st.Mode != 0o600 || st.Mtime != 1e9 || st.Name != "g" {
		t.Errorf("it is %v", st)
	}
	plan9Directories(t, fs)
	plan9Errors(t, fs)
}

func plan9Directories(t *testing.T, fs *plan9client.Fsys) {
	dir, err := fs.Create("dir", plan9.OREAD, plan9.DMDIR|0o755)
	must(t, err)
	must(t, dir.Close())
	for i := range 300 {
		f, err := fs.Create(fmt.Sprintf("dir/file with a name of some length %d", i), plan9.OWRITE, 0o644)
		must(t, err)
		must(t, f.Close())
	}
	dir, err = fs.Open("dir", plan9.OREAD)
	must(t, err)
	seen := make(map[string]bool)
	for {
		list, err := dir.Dirread()
		if len(list) == 0 || err == io.EOF {
			break
		}
		must(t, err)
		for _, d := range list {
			if seen[d.Name] {
				t.Errorf("%s was seen twice", d.Name)
			}
			seen[d.Name] = true
			must(t, fs.Remove("dir/"+d.Name)) // while it is read
		}
	}
	if len(seen) != 300 {
		t.Errorf("%d of 300 files are listed", len(seen))
	}
	must(t, fs.Remove("dir"))
}

func plan9Errors(t *testing.T, fs *plan9client.Fsys) {
	for _, dir := range []string{"full", "full/sub"} {
		f, err := fs.Create(dir, plan9.OREAD, plan9.DMDIR|0o755)
		must(t, err)
		must(t, f.Close())
	}
	open := func(name string, mode uint8) error {
		f, err := fs.Open(name, mode)
		if err == nil {
			f.Close()
		}
		return err
	}
	create := func(name string) error { _, err := fs.Create(name, plan9.OWRITE, 0o644); return err }
	for _, c := range []struct {
		err  error
		want string
	}{
		{open("none", plan9.OREAD), "No such file or directory"},
		{open("full", plan9.OWRITE), "Is a directory"},
		{fs.Remove("full"), "Directory not empty"},
		{create("g"), "File exists"},
		{wstat(t, fs, "g", func(d *plan9.Dir) { d.Name = "full" }), "Is a directory"},
		{wstat(t, fs, "g", func(d *plan9.Dir) { d.Name = "a/b" }), "Invalid argument"},
		{wstat(t, fs, "full", func(d *plan9.Dir) { d.Length = 5 }), "Is a directory"},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
}

// TestPlan9Bits keeps files that are append-only or for exclusive use over a
// restart.
func TestPlan9Bits(t *testing.T) {
	d := newDevice(t)
	d.run(t, "volume", "create", "files")
	fs := d.plan9(t)
	log, err := fs.Create("log", plan9.OWRITE, plan9.DMAPPEND|0o644)
	must(t, err)
	_, err = log.WriteAt([]byte("one "), 0)
	must(t, err)
	lock, err := fs.Create("lock", plan9.ORDWR, plan9.DMEXCL|0o644)
	must(t, err)
	if _, err := fs.Open("lock", plan9.OREAD); err == nil || err.Error() != "Device or resource busy" {
		t.Errorf("opened twice: %v", err)
	}
	must(t, lock.Close())
	must(t, d.kill(syscall.SIGTERM))
	d.start(t)
	fs = d.plan9(t)
	log, err = fs.Open("log", plan9.ORDWR|plan9.OTRUNC)
	must(t, err)
	_, err = log.WriteAt([]byte("two"), 0)
	must(t, err)
	buf := make([]byte, 100)
	n, err := log.ReadAt(buf, 0)
	if string(buf[:n]) != "one two" {
		t.Errorf("the log has %q, %v", buf[:n], err)
	}
	lock, err = fs.Open("lock", plan9.ORDWR)
	must(t, err)
	if _, err := d.plan9(t).Open("lock", plan9.OREAD); err == nil || err.Error() != "Device or resource busy" {
		t.Errorf("opened twice after a restart: %v", err)
	}
	must(t, lock.Close())
	st, err := fs.Stat("lock")
	must(t, err)
	if st.Mode != plan9.DMEXCL|0o644 {
		t.Errorf("its mode is %v", st.Mode)
	}
}
