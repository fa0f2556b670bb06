package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bazil/merge"
	"bazil/store/vol"
)

// Change is what a pull would do to one path.
type Change struct {
	What string // add, change, delete, conflict
	Path string // slash-separated, from the root
}

// maxChanges is how many names a preview looks at; of a peer that tells more
// it gives up.
const maxChanges = 4 << 20

// Preview says what a pull would change, sorted by path, and changes nothing.
func (r *Replica) Preview(ctx context.Context, src Source) ([]Change, error) {
	p := &preview{r: r, src: src, seen: map[uint64]bool{}}
	changes, err := p.run(ctx)
	if err != nil {
		err = fmt.Errorf("compare volume %v: %w", r.Volume.ID(), err)
	}
	return changes, err
}

// preview is one Preview under way.
type preview struct {
	r     *Replica
	src   Source
	seen  map[uint64]bool // the peer's numbers of directories
	names int
}

// foreseen is a directory that is compared.
type foreseen struct {
	depth  int
	place  vol.Place
	remote uint64
	lack   *vol.DirState
	names  []foreseenName
	rest   bool   // names that the pull leaves alone exist in it
	looked uint64 // names that exist in it and were looked at
}

type foreseenName struct {
	vol.Foreseen
	below *foreseen
}

func (p *preview) run(ctx context.Context) ([]Change, error) {
	in, err := p.src.Info(ctx)
	if err != nil {
		return nil, err
	}
	if in.ID != p.r.Volume.ID() {
		return nil, fmt.Errorf("%w: the peer's has ID %v", ErrOtherVolume, in.ID)
	}
	if err := p.r.Volume.Sync(ctx); err != nil { // contents that are not durable are not known to be equal
		return nil, err
	}
	view, err := p.r.Volume.View(0)
	if err != nil {
		return nil, err
	}
	root := &foreseen{place: vol.Place{Here: true, View: view}}
	for level := []*foreseen{root}; len(level) > 0; {
		var next []*foreseen
		for batch := range slices.Chunk(level, dirsPerCall) {
			below, err := p.ask(ctx, batch)
			if err != nil {
				return nil, err
			}
			next = append(next, below...)
		}
		level = next
	}
	var out []Change
	root.tell(&out, "")
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// ask compares some directories, and returns those below them to compare next.
func (p *preview) ask(ctx context.Context, batch []*foreseen) (below []*foreseen, err error) {
	var asked []*foreseen
	var reqs []vol.DirRequest
	for _, f := range batch {
		if f.lack == nil {
			asked = append(asked, f)
			reqs = append(reqs, vol.DirRequest{Dir: f.remote, Known: f.place.View.Ctx})
		} else if err := p.compare(ctx, f, *f.lack, &below); err != nil {
			return nil, err
		}
	}
	if len(asked) == 0 {
		return below, nil
	}
	order := answers{asked: len(asked)}
	err = p.src.Dirs(ctx, reqs, func(i int, d vol.DirState) error {
		if err := order.take(i, &d); err != nil {
			return err
		}
		if err := checkState(&d); err != nil {
			return err
		}
		if d.Same || d.Dir == 0 { // nothing to learn, or removed since it was listed
			asked[i].rest = true
			return nil
		}
		return p.compare(ctx, asked[i], d, &below)
	})
	return below, err
}

func (p *preview) compare(ctx context.Context, f *foreseen, d vol.DirState, below *[]*foreseen) error {
	if p.names += len(d.Entries); p.names > maxChanges {
		return errors.New("more changes than can be told")
	}
	p.seen[d.Dir] = true
	seen, err := p.r.Volume.Preview(ctx, f.place, d)
	if vanished(err) {
		f.rest = true
		return nil
	}
	if err != nil {
		return err
	}
	f.looked += seen.Looked
	f.rest = f.rest || seen.Stays || d.To == "" && f.looked < seen.Live
	for _, n := range seen.Names {
		sub, err := p.sub(f, &n)
		if err != nil {
			return err
		}
		if sub != nil {
			*below = append(*below, sub)
		}
		f.names = append(f.names, foreseenName{n, sub})
	}
	return nil
}

// sub is the directory at a name, to be compared next.
func (p *preview) sub(f *foreseen, n *vol.Foreseen) (*foreseen, error) {
	if n.Below == nil {
		return nil, nil
	}
	if n.Remote != 0 && p.seen[n.Remote] {
		return nil, fmt.Errorf("%w: directory %d in two places", errPeer, n.Remote)
	}
	p.seen[n.Remote] = true
	if f.depth >= maxDepth {
		return nil, fmt.Errorf("%w: directories %d deep", errPeer, maxDepth)
	}
	return &foreseen{depth: f.depth + 1, place: *n.Below, remote: n.Remote, lack: n.Lack}, nil
}

// tell appends what changes at path and below it, and says whether anything
// would be there.
func (f *foreseen) tell(out *[]Change, path string) (exists bool) {
	exists = f.rest
	for i := range f.names {
		n := &f.names[i]
		at := strings.TrimPrefix(path+"/"+n.Name, "/")
		if n.below != nil && n.below.tell(out, at) {
			n.Is, n.Conflict = merge.KindDir, n.IfDir
		}
		exists = exists || n.Is != 0
		if what := n.what(); what != "" {
			*out = append(*out, Change{what, at})
		}
	}
	return exists
}

func (n *foreseenName) what() string {
	switch {
	case n.Was == 0 && n.Is != 0:
		return "add"
	case n.Was != 0 && n.Is == 0:
		return "delete"
	case n.Conflict:
		return "conflict"
	case n.News && n.Is != 0:
		return "change"
	}
	return ""
}
