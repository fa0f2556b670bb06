package p9srv_test

import (
	"bytes"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/p9srv"

	"9fans.net/go/plan9"
	plan9client "9fans.net/go/plan9/client"
	"github.com/hugelgupf/p9/p9"
)

// TestHugelgupf drives the server with another implementation's client of
// 9P2000.L.
func TestHugelgupf(t *testing.T) {
	tree := tempTree(t)
	c, err := p9.NewClient(dial(t, listen(t, &p9srv.Server{Tree: tree})))
	check(t, err)
	root, err := c.Attach("")
	check(t, err)
	_, err = root.Mkdir("dir", 0o755, 0, 0)
	check(t, err)
	_, dir, err := root.Walk([]string{"dir"})
	check(t, err)
	f, _, _, err := dir.Create("file", p9.ReadWrite, 0o600, 0, 0)
	check(t, err)
	data := make([]byte, 300000)
	rand.New(rand.NewSource(3)).Read(data)
	if n, err := f.WriteAt(data, 0); n != len(data) || err != nil {
		t.Fatal(n, err)
	}
	check(t, f.FSync())
	got := make([]byte, len(data))
	if n, err := f.ReadAt(got, 0); n != len(data) || err != nil || !bytes.Equal(got, data) {
		t.Fatal(n, err)
	}
	if n, err := f.ReadAt(got, int64(len(data))); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
	hugelgupfNames(t, root)
	_, _, a, err := f.GetAttr(p9.AttrMaskAll)
	check(t, err)
	if a.Size != uint64(len(data)) || a.Mode != p9.FileMode(syscall.S_IFREG|0o600) {
		t.Errorf("%+v", a)
	}
	if _, err := f.StatFS(); err != nil {
		t.Error(err)
	}
	check(t, f.Close())
	check(t, c.Close())
}

func hugelgupfNames(t *testing.T, root p9.File) {

	_, err := root.Symlink("to", "sym", 0, 0)
	check(t, err)
	_, sym, err := root.Walk([]string{"sym"})
	check(t, err)
	if target, err := sym.Readlink(); target != "to" || err != nil {
		t.Error(target, err)
	}
	_, dir, err := root.Walk([]string{"dir"})
	check(t, err)
	check(t, root.RenameAt("sym", dir, "sym2"))
	if _, _, err := root.Walk([]string{"sym"}); err == nil || err.Error() != syscall.ENOENT.Error() {
		t.Error(err)
	}
	_, open, err := root.Walk([]string{"dir"})
	check(t, err)
	_, _, err = open.Open(p9.ReadOnly)
	check(t, err)
	list, err := open.Readdir(0, 4096)
	check(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	if slices.Sort(names); strings.Join(names, " ") != ". .. file sym2" {
		t.Error(names)
	}
	check(t, dir.UnlinkAt("sym2", 0))
}

// TestHugelgupfParallel has many goroutines share that client.
func TestHugelgupfParallel(t *testing.T) {
	tree := tempTree(t)
	check(t, os.WriteFile(filepath.Join(tree.Dir, "f"), bytes.Repeat([]byte("0123456789abcdef"), 4096), 0o644))
	c, err := p9.NewClient(dial(t, listen(t, &p9srv.Server{Tree: tree})))
	check(t, err)
	defer c.Close()
	root, err := c.Attach("")
	check(t, err)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 50 {
				_, f, err := root.Walk([]string{"f"})
				if err != nil {
					t.Error(err)
					return
				}
				f.Open(p9.ReadOnly)
				b := make([]byte, 16)
				if n, err := f.ReadAt(b, int64(16*(g*50+i))); n != 16 || err != nil || string(b) != "0123456789abcdef" {
					t.Error(n, err, b)
				}
				f.Close()
			}
		})
	}
	all.Wait()
}

// plan9Root attaches with the 9P2000 client of 9fans.
func plan9Root(t *testing.T, tree p9srv.Tree) *plan9client.Fsys {
	t.Helper()
	c, err := plan9client.NewConn(dial(t, listen(t, &p9srv.Server{Tree: tree})))
	check(t, err)
	t.Cleanup(func() { c.Close() })
	fs, err := c.Attach(nil, "root", "")
	check(t, err)
	return fs
}

func TestPlan9Client(t *testing.T) {
	tree := tempTree(t)
	fs := plan9Root(t, tree)
	f, err := fs.Create("file", plan9.ORDWR, 0o640)
	check(t, err)
	data := bytes.Repeat([]byte("plan 9 "), 50000)
	for off := 0; off < len(data); off += 4096 {
		p := data[off:min(off+4096, len(data))]
		if n, err := f.WriteAt(p, int64(off)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	got := make([]byte, len(data))
	if n, err := f.ReadAt(got, 0); err != nil && n == 0 {
		t.Fatal(n, err)
	}
	f.Seek(0, 0)
	if n, err := f.ReadFull(got); n != len(data) || err != nil || !bytes.Equal(got, data) {
		t.Fatal(n, err)
	}
	check(t, f.Close())
	d, err := fs.Stat("file")
	check(t, err)
	if d.Name != "file" || d.Length != uint64(len(data)) || d.Mode != 0o640 || d.Uid != "root" {
		t.Errorf("%v", d)
	}
	check(t, fs.Access("file", plan9.AREAD))
	if _, err := fs.Open("none", plan9.OREAD); err == nil || err.Error() != "No such file or directory" {
		t.Error(err)
	}
	check(t, fs.Remove("file"))
	if err := fs.Remove("file"); err == nil || err.Error() != "No such file or directory" {
		t.Error(err)
	}
}

func TestPlan9Directories(t *testing.T) {
	tree := tempTree(t)
	fs := plan9Root(t, tree)
	f, err := fs.Create("dir", plan9.OREAD, plan9.DMDIR|0o755)
	check(t, err)
	f.Close()
	for i := range 500 {
		check(t, os.WriteFile(filepath.Join(tree.Dir, "dir", strings.Repeat("n", 50)+string(rune('a'+i%26))+string(rune('a'+i/26))), nil, 0o600))
	}
	f, err = fs.Open("dir", plan9.OREAD)
	check(t, err)
	list, err := f.Dirreadall()
	check(t, err)
	seen := make(map[string]bool)
	for _, d := range list {
		seen[d.Name] = true
	}
	if len(list) != 500 || len(seen) != 500 {
		t.Errorf("%d entries, %d names", len(list), len(seen))
	}
}

// TestPlan9Fuse sends what 9pfuse sends for the calls of Unix programs.
func TestPlan9Fuse(t *testing.T) {
	tree := tempTree(t)
	fs := plan9Root(t, tree)
	check(t, os.WriteFile(filepath.Join(tree.Dir, "f"), []byte("text"), 0o644))
	var null plan9.Dir
	null.Null()
	// truncate(path, 0)
	f, err := fs.Open("f", plan9.OWRITE|plan9.OTRUNC)
	check(t, err)
	if b, _ := os.ReadFile(filepath.Join(tree.Dir, "f")); len(b) != 0 {
		t.Errorf("still %q", b)
	}
	// write, fsync
	_, err = f.Write([]byte("new"))
	check(t, err)
	check(t, f.Wstat(&null))
	check(t, f.Close())
	// rename, truncate to a length, chmod with the type bits of Unix, utimes
	d := null
	d.Name = "g"
	check(t, fs.Wstat("f", &d))
	d = null
	d.Length = 1
	check(t, fs.Wstat("g", &d))
	d = null
	d.Mode = syscall.S_IFREG | 0o600
	check(t, fs.Wstat("g", &d))
	d = null
	d.Mtime, d.Atime = 1e9, 1e9
	check(t, fs.Wstat("g", &d))
	st, err := os.Stat(filepath.Join(tree.Dir, "g"))
	check(t, err)
	if st.Size() != 1 || st.Mode() != 0o600 || st.ModTime().Unix() != 1e9 {
		t.Error(st)
	}
	check(t, os.Mkdir(filepath.Join(tree.Dir, "d"), 0o755))
	d = null
	d.Mode = syscall.S_IFDIR | 0o700
	check(t, fs.Wstat("d", &d))
}
