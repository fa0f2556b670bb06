package vol

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bazil/merge"
	"bazil/store"
)

// crash ends a volume without making anything durable.
func (v *Volume) crash() {
	v.mu.Lock()
	v.closed = true
	v.watch.wake()
	v.mu.Unlock()
	v.committer.stop()
	v.env.close()
	v.db.Close()
}

// syncReplica is one of the volumes of a history.
type syncReplica struct {
	disk   *disk
	v      *Volume
	fresh  []string // contents written, and perhaps not durable
	over   []string // contents replaced, likewise
	opened *Handle
	saw    string // what opened had
}

// syncWorld is a random history of some volumes that pull from each other.
// Contents are unique: one that nobody who saw it replaced must be somewhere
// in the end.
type syncWorld struct {
	tb      testing.TB
	rand    *rand.Rand
	rs      []*syncReplica
	written int
	moves   bool
	crowded bool // few names, with many versions that are moved together
	most    int  // versions of a name, before some become files beside it; 0: many
	resting bool
	busy    bool
	alive   map[string]bool // contents that must not be lost
	gone    map[string]bool // contents that must not come back
}

func (w *syncWorld) reopen(r *syncReplica) {
	o := r.disk.options()
	o.CacheEntries = 16 + w.rand.IntN(2)*1000
	o.MaxVersions = w.most
	r.v = r.disk.openWith(o)
	r.opened = nil
	r.durable()
}

func (w *syncWorld) step() {
	r := w.rs[w.rand.IntN(len(w.rs))]
	switch k := w.rand.IntN(100); {
	case k < 60 && w.crowded:
		w.shuffle(r)
	case k < 60:
		w.operate(r)
	case k < 65:
		ok(w.tb, r.v.Sync(ctx))
		r.durable()
		checkConflicts(w.tb, r.v)
	case k < 68:
		w.closeWriter(r)
		ok(w.tb, r.v.Close())
		w.reopen(r)
	case k < 71:
		w.crash(r)
	case k < 75:
		w.closeWriter(r)
	case k < 78:
		r.v.shortenIndexes()
	default:
		w.pull(r, w.rs[w.rand.IntN(len(w.rs))], w.rand.IntN(8)-1)
	}
}

// shortenIndexes makes the index of each directory in memory turn with the
// next group.
func (v *Volume) shortenIndexes() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.dirs {
		d.rows += minRows + d.records
		v.markDir(d)
	}
}

func (w *syncWorld) crash(r *syncReplica) {
	for _, c := range r.fresh {
		delete(w.alive, c)
	}
	for _, c := range r.over {
		delete(w.gone, c)
	}
	r.v.crash()
	w.reopen(r)
}

func (w *syncWorld) pull(to, from *syncReplica, budget int) int {
	if to == from {
		return 0
	}
	to.durable()
	from.durable()
	var between func()
	if !w.resting {
		between = func() {
			if w.rand.IntN(2) == 0 {
				w.operate(from)
				ok(w.tb, from.v.Sync(ctx))
				from.durable()
			}
			if w.rand.IntN(4) == 0 {
				w.operate(to)
			}
		}
	}
	if w.busy {
		between = nil
	}
	n := pullBetween(w.tb, to.v, from.v, budget, between).applied
	to.durable()
	return n
}

func (w *syncWorld) path() (dir []string, name string) {
	for range w.rand.IntN(3) {
		dir = append(dir, string(rune('a'+w.rand.IntN(2))))
	}
	return dir, string(rune('a' + w.rand.IntN(3)))
}

func (w *syncWorld) dir(r *syncReplica, path []string) *Node {
	n := r.v.Root()
	for _, name := range path {
		var err error
		if n, err = n.Lookup(ctx, name); err != nil || n.Kind() != merge.KindDir {
			return nil
		}
	}
	return n
}

func (w *syncWorld) operate(r *syncReplica) {
	path, name := w.path()
	d := w.dir(r, path)
	if d == nil {
		return
	}
	n, _ := d.Lookup(ctx, name)
	switch k := w.rand.IntN(100); {
	case n == nil && k < 50:
		w.write(r, d, name, nil)
	case n == nil:
		mkdir(w.tb, d, name)
	case k < 15:
		mode := uint32(w.rand.IntN(512))
		ok(w.tb, n.SetAttr(ctx, SetAttr{Mode: &mode}))
	case k < 45 && n.Kind() == merge.KindFile:
		w.write(r, d, name, n)
	case k < 60:
		w.remove(r, d, name, n)
	case k < 70 && n.Kind() == merge.KindFile:
		w.open(r, n)
	case k < 80:
		w.resolve(r, strings.Join(append(path, name), "/"))
	case w.moves:
		w.rename(r, d, name)
	}
}

// shuffle renames one of three names to another, or makes or writes it.
func (w *syncWorld) shuffle(r *syncReplica) {
	d, name := r.v.Root(), string(rune('a'+w.rand.IntN(3)))
	switch n, _ := d.Lookup(ctx, name); {
	case n == nil:
		w.write(r, d, name, nil)
	case n.Kind() != merge.KindFile:
		w.remove(r, d, name, n)
	case w.rand.IntN(4) == 0:
		w.write(r, d, name, n)
	default:
		w.renameTo(r, d, name, nil, string(rune('a'+w.rand.IntN(3))))
	}
}

func (w *syncWorld) content(r *syncReplica) string {
	w.written++
	c := fmt.Sprintf("<%d>", w.written)
	r.fresh = append(r.fresh, c)
	w.alive[c] = true
	return c
}

func (w *syncWorld) supersede(r *syncReplica, content string) {
	delete(w.alive, content)
	w.gone[content] = true
	r.over = append(r.over, content)
}

func (r *syncReplica) durable() { r.fresh, r.over = nil, nil }

func (w *syncWorld) write(r *syncReplica, d *Node, name string, old *Node) {
	if old != nil {
		w.supersede(r, readNode(w.tb, old))
	}
	writeFile(w.tb, d, name, w.content(r))
}

func (w *syncWorld) remove(r *syncReplica, d *Node, name string, n *Node) {
	if n.Kind() == merge.KindFile {
		w.supersede(r, readNode(w.tb, n))
		ok(w.tb, d.Unlink(ctx, name))
	} else if err := d.Rmdir(ctx, name); err != nil && err != syscall.ENOTEMPTY {
		w.tb.Fatal(err)
	}
}

func (w *syncWorld) open(r *syncReplica, n *Node) {
	if r.opened == nil {
		r.opened = must[*Handle](w.tb)(n.Open(ctx, true))
		r.saw = readNode(w.tb, n)
	}
}

// closeWriter writes, sometimes, and closes what is open. A file that has
// been unlinked or overwritten meanwhile keeps what it is left with.
func (w *syncWorld) closeWriter(r *syncReplica) {
	h := r.opened
	if h == nil {
		return
	}
	r.opened = nil
	if w.rand.IntN(3) > 0 && readHandle(w.tb, h) == r.saw {
		c := w.content(r)
		if !h.in.linked() {
			delete(w.alive, c)
		}
		w.supersede(r, r.saw)
		ok(w.tb, h.Truncate(ctx, 0))
		must[int](w.tb)(h.WriteAt(ctx, []byte(c), 0))
	}
	ok(w.tb, h.Close())
}

// resolve ends a conflict. A version that is kept is written anew by that, so
// it may be seen again though somebody replaced it elsewhere: that is done in
// histories only that do not look for contents that come back.
func (w *syncWorld) resolve(r *syncReplica, path string) {
	for _, c := range must[[]Conflict](w.tb)(r.v.Conflicts(ctx)) {
		if c.Path != path || r.opened != nil {
			continue
		}
		var err error
		keep, fresh := merge.Dot{}, w.content(r)
		over := w.bytesOf(r, &c)
		if w.moves {
			delete(w.alive, fresh)
			keep = c.Siblings[w.rand.IntN(len(c.Siblings))].Dot
			err = r.v.Resolve(ctx, path, c.Dots(), keep)
		} else {
			err = r.v.ResolveFrom(ctx, path, c.Dots(), strings.NewReader(fresh))
		}
		if errors.Is(err, syscall.ENOTEMPTY) { // the directory has names in it
			delete(w.alive, fresh)
			continue
		}
		ok(w.tb, err)
		for dot, content := range over {
			if dot != keep {
				w.supersede(r, content)
			}
		}
		r.durable()
	}
}

// bytesOf are the contents of the files among the versions in conflict.
func (w *syncWorld) bytesOf(r *syncReplica, c *Conflict) map[merge.Dot]string {
	out := make(map[merge.Dot]string)
	for _, s := range c.Siblings {
		if s.Kind == merge.KindFile {
			h := must[*Handle](w.tb)(r.v.OpenSibling(ctx, c.Path, s.Dot))
			out[s.Dot] = readHandle(w.tb, h)
			ok(w.tb, h.Close())
		}
	}
	return out
}

func (w *syncWorld) rename(r *syncReplica, d *Node, name string) {
	path, to := w.path()
	w.renameTo(r, d, name, path, to)
}

func (w *syncWorld) renameTo(r *syncReplica, d *Node, name string, path []string, to string) {
	if dst := w.dir(r, path); dst != nil {
		over := ""
		if n, err := dst.Lookup(ctx, to); err == nil && n.Kind() == merge.KindFile {
			h := must[*Handle](w.tb)(n.Open(ctx, true))
			defer h.Close()
			if !w.busy && w.rand.IntN(2) == 0 {
				w.busy = true
				w.pull(r, w.rs[w.rand.IntN(len(w.rs))], -1)
				w.busy = false
				if _, err := d.Lookup(ctx, name); err != nil {
					return
				}
				if m, err := dst.Lookup(ctx, to); err != nil || m.Ino() != n.Ino() {
					return
				}
			}
			over = readHandle(w.tb, h)
		}
		src := must[*Node](w.tb)(d.Lookup(ctx, name))
		same := must[*Node](w.tb)(r.v.Node(src.Ino())).Path() == strings.Join(append(path, to), "/")
		if err := d.Rename(ctx, name, dst, to); err == nil && over != "" && !same {
			w.supersede(r, over)
		}
	}
}

// tree draws all that a volume has, siblings included.
func tree(tb testing.TB, v *Volume) map[string]string {
	out := make(map[string]string)
	v.mu.Lock()
	defer v.mu.Unlock()
	ok(tb, v.loadTree(v.root))
	var walk func(d *dir, path string)
	walk = func(d *dir, path string) {
		live, records, dirs := uint64(0), uint64(0), uint64(0)
		for _, name := range slices.Sorted(maps.Keys(d.children)) {
			e := d.children[name]
			if !e.rec.empty() {
				records++
			}
			if e == v.root.at {
				continue
			}
			p := path + "/" + name
			if e.rec.exists() {
				live++
				s := ""
				for _, ver := range e.rec.Versions {
					s += fmt.Sprint(ver.Kind, ver.Dot, ver.Size, ver.MTime)
				}
				out[p] = s + fmt.Sprintf(" %o", e.rec.Attr().Mode)
			}
			if e.rec.kind() == merge.KindDir {
				dirs++
			}
			if e.sub != nil {
				walk(e.sub, p)
			}
		}
		if live != d.live || records != d.records || dirs != d.dirs {
			tb.Fatalf("%s: counts %d %d %d, want %d %d %d", path, d.live, d.records, d.dirs, live, records, dirs)
		}
	}
	walk(v.root, "")
	return out
}

// contents are those of all files, siblings included.
func contents(tb testing.TB, v *Volume) map[string]bool {
	out := make(map[string]bool)
	var walk func(n *Node)
	walk = func(n *Node) {
		for _, e := range must[[]DirEntry](tb)(n.List(ctx)) {
			c := must[*Node](tb)(n.Lookup(ctx, e.Name))
			switch e.Kind {
			case merge.KindDir:
				walk(c)
			case merge.KindFile:
				out[readNode(tb, c)] = true
			}
		}
	}
	walk(v.Root())
	for _, c := range must[[]Conflict](tb)(v.Conflicts(ctx)) {
		for _, s := range c.Siblings {
			if s.Kind == merge.KindFile {
				h := must[*Handle](tb)(v.OpenSibling(ctx, c.Path, s.Dot))
				out[readHandle(tb, h)] = true
				ok(tb, h.Close())
			}
		}
	}
	return out
}

func (w *syncWorld) gossip() (applied int) {
	for i, r := range w.rs {
		applied += w.pull(w.rs[(i+1)%len(w.rs)], r, -1)
	}
	return applied
}

func (w *syncWorld) rest() {
	w.resting = true
	for _, r := range w.rs {
		w.closeWriter(r)
	}
	w.gossip()
	w.gossip()
	for n := 0; w.most > 0 && n < 20 && w.gossip() > 0; n++ { // names were made meanwhile
	}
	if n := w.gossip(); n != 0 {
		w.tb.Fatalf("the third ring applied %d directories", n)
	}
	want := tree(w.tb, w.rs[0].v)
	for i, r := range w.rs {
		checkConflicts(w.tb, r.v)
		if got := tree(w.tb, r.v); !maps.Equal(got, want) {
			w.tb.Fatalf("replica %d has\n%v\nreplica 0\n%v", i, got, want)
		}
		have := contents(w.tb, r.v)
		for c := range w.alive {
			if !have[c] {
				w.tb.Fatalf("replica %d lost %s", i, c)
			}
		}
		for c := range w.gone {
			if have[c] && !w.moves {
				w.tb.Fatalf("replica %d has %s again", i, c)
			}
		}
	}
}

func runSync(tb testing.TB, chunks *store.Chunks, sealer *store.Sealer, seed uint64) {
	w := &syncWorld{tb: tb, rand: rand.New(rand.NewPCG(seed, 7)), alive: map[string]bool{}, gone: map[string]bool{}}
	w.moves = w.rand.IntN(2) == 0
	w.crowded = w.moves && w.rand.IntN(2) == 0
	if w.moves && w.rand.IntN(2) == 0 {
		w.most = 1 + w.rand.IntN(4)
	}
	id := NewID()
	for range 2 + w.rand.IntN(2) {
		r := &syncReplica{disk: newDiskOn(tb, chunks, sealer, id)}
		w.rs = append(w.rs, r)
		w.reopen(r)
	}
	for range 20 + w.rand.IntN(200) {
		w.step()
	}
	w.rest()
	for _, r := range w.rs {
		ok(tb, r.v.Close())
	}
}

func TestSyncHistories(t *testing.T) {
	chunks, sealer := testStore(t)
	for seed := range uint64(syncHistories) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runSync(t, chunks, sealer, seed) })
	}
}

const syncHistories = 60
