package vol

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"bazil/merge"
)

// What List remembers is what it would find anew, whatever was changed: each
// change must show in the names, numbers, kinds or versions listed.
func TestListAfterEveryChange(t *testing.T) {
	v := testVolume(t)
	d := mkdir(t, v.Root(), "d")
	other := mkdir(t, v.Root(), "other")
	before := must[[]DirEntry](t)(d.List(ctx))
	mode := uint32(0o600)
	var h *Handle
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"create", func() { writeFile(t, d, "a", "x") }},
		{"mkdir", func() { mkdir(t, d, "sub") }},
		{"mode", func() { ok(t, must[*Node](t)(d.Lookup(ctx, "a")).SetAttr(ctx, SetAttr{Mode: &mode})) }},
		{"open and write", func() {
			h = must[*Handle](t)(must[*Node](t)(d.Lookup(ctx, "a")).Open(ctx, true))
			must[int](t)(h.WriteAt(ctx, []byte("more"), 0))
		}},
		{"write more in one group", func() {
			must[int](t)(h.WriteAt(ctx, []byte("more"), 4))
			before = must[[]DirEntry](t)(d.List(ctx))
			must[int](t)(h.WriteAt(ctx, []byte("more"), 8))
		}},
		{"truncate", func() { ok(t, h.Truncate(ctx, 1)); h.Close() }},
		{"rename within", func() { ok(t, d.Rename(ctx, "a", d, "b")) }},
		{"rename in", func() { writeFile(t, other, "in", ""); ok(t, other.Rename(ctx, "in", d, "in")) }},
		{"rename over", func() { ok(t, d.Rename(ctx, "in", d, "b")) }},
		{"rename out", func() { ok(t, d.Rename(ctx, "b", other, "out")) }},
		{"rmdir", func() { ok(t, d.Rmdir(ctx, "sub")) }},
		{"create after sync", func() { ok(t, v.Sync(ctx)); writeFile(t, d, "a", "") }},
		{"unlink", func() { ok(t, d.Unlink(ctx, "a")) }},
	} {
		step.do()
		after := must[[]DirEntry](t)(d.List(ctx))
		if slices.Equal(before, after) {
			t.Errorf("%s: List still says %v", step.what, after)
		}
		if d.in.at.sub.list == nil {
			t.Errorf("%s: List does not remember", step.what)
		}
		for range 2 {
			if stored := listStored(t, v, d); !slices.Equal(stored, after) {
				t.Errorf("%s: List says %v, the volume's file with what was changed since %v", step.what, after, stored)
			}
			ok(t, v.Sync(ctx))
			d.in.at.sub.list = nil
			if before = must[[]DirEntry](t)(d.List(ctx)); !slices.Equal(before, after) {
				t.Errorf("%s: List says %v, anew %v", step.what, after, before)
			}
		}
	}
}

// listStored lists d as List does where not all names are in memory.
func listStored(t *testing.T, v *Volume, n *Node) []DirEntry {
	v.mu.Lock()
	d := must[*dir](t)(n.dir())
	l := v.newLister(d, false)
	l.last, l.stored = nil, true
	l.gather()
	l.look()
	v.unlock()
	ok(t, l.fill())
	return l.out
}

// TestListOfWhatChanged: a list made of the one before and what was changed
// since is what would be listed anew.
func TestListOfWhatChanged(t *testing.T) {
	disk := newDisk(t)
	o := disk.options()
	o.CacheEntries = 100
	v := disk.openWith(o)
	d := mkdir(t, v.Root(), "d")
	fill(t, d, 0, 300)
	r := rand.New(rand.NewPCG(3, 4))
	name := func() string { return fmt.Sprintf("file%07d", r.IntN(400)) }
	some := func() *Node {
		list := must[[]DirEntry](t)(d.List(ctx))
		return must[*Node](t)(d.Lookup(ctx, list[r.IntN(len(list))].Name))
	}
	changes := []func(){
		func() { d.Create(ctx, name(), New{Kind: merge.KindFile}) },
		func() { d.Create(ctx, name(), New{Kind: merge.KindDir}) },
		func() { d.Unlink(ctx, name()) },
		func() { d.Rmdir(ctx, name()) },
		func() { d.Rename(ctx, name(), d, name()) },
		func() { mode := r.Uint32N(0o777); ok(t, some().SetAttr(ctx, SetAttr{Mode: &mode})) },
		func() {
			if n := some(); n.Kind() == merge.KindFile {
				h := must[*Handle](t)(n.Open(ctx, true))
				must[int](t)(h.WriteAt(ctx, []byte("x"), int64(r.IntN(100))))
				ok(t, h.Close())
			}
		},
		func() { ok(t, v.Sync(ctx)) },
	}
	pieced := 0
	for i := range 1000 {
		for range r.IntN(4) + 1 {
			changes[r.IntN(len(changes))]()
		}
		at := d.in.at.sub
		if at.list != nil && len(at.edited) > 0 {
			pieced++
		}
		got := must[[]DirEntry](t)(d.List(ctx))
		if want := listStored(t, v, d); !slices.Equal(got, want) {
			t.Fatalf("change %d: List says %v, the volume's file with what was changed since %v", i, got, want)
		}
	}
	if pieced < 500 {
		t.Errorf("only %d lists were made of the one before", pieced)
	}
}

// TestListWhileNamesComeAndGo: names that stay are in every list once, and of
// one that is renamed all the time just one, whether they are in memory or not.
func TestListWhileNamesComeAndGo(t *testing.T) {
	for _, cache := range []int{1 << 20, 1000} {
		disk := newDisk(t)
		o := disk.options()
		o.CacheEntries = cache
		v := disk.openWith(o)
		d := mkdir(t, v.Root(), "d")
		const stay = 2*listPiece + 1000
		fill(t, d, 0, stay)
		writeFile(t, d, "moves", "")
		ok(t, v.Sync(ctx))
		stop := make(chan struct{})
		var busy sync.WaitGroup
		busy.Go(func() {
			name := "moves"
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				next := fmt.Sprint("moved", i)
				ok(t, d.Rename(ctx, name, d, next))
				name = next
				must[*Node](t)(d.Lookup(ctx, fmt.Sprintf("file%07d", i%stay)))
			}
		})
		for range 6 {
			list := must[[]DirEntry](t)(d.List(ctx))
			if len(list) != stay+1 || !slices.IsSortedFunc(list, func(a, b DirEntry) int { return strings.Compare(a.Name, b.Name) }) {
				t.Errorf("%d names", len(list))
			}
			for i := range stay {
				if list[i].Name != fmt.Sprintf("file%07d", i) {
					t.Fatalf("name %d is %s", i, list[i].Name)
				}
			}
		}
		close(stop)
		busy.Wait()
	}
}

// TestTurnsBesideList: whoever waits for the volume's lock while a long directory
// is listed has it before the listing is over: while the names are gathered, while
// they are looked at, and while they are put together. Who has the lock next is the
// scheduler's affair, so there are several tries; a listing that keeps the lock
// fails all.
func TestTurnsBesideList(t *testing.T) {
	v := newDisk(t).open()
	d := mkdir(t, v.Root(), "d")
	const n = 4 * listPiece
	fill(t, d, 0, n)
	turns := 0 // v.mu guards it
	stop := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			v.mu.Lock()
			turns++
			v.mu.Unlock()
		}
	})
	defer beside.Wait()
	defer close(stop)
	for _, stage := range []string{"gather", "look", "merge"} {
		for try := 0; !listedInTurns(t, v, d, stage, &turns); try++ {
			if try == 100 {
				t.Fatalf("%s: nobody had the lock before the end", stage)
			}
		}
	}
}

// listedInTurns lists d, and says whether others had the lock during a stage.
func listedInTurns(t *testing.T, v *Volume, d *Node, stage string, turns *int) (had bool) {
	t.Helper()
	v.mu.Lock()
	defer v.unlock()
	at := must[*dir](t)(d.dir())
	at.list = nil // as if it had never been listed
	l := v.newLister(at, true)
	var out []DirEntry
	for _, s := range []struct {
		name string
		do   func() bool
	}{
		{"gather", l.gather},
		{"look", l.look},
		{"merge", func() (ok bool) {
			var err error
			out, err = l.merge()
			return err == nil
		}},
	} {
		before := *turns
		if !s.do() {
			return false
		}
		had = had || s.name == stage && *turns > before
	}
	if len(out) != 4*listPiece {
		t.Errorf("%d names", len(out))
	}
	return had
}

// The memory that remembered lists take is bounded.
func TestListingsBound(t *testing.T) {
	var l listings
	for i := range 1000 {
		d := &dir{num: uint64(i)}
		l.keep(d, make([]DirEntry, i))
		l.keep(d, make([]DirEntry, i/2))
		sum := 0
		for _, d := range l.dirs {
			sum += len(d.list) + listedCost
		}
		if sum != l.cost || sum > maxListed {
			t.Fatalf("%d directories: cost %d, counted %d of at most %d", i+1, l.cost, sum, maxListed)
		}
		if d.list == nil {
			t.Fatalf("list of %d not kept", i)
		}
	}
	big := &dir{}
	if l.keep(big, make([]DirEntry, maxListed)); big.list != nil {
		t.Error("a list larger than half of the bound is kept")
	}
}

func TestSortNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 2 * radixFrom {
		prefix := strings.Repeat("p", r.IntN(12))
		var list []*entry
		var want, got []string
		for range n {
			name := prefix + strings.Repeat([]string{"\x01", "a", "\xff"}[r.IntN(3)], r.IntN(12)) + fmt.Sprint(r.IntN(1<<r.IntN(60)+1))
			list, want = append(list, &entry{name: name}), append(want, name)
		}
		slices.Sort(want)
		for _, e := range sortNames(list) {
			got = append(got, e.name)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	}
}
