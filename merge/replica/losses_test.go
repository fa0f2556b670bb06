package replica

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bazil/merge"
	"bazil/store/vol"
)

// number is that of an environment variable, n if it is not set.
func number(t *testing.T, name string, n uint64) uint64 {
	t.Helper()
	if s := os.Getenv(name); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		check(t, err)
	}
	return n
}

// TestNothingIsLost does at random what users of three devices do, who look at
// what a name shows before they write over it, remove it or move a file over it,
// while changes come in from the others. A content that was made durable
// and that nobody saw whose change took its place must be there in the end.
// LOSS_HISTORIES of them, from LOSS_SEED on.
func TestNothingIsLost(t *testing.T) {
	first := number(t, "LOSS_SEED", 0)
	for seed := first; seed < first+number(t, "LOSS_HISTORIES", 12); seed++ {
		w := &writers{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 11)), saw: map[string]bool{}, acked: map[string]bool{}}
		for i, d := range newDevices(t, 3) {
			w.all = append(w.all, &writerOf{device: d, w: w, n: i})
		}
		for range 400 {
			w.all[w.rand.IntN(3)].step()
		}
		w.rest()
	}
}

// writers are the users of a history.
type writers struct {
	t     *testing.T
	seed  uint64
	rand  *rand.Rand
	all   []*writerOf
	saw   map[string]bool // contents that somebody had before him when he replaced a name's
	acked map[string]bool // durable ones
	made  int
	trace []string
}

// writerOf is a user of one device, who does one thing at a time.
type writerOf struct {
	*device
	w *writers
	n int

	open *vol.Handle // of the name that he is about to change; nil: none
	name string
}

func (i *writerOf) note(format string, args ...any) {
	i.w.trace = append(i.w.trace, fmt.Sprintf("%d: ", i.n)+fmt.Sprintf(format, args...))
}

func (i *writerOf) path() string {
	dirs := []string{"", "a/", "a/b/", "c/"}
	return dirs[i.w.rand.IntN(len(dirs))] + string(rune('p'+i.w.rand.IntN(3)))
}

func (i *writerOf) step() {
	switch k := i.w.rand.IntN(20); {
	case k < 7 && i.open == nil:
		i.begin()
	case k < 10 && i.open != nil:
		i.end()
	case k < 11:
		i.mkdirs(i.path())
	case k < 13:
		i.rmdir()
	case k < 14:
		check(i.tb, i.v.Sync(ctx))
		i.note("sync")
	case k < 15 && i.open == nil:
		i.restart()
	default:
		i.hear(i.w.all[(i.n+1+i.w.rand.IntN(2))%3])
	}
}

// begin opens a name for writing, which keeps it showing what it shows.
func (i *writerOf) begin() {
	name := i.path()
	if i.w.rand.IntN(3) == 0 {
		i.mkdirs(name)
	}
	dir, base := i.split(name)
	if dir == nil || dir.Kind() != merge.KindDir {
		return
	}
	n := i.at(name)
	if n == nil {
		var err error
		n, err = dir.Create(ctx, base, vol.New{Kind: merge.KindFile, Mode: 0o644})
		check(i.tb, err)
		i.note("create %s", name)
	}
	if n.Kind() != merge.KindFile {
		return
	}
	h, err := n.Open(ctx, true)
	check(i.tb, err)
	i.open, i.name = h, name
	old := contentOf(i.tb, h)
	i.note("open %s, %q", name, old)
	i.w.saw[old] = true
}

// end changes the name, unless its directory is gone: a peer removed what was in
// it, and somebody here the directory.
func (i *writerOf) end() {
	if dir, base := i.split(i.name); dir != nil {
		switch i.w.rand.IntN(6) {
		case 0, 1:
			err := dir.Unlink(ctx, base)
			i.note("remove %s: %v", i.name, err)
		case 2, 3:
			i.moveOver(dir, base)
		default:
			i.write()
		}
	}
	check(i.tb, i.open.Close())
	i.open = nil
}

func (i *writerOf) moveOver(to *vol.Node, base string) {
	from := i.path()
	if n := i.at(from); n == nil || n.Kind() != merge.KindFile {
		return
	}
	dir, name := i.split(from)
	err := dir.Rename(ctx, name, to, base)
	i.note("rename %s to %s: %v", from, i.name, err)
}

func (i *writerOf) write() {
	h := i.open
	token := fmt.Sprintf("%d-%03d", i.n, i.w.made)
	i.w.made++
	check(i.tb, h.Truncate(ctx, 0))
	if i.w.rand.IntN(4) == 0 {
		check(i.tb, i.v.Sync(ctx))
		i.hear(i.w.all[(i.n+1+i.w.rand.IntN(2))%3])
	}
	_, err := h.WriteAt(ctx, []byte(token), 0)
	check(i.tb, err)
	if i.w.rand.IntN(4) == 0 {
		i.hear(i.w.all[(i.n+1+i.w.rand.IntN(2))%3])
	}
	check(i.tb, h.Sync(ctx))
	i.w.acked[token] = true
	i.note("write %s, %q", i.name, token)
}

func (i *writerOf) mkdirs(name string) {
	at := i.v.Root()
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		n, err := at.Lookup(ctx, part)
		if errors.Is(err, syscall.ENOENT) {
			n, err = at.Create(ctx, part, vol.New{Kind: merge.KindDir, Mode: 0o755})
			i.note("mkdir %s", part)
		}
		check(i.tb, err)
		at = n
	}
}

func (i *writerOf) rmdir() {
	name := []string{"a/b", "a", "c"}[i.w.rand.IntN(3)]
	dir, base := i.split(name)
	if dir == nil {
		return
	}
	if err := dir.Rmdir(ctx, base); err == nil {
		i.note("rmdir %s", name)
	}
}

func (i *writerOf) restart() {
	check(i.tb, i.v.Close())
	i.device.open()
	i.note("restart")
}

// hear pulls what is durable at another, or a part of it.
func (i *writerOf) hear(from *writerOf) {
	src := &source{d: from.device, cutAfter: i.w.rand.Int64N(2) * i.w.rand.Int64N(6)}
	r, err := i.Pull(ctx, src, Options{})
	if err != nil && !errors.Is(err, errCut) {
		i.w.fail(err)
	}
	i.note("pull from %d: %+v %v", from.n, r, err)
}

func (w *writers) fail(what any) {
	w.t.Fatalf("seed %d: %v\n%s", w.seed, what, strings.Join(w.trace, "\n"))
}

func (w *writers) rest() {
	var ds []*device
	for _, i := range w.all {
		if i.open != nil {
			check(w.t, i.open.Close())
		}
		ds = append(ds, i.device)
	}
	gossip(ds)
	want := ds[0].versions()
	for _, d := range ds[1:] {
		if got := d.versions(); !slices.Equal(got, want) {
			w.fail(fmt.Sprintf("devices have\n%s\n\n%s", strings.Join(got, "\n"), strings.Join(want, "\n")))
		}
	}
	all := strings.Join(want, "\n")
	for _, token := range slices.Sorted(maps.Keys(w.acked)) {
		if !w.saw[token] && !strings.Contains(all, token) {
			w.fail(fmt.Sprintf("%s is lost; there are\n%s", token, all))
		}
	}
}

// versions are all paths of files, each with all that it has.
func (d *device) versions() (out []string) {
	d.tb.Helper()
	for _, c := range d.conflicts() {
		var have []string
		for _, s := range c.Siblings {
			if s.Kind != merge.KindFile {
				continue
			}
			h, err := d.v.OpenSibling(ctx, c.Path, s.Dot)
			check(d.tb, err)
			have = append(have, contentOf(d.tb, h))
			check(d.tb, h.Close())
		}
		slices.Sort(have)
		out = append(out, fmt.Sprint(c.Path, " ", have))
	}
	for path := range strings.Lines(d.tree()) {
		path = strings.TrimSpace(path)
		if c, _ := d.v.InConflict(path); !c && !strings.HasSuffix(path, "/") {
			out = append(out, fmt.Sprintf("%s %s", path, d.read(path)))
		}
	}
	slices.Sort(out)
	return out
}

func contentOf(tb testing.TB, h *vol.Handle) string {
	tb.Helper()
	b := make([]byte, 100)
	n, err := h.ReadAt(ctx, b, 0)
	check(tb, err)
	return string(b[:n])
}
