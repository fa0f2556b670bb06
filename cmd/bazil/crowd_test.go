package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv/client"
)

// rival is one of two devices that sync volume v with each other.
type rival struct {
	*device
	name string
	root *client.Fid
}

func newRivals(t *testing.T) (white, black *rival) {
	white, black = &rival{newDevice(t), "white", nil}, &rival{newDevice(t), "black", nil}
	for _, r := range []*rival{white, black} {
		_, port, err := net.SplitHostPort(r.addr)
		must(t, err)
		r.addr = net.JoinHostPort("127.0.0.1", port)
	}
	befriend(t, white.device, black.device, "v", white.addr, noise(7, sharingKeyLen))
	black.ctl(t, "peer", "storage", "allow", "white", "local")
	black.ctl(t, "peer", "volume", "allow", "white", "v")
	white.ctl(t, "peer", "location", "set", "black", black.addr)
	white.root, black.root = white.attach(t, "v"), black.attach(t, "v")
	return white, black
}

// White renames so many names to one that they are too many already there,
// black so many more that they are again where the two meet.
const (
	quarrels     = 400
	whiteRenames = 260 // and black those behind them
	oddName      = "odd\nname"
)

// quarrel lets both write the same names, differently, hear of it, and rename
// all to x.txt, each a part: what the other wrote goes along unseen.
func quarrel(t *testing.T, white, black *rival) {
	t.Helper()
	for _, r := range []*rival{white, black} {
		for i := range quarrels {
			must(t, plantFile(r.root, quarrelName(i), []byte(r.name+" "+quarrelName(i))))
		}
		must(t, plantFile(r.root, oddName, []byte(r.name)))
	}
	meetTwice(t, white, black)
	for i := range quarrels {
		r := white
		if i >= whiteRenames {
			r = black
		}
		must(t, r.root.RenameAt(context.Background(), quarrelName(i), r.root, "x.txt"))
	}
}

func quarrelName(i int) string { return fmt.Sprint("n", i) }

func meetTwice(t *testing.T, white, black *rival) {
	t.Helper()
	for range 2 {
		white.ctl(t, "sync", "v", "black")
		black.ctl(t, "sync", "v", "white")
	}
}

// conflicts is what bazil conflicts --json prints.
func (r *rival) conflicts(t *testing.T) (all []conflict) {
	t.Helper()
	must(t, json.Unmarshal([]byte(r.run(t, "conflicts", "--json", "v")), &all))
	return all
}

// versions is how many a name in conflict has.
func (r *rival) versions(t *testing.T, name string) int {
	t.Helper()
	for _, c := range r.conflicts(t) {
		if c.Path == name {
			return len(c.Siblings)
		}
	}
	return 0
}

// contents is everything that the volume has: its files by path, and the other
// versions of names in conflict by the path of their files.
func (r *rival) contents(t *testing.T) map[string]string {
	t.Helper()
	tree := r.attach(t, "")
	var paths []string
	for _, name := range listDir(t, tree, "v") {
		paths = append(paths, "v/"+name)
	}
	for _, c := range r.conflicts(t) {
		for _, s := range c.Siblings {
			paths = append(paths, strings.TrimPrefix(s.File, "/"))
		}
	}
	all, p := map[string]string{}, make([]byte, 100)
	for _, at := range paths {
		n, err := readShort(tree, at, p)
		if err != nil {
			t.Fatalf("read %s: %v", at, err)
		}
		all[at] = string(p[:n])
	}
	return all
}

// readShort reads what goes into p of a file.
func readShort(root *client.Fid, at string, p []byte) (int, error) {
	ctx := context.Background()
	f, err := root.Walk(ctx, strings.Split(at, "/")...)
	if err != nil {
		return 0, err
	}
	defer f.Clunk(ctx)
	if err := f.Open(ctx, syscall.O_RDONLY); err != nil {
		return 0, err
	}
	return f.ReadAt(ctx, p, 0)
}

// listDir lists a directory over 9P.
func listDir(t *testing.T, root *client.Fid, at string) (names []string) {
	t.Helper()
	ctx := context.Background()
	f, err := root.Walk(ctx, strings.Split(at, "/")...)
	must(t, err)
	defer f.Clunk(ctx)
	must(t, f.Open(ctx, syscall.O_RDONLY|syscall.O_DIRECTORY))
	for off := uint64(0); ; {
		list, err := f.ReadDir(ctx, off, 64<<10)
		must(t, err)
		if len(list) == 0 {
			return names
		}
		for _, e := range list {
			if e.Name != "." && e.Name != ".." {
				names = append(names, e.Name)
			}
		}
		off = list[len(list)-1].Offset
	}
}

// wantAll checks that both have the same, and all that was written and that
// nobody has put something in the place of. It returns what there is.
func wantAll(t *testing.T, when string, white, black *rival) map[string]string {
	t.Helper()
	at, other := white.contents(t), black.contents(t)
	for _, of := range []struct {
		all map[string]string
		in  string
	}{{at, "white"}, {other, "black"}} {
		have := map[string]bool{}
		for _, text := range of.all {
			have[text] = true
		}
		if !have["white"] || !have["black"] {
			t.Fatalf("%s: %q has not both versions at %s", when, oddName, of.in)
		}
		for i := range quarrels {
			want := "black " // hidden where white renamed
			if i >= whiteRenames {
				want = "white "
			}
			if want += quarrelName(i); !have[want] {
				t.Fatalf("%s: %s is nowhere at %s: %d paths, %d contents", when, want, of.in, len(of.all), len(have))
			}
		}
	}
	if a, b := visible(at), visible(other); !slices.Equal(a, b) {
		t.Fatalf("%s: white has\n%s\nblack has\n%s", when, strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	return at
}

// visible is the names of the volume's files with what they have, and the
// versions of names in conflict, whose files are called differently at each.
func visible(all map[string]string) (out []string) {
	torn := map[string]bool{}
	for at := range all {
		if dir, ok := strings.CutPrefix(path.Dir(at), "ctl/volumes/v/conflicts/"); ok {
			torn["v/"+dir] = true
		}
	}
	for at, text := range all {
		if torn[at] {
			continue // each may show another version
		}
		if dir := path.Dir(at); dir != "v" {
			at = dir
		}
		out = append(out, at+" "+text)
	}
	slices.Sort(out)
	return out
}

func (r *rival) restart(t *testing.T) {
	t.Helper()
	r.kill(syscall.SIGKILL)
	addr := r.addr
	r.start(t, "-addr="+addr)
	r.root = r.attach(t, "v")
}

// TestNameWithManyVersions: two servers gather more versions at one name than a
// name may have. Both come to the same, nothing is lost, and people can look at
// the name and end its conflict, one keeping all while the other keeps the newest.
func TestNameWithManyVersions(t *testing.T) {
	white, black := newRivals(t)
	quarrel(t, white, black)
	meetTwice(t, white, black)
	before := wantAll(t, "met", white, black)
	white.restart(t)
	black.restart(t)
	if after := wantAll(t, "restarted", white, black); !slices.Equal(visible(before), visible(after)) {
		t.Fatal("after kill -9 the versions are others")
	}

	had := white.versions(t, "x.txt")
	if had < 100 || had > 256 {
		t.Fatalf("x.txt has %d versions", had)
	}
	if list := white.run(t, "conflicts", "v"); !strings.Contains(list, "v/x.txt\n") || strings.Count(list, " x.txt.") != had {
		t.Fatalf("conflicts does not tell of the %d versions of x.txt:\n%s", had, list)
	}
	if got := strings.Count(white.run(t, "conflicts", "diff", "v/x.txt"), "--- x.txt."); got != had-1 {
		t.Fatalf("conflicts diff compares %d of %d versions with the first", got, had)
	}
	white.run(t, "resolve", "v/x.txt", "keep", "both")
	black.run(t, "resolve", "v/x.txt", "keep", "newest")
	for _, r := range []*rival{white, black} {
		if left := r.versions(t, "x.txt"); left != 0 {
			t.Fatalf("x.txt has %d versions at %s, which has ended it", left, r.name)
		}
	}
	meetTwice(t, white, black)
	wantAll(t, "resolved", white, black)
	if left := white.versions(t, "x.txt"); left != 0 {
		t.Fatalf("x.txt has %d versions after both ended it", left)
	}
}
