package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// circle is three devices that share volume v, know each other by name and
// have it mounted.
type circle struct {
	t   *testing.T
	all []*member
}

type member struct {
	*device
	name, key, mnt string
}

func newCircle(t *testing.T) *circle {
	needFUSE(t)
	c := &circle{t: t}
	for _, name := range []string{"red", "green", "blue"} {
		d := newDevice(t)
		d.addKey(t, "k", noise(7, sharingKeyLen))
		c.all = append(c.all, &member{device: d, name: name, key: d.run(t, "pubkey")})
	}
	c.all[0].ctl(t, "volume", "create", "v", "sharing=k")
	for _, m := range c.all {
		for _, peer := range c.all {
			if peer != m {
				_, port, err := net.SplitHostPort(peer.addr)
				must(t, err)
				m.ctl(t, "peer", "add", peer.key, peer.name)
				m.ctl(t, "peer", "location", "set", peer.name, net.JoinHostPort("127.0.0.1", port))
				m.ctl(t, "peer", "storage", "allow", peer.name, "local")
			}
		}
	}
	for _, m := range c.all[1:] {
		c.all[0].ctl(t, "peer", "volume", "allow", m.name, "v")
		m.ctl(t, "volume", "connect", c.all[0].name, "v", "sharing=k")
		for _, peer := range c.all {
			if peer != m {
				m.ctl(t, "peer", "volume", "allow", peer.name, "v")
			}
		}
	}
	for _, m := range c.all {
		m.mnt = m.mountAgain(t, "v", "--fuse")
	}
	return c
}

// gossip lets all hear of all, in a ring, twice.
func (c *circle) gossip() {
	for range 2 {
		for n, m := range c.all {
			m.ctl(c.t, "sync", "v", c.all[(n+2)%3].name)
		}
	}
}

// files is the contents of the files below a directory of a member's mount.
func (m *member) files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(filepath.Join(m.mnt, dir), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() {
			return nil
		}
		if err == nil {
			var b []byte
			b, err = os.ReadFile(path)
			rel, _ := filepath.Rel(m.mnt, path)
			all[rel] = string(b)
		}
		return err
	}))
	return all
}

// versions is the sorted contents of all versions of each name in conflict.
func (m *member) versions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	var conflicts []conflict
	must(t, json.Unmarshal([]byte(m.run(t, "conflicts", "--json")), &conflicts))
	root := m.attach(t, "")
	for _, c := range conflicts {
		var versions []string
		for _, s := range c.Siblings {
			b, err := get(root, strings.TrimPrefix(s.File, "/"), 100)
			if err != nil {
				b = []byte("no file")
			}
			versions = append(versions, string(b))
		}
		slices.Sort(versions)
		all[c.Path] = strings.Join(versions, " | ")
	}
	return all
}

// tree is files, and for a name in conflict all its versions.
func (m *member) tree(t *testing.T, dir string, versions map[string]string) map[string]string {
	t.Helper()
	all := m.files(t, dir)
	for path, text := range versions {
		if strings.HasPrefix(path, dir+"/") {
			all[path] = text
		}
	}
	return all
}

func TestCircle(t *testing.T) {
	c := newCircle(t)
	t.Run("conflicts", c.conflictMatrix)
	t.Run("follow", c.follow)
}

// conflictMatrix is the main rows of the table in merge/replica's doc.go,
// at three servers and mounts: two change the same things without hearing of
// each other, and all three come to see the same.
func (c *circle) conflictMatrix(t *testing.T) {
	c.t = t
	type change func(dir string) error
	write := func(name, text string) change {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) }
	}
	remove := func(name string) change {
		return func(dir string) error { return os.RemoveAll(filepath.Join(dir, name)) }
	}
	rename := func(from, to string) change {
		return func(dir string) error { return os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)) }
	}
	mkdir := func(name string) change {
		return func(dir string) error { return os.Mkdir(filepath.Join(dir, name), 0o755) }
	}
	chmod := func(name string) change {
		return func(dir string) error { return os.Chmod(filepath.Join(dir, name), 0o600) }
	}
	rows := []struct {
		name       string
		red, green []change
		want       map[string]string // beside "f" and "d/g", which hold "base" at first
	}{
		{"edit and edit", []change{write("f", "red")}, []change{write("f", "green")}, map[string]string{"f": "green | red", "d/g": "base"}},
		{"the same edit", []change{write("f", "both")}, []change{write("f", "both")}, map[string]string{"f": "both", "d/g": "base"}},
		{"edit and delete", []change{write("f", "red")}, []change{remove("f")}, map[string]string{"f": "red", "d/g": "base"}},
		{"delete and delete", []change{remove("f")}, []change{remove("f")}, map[string]string{"d/g": "base"}},
		{"create and create", []change{write("new", "red")}, []change{write("new", "green")}, map[string]string{"f": "base", "d/g": "base", "new": "green | red"}},
		{"create the same", []change{write("new", "both")}, []change{write("new", "both")}, map[string]string{"f": "base", "d/g": "base", "new": "both"}},
		{"rename and edit", []change{rename("f", "h")}, []change{write("f", "green")}, map[string]string{"f": "green", "h": "base", "d/g": "base"}},
		{"rename and rename", []change{rename("f", "h")}, []change{rename("f", "i")}, map[string]string{"h": "base", "i": "base", "d/g": "base"}},
		{"rename and delete", []change{rename("f", "h")}, []change{remove("f")}, map[string]string{"h": "base", "d/g": "base"}},
		{"directory gone, child edited", []change{remove("d")}, []change{write("d/g", "green")}, map[string]string{"f": "base", "d/g": "green"}},
		{"directory moved, child edited", []change{rename("d", "e")}, []change{write("d/g", "green")}, map[string]string{"f": "base", "d/g": "green", "e/g": "base"}},
		{"file becomes directory, edit", []change{remove("f"), mkdir("f"), write("f/x", "red")}, []change{write("f", "green")}, map[string]string{"f/x": "red", "d/g": "base", "f": "a directory: its files are in /v/file becomes directory, edit/f\n | green"}},
		{"attributes and edit", []change{chmod("f")}, []change{write("f", "green")}, map[string]string{"f": "green", "d/g": "base"}},
	}
	do := func(m *member, row string, changes ...change) {
		t.Helper()
		for _, ch := range changes {
			must(t, ch(filepath.Join(m.mnt, row)))
		}
	}
	for _, r := range rows {
		do(c.all[0], "", mkdir(r.name))
		do(c.all[0], r.name, write("f", "base"), mkdir("d"), write("d/g", "base"))
	}
	c.gossip()
	for _, r := range rows {
		do(c.all[0], r.name, r.red...)
		do(c.all[1], r.name, r.green...)
	}
	c.gossip()
	for _, m := range c.all {
		versions := m.versions(t)
		for _, r := range rows {
			want := map[string]string{}
			for name, text := range r.want {
				want[r.name+"/"+name] = text
			}
			if got := m.tree(t, r.name, versions); !maps.Equal(got, want) {
				t.Errorf("%s: %s has %q, want %q", r.name, m.name, got, want)
			}
		}
	}
	blue := c.all[2] // who made none of them ends them
	blue.run(t, "resolve", "v/edit and edit/f", "keep", "red")
	blue.run(t, "resolve", "v/create and create/new", "keep", "green")
	c.gossip()
	for _, m := range c.all {
		versions := m.versions(t)
		if f, n := m.tree(t, "edit and edit", versions)["edit and edit/f"], m.tree(t, "create and create", versions)["create and create/new"]; f != "red" || n != "green" {
			t.Errorf("%s has %q and %q after they were resolved", m.name, f, n)
		}
	}
}

// follow: three that follow each other come to have the same, and
// then have nothing to tell: what goes round is not told again and again. A
// change costs each a bounded number of transactions.
func (c *circle) follow(t *testing.T) {
	c.t = t
	for _, m := range c.all {
		for _, peer := range c.all {
			if peer != m {
				m.ctl(t, "volume", "follow", "v", peer.name)
			}
		}
	}
	const rounds = 5
	for n := range rounds {
		for _, m := range c.all {
			must(t, os.WriteFile(filepath.Join(m.mnt, fmt.Sprint(m.name, n)), []byte(fmt.Sprint(n)), 0o644))
			must(t, os.WriteFile(filepath.Join(m.mnt, "same"), []byte(fmt.Sprint(n)), 0o644))
		}
		must(t, os.WriteFile(filepath.Join(c.all[n%3].mnt, "marker"), []byte(fmt.Sprint(n)), 0o644))
		c.settle(fmt.Sprint(n))
	}
	c.quiet()
	before := c.commits()
	const changes = 5
	for n := range changes {
		m := c.all[n%3]
		must(t, os.WriteFile(filepath.Join(m.mnt, "marker"), []byte(fmt.Sprint("again ", n)), 0o644))
		c.settle(fmt.Sprint("again ", n))
	}
	c.quiet()
	for n, after := range c.commits() {
		// Of its own changes one each, of others' what the pulls from two peers
		// bring: names, what the directory knows, content.
		if cost := after - before[n]; cost > 12*changes {
			t.Errorf("%s made %d transactions for %d changes", c.all[n].name, cost, changes)
		} else {
			t.Logf("%s: %d transactions for %d changes", c.all[n].name, cost, changes)
		}
	}
}

// settle waits until all have that marker, and the same tree.
func (c *circle) settle(marker string) {
	c.t.Helper()
	c.within("all are the same", func() bool {
		first := c.all[0].files(c.t, "")
		return first["marker"] == marker && maps.Equal(first, c.all[1].files(c.t, "")) && maps.Equal(first, c.all[2].files(c.t, ""))
	})
}

// quiet waits until no server has committed anything for a while: a second,
// in which fifty pulls could go round.
func (c *circle) quiet() {
	c.t.Helper()
	last, since := c.commits(), time.Now()
	c.within("all are quiet", func() bool {
		now := c.commits()
		if !slices.Equal(now, last) {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

func (c *circle) within(what string, f func() bool) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !f(); <-tick.C {
		if time.Now().After(end) {
			c.t.Fatalf("not so after a minute: %s", what)
		}
	}
}

// commits are the numbers of the last transactions of the volume at each, from
// the two pages at the beginning of a Bolt file.
func (c *circle) commits() (all []uint64) {
	for _, m := range c.all {
		all = append(all, m.commits(c.t))
	}
	return all
}

// commits is the greater of the transaction numbers in the two pages at the
// beginning of the volume's Bolt file.
func (m *member) commits(t *testing.T) uint64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "volumes", "*.db"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	f, err := os.Open(files[0])
	must(t, err)
	defer f.Close()
	const pageHeader, pageSize, txid = 16, 8, 48
	var size [4]byte
	_, err = f.ReadAt(size[:], pageHeader+pageSize)
	must(t, err)
	var b [2][8]byte
	for n := range b {
		at := n*int(binary.LittleEndian.Uint32(size[:])) + pageHeader + txid
		_, err := f.ReadAt(b[n][:], int64(at))
		must(t, err)
	}
	return max(binary.LittleEndian.Uint64(b[0][:]), binary.LittleEndian.Uint64(b[1][:]))
}
