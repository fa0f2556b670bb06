package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bazil/merge"
	"bazil/store/vol"
)

// matrix is what comes of two changes that did not know of each other, as the
// table in package merge says: a makes one of them, b the other, and c has both
// of them from others. In the end all have the same.
var matrix = []struct {
	name          string
	base, a, b    func(d *device)
	tree          string
	conflict      string // the paths in conflict
	versions      string // of the first of these: kinds and contents, sorted
	content, mode string // of f, where it is one file
}{
	{
		name: "edit, edit", base: file("f", "base"), a: file("f", "a"), b: file("f", "b"),
		tree: "f", conflict: "f", versions: "file:a file:b",
	},
	{
		name: "equal edits", base: file("f", "base"), a: file("f", "same"), b: file("f", "same"),
		tree: "f", content: "same",
	},
	{
		name: "edit, delete", base: file("f", "base"), a: file("f", "a"), b: gone("f"),
		tree: "f", content: "a",
	},
	{name: "delete, delete", base: file("f", "base"), a: gone("f"), b: gone("f")},
	{
		name: "delete, create again", base: file("f", "base"), a: gone("f"), b: both(gone("f"), file("f", "new")),
		tree: "f", content: "new",
	},
	{
		name: "create, create", a: file("f", "a"), b: file("f", "b"),
		tree: "f", conflict: "f", versions: "file:a file:b",
	},
	{name: "equal creates", a: file("f", "same"), b: file("f", "same"), tree: "f", content: "same"},
	{name: "directory, directory", a: both(dir("d"), file("d/1", "1")), b: both(dir("d"), file("d/2", "2")), tree: "d/ d/1 d/2"},
	{
		name: "file, directory", a: file("d", "a"), b: both(dir("d"), file("d/in", "in")),
		tree: "d/ d/in", conflict: "d", versions: "dir: file:a",
	},
	{
		name: "kind, edit", base: file("f", "base"), a: both(gone("f"), link("f", "elsewhere")), b: file("f", "b"),
		tree: "f", conflict: "f", versions: "file:b symlink:",
	},
	{
		name: "kind, delete", base: file("f", "base"), a: both(gone("f"), dir("f")), b: gone("f"),
		tree: "f/",
	},
	{
		name: "directory deleted, edit in it", base: both(dir("d"), file("d/f", "base"), file("d/g", "g")),
		a: both(gone("d/f"), gone("d/g"), gone("d")), b: file("d/f", "b"), tree: "d/ d/f",
	},
	{
		name: "directory deleted, create in it", base: dir("d"), a: gone("d"), b: file("d/new", "b"),
		tree: "d/ d/new",
	},
	{
		name: "rename, edit", base: file("f", "base"), a: move("f", "g"), b: file("f", "b"),
		tree: "f g", content: "b",
	},
	{name: "rename, delete", base: file("f", "base"), a: move("f", "g"), b: gone("f"), tree: "g"},
	{name: "rename, rename", base: file("f", "base"), a: move("f", "g"), b: move("f", "h"), tree: "g h"},
	{
		name: "renames to one name", base: both(file("x", "x"), file("y", "y")), a: move("x", "f"), b: move("y", "f"),
		tree: "f", conflict: "f", versions: "file:x file:y",
	},
	{
		name: "directory renamed, edit in it", base: both(dir("d"), file("d/f", "base")), a: move("d", "e"), b: file("d/f", "b"),
		tree: "d/ d/f e/ e/f",
	},
	{
		name: "directories moved into each other", base: both(dir("x"), file("x/1", "1"), dir("y"), file("y/2", "2")),
		a: move("x", "y/x"), b: move("y", "x/y"), tree: "x/ x/y/ x/y/2 y/ y/x/ y/x/1",
	},
	{
		name: "chmod, edit", base: file("f", "base"), a: mode("f", 0o600), b: file("f", "b"),
		tree: "f", content: "b", mode: "600",
	},
	{
		name: "chmod, chmod", base: file("f", "base"), a: mode("f", 0o600), b: mode("f", 0o640),
		tree: "f", content: "base", mode: "640", // b's is the later one
	},
	{name: "chmod, delete", base: file("f", "base"), a: mode("f", 0o600), b: gone("f")},
}

// orders are in which pulls are made before gossip makes all equal: pairs of
// who pulls and from whom, of a, b and c.
var orders = []string{"ba ab ca cb", "ab ba cb ca", "ca cb ac bc", "cb ca bc ac", "ca bc ab cb", "cb ac ba ca", ""}

func TestMatrix(t *testing.T) {
	for _, m := range matrix {
		for _, order := range orders {
			t.Run(m.name+"/"+order, func(t *testing.T) {
				t.Parallel() // they wait for the disk most of the time
				ds := newDevices(t, 3)
				if m.base != nil {
					m.base(ds[0])
					gossip(ds)
				}
				m.a(ds[0])
				m.b(ds[1])
				for _, pair := range strings.Fields(order) {
					ds[pair[0]-'a'].pull(ds[pair[1]-'a'])
				}
				gossip(ds)
				for _, d := range ds {
					fetchAll(t, d, ds[0])
					fetchAll(t, d, ds[1])
					check(t, d.v.Sync(ctx))
					d.wantTree(m.tree)
					d.wantConflict(m.conflict, m.versions)
					if m.content != "" && d.read("f") != m.content {
						t.Errorf("f holds %q, want %q", d.read("f"), m.content)
					}
					if m.mode != "" && d.mode("f") != m.mode {
						t.Errorf("f has mode %s, want %s", d.mode("f"), m.mode)
					}
				}
				ds[1].wantSame(ds[0])
				ds[2].wantSame(ds[0])
			})
		}
	}
}

func file(path, data string) func(*device) { return func(d *device) { d.write(path, data) } }
func dir(path string) func(*device)        { return func(d *device) { d.mkdir(path) } }
func gone(path string) func(*device)       { return func(d *device) { d.remove(path) } }
func move(from, to string) func(*device)   { return func(d *device) { d.rename(from, to) } }

func link(path, target string) func(*device) {
	return func(d *device) {
		dir, name := d.split(path)
		_, err := dir.Create(ctx, name, vol.New{Kind: merge.KindSymlink, Target: target})
		check(d.tb, err)
	}
}

func mode(path string, mode uint32) func(*device) {
	return func(d *device) { check(d.tb, d.at(path).SetAttr(ctx, vol.SetAttr{Mode: &mode})) }
}

func both(fs ...func(*device)) func(*device) {
	return func(d *device) {
		for _, f := range fs {
			f(d)
		}
	}
}

func (d *device) mode(path string) string {
	a, err := d.at(path).Attr()
	check(d.tb, err)
	return fmt.Sprintf("%o", a.Mode)
}

// wantConflict checks which paths are in conflict, and what versions the first
// of them has.
func (d *device) wantConflict(paths, versions string) {
	d.tb.Helper()
	var got, have []string
	for i, c := range d.conflicts() {
		got = append(got, c.Path)
		for _, s := range c.Siblings {
			if i > 0 {
				break
			}
			have = append(have, s.Kind.String()+":"+d.version(c.Path, s))
		}
	}
	slices.Sort(have)
	if strings.Join(got, " ") != paths || strings.Join(have, " ") != versions {
		d.tb.Errorf("conflicts at %q with %q, want %q with %q", got, have, paths, versions)
	}
}

// version is the bytes of a file's version, nothing of another one.
func (d *device) version(path string, s vol.Sibling) string {
	if s.Kind != merge.KindFile {
		return ""
	}
	h, err := d.v.OpenSibling(ctx, path, s.Dot)
	check(d.tb, err)
	defer h.Close()
	b := make([]byte, s.Size)
	_, err = h.ReadAt(ctx, b, 0)
	check(d.tb, err)
	return string(b)
}
