package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"bazil/merge"
	"bazil/store/vol"
)

const (
	callsInFlight = 8   // calls of Source.Dirs at once, between which what is known is divided
	dirsPerCall   = 128 // directories asked for in one, at most

	maxWaiting = 1 << 20 // Options.MaxWaiting, where that is 0
	maxDirs    = 4 << 20 // Options.MaxDirs, the same
)

// work asks for what is in the queue until nothing is left.
func (p *pull) work(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range callsInFlight {
		g.Go(func() error {
			err := p.worker(ctx)
			if err != nil {
				p.queue.stop()
			}
			return err
		})
	}
	return g.Wait()
}

func (p *pull) worker(ctx context.Context) error {
	for {
		batch := p.queue.take(dirsPerCall, callsInFlight)
		if len(batch) == 0 {
			return ctx.Err()
		}
		err := p.ask(ctx, batch)
		p.queue.done()
		if err != nil {
			return err
		}
	}
}

// ask gets the states of the directories of a batch and joins them.
func (p *pull) ask(ctx context.Context, batch []*node) error {
	asked, err := p.lacking(ctx, batch)
	if err != nil || len(asked) == 0 {
		return err
	}
	reqs := make([]vol.DirRequest, len(asked))
	for i, n := range asked {
		reqs[i] = n.request()
	}
	order := answers{asked: len(asked)}
	err = p.src.Dirs(ctx, reqs, func(i int, d vol.DirState) error {
		if err := order.take(i, &d); err != nil {
			return err
		}
		return p.apply(ctx, asked[i], d)
	})
	if err == nil {
		err = order.end()
	}
	return err
}

// lacking joins those directories of a batch that the peer is known not to
// have, and returns the others.
func (p *pull) lacking(ctx context.Context, batch []*node) ([]*node, error) {
	rest := make([]*node, 0, len(batch))
	for _, n := range batch {
		if n.lack == nil {
			rest = append(rest, n)
		} else if err := p.apply(ctx, n, *n.lack); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// apply joins one directory, or a piece of it.
func (p *pull) apply(ctx context.Context, n *node, d vol.DirState) error {
	if n.lack == nil {
		if err := checkState(&d); err != nil {
			return err
		}
	}
	select {
	case <-p.greeted:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := p.r.take(ctx); err != nil {
		return err
	}
	defer p.r.give()
	if err := p.checkSelf(ctx, &d); err != nil {
		return err
	}
	return p.join(ctx, n, d)
}

// join joins one directory, or a piece of it, and queues those below it. Pieces
// are of different moments; that of the first is the one that all of them know
// of, and by which the directory is finished.
func (p *pull) join(ctx context.Context, n *node, d vol.DirState) error {
	if d.After == "" {
		view := d.View
		n.theirs, n.todo, n.lost, n.changed = &view, 1, false, false
	}
	if n.remote != 0 && d.Dir == 0 { // removed there since it was listed
		n.lost = true
	}
	if !n.lost && !d.Same {
		if err := p.joinNames(ctx, n, d); err != nil {
			return err
		}
	}
	if d.To != "" {
		return nil
	}
	if n.partial = n.partial || n.lost; n.todo > 1 {
		n.todo--
		return nil
	}
	return p.complete(ctx, n)
}

// joinNames joins the names of a directory, or of a piece of it.
func (p *pull) joinNames(ctx context.Context, n *node, d vol.DirState) error {
	subs, changed, err := p.r.Volume.Apply(ctx, n.local, d)
	if vanished(err) {
		n.lost, n.gone = true, true
		return nil
	}
	if err != nil {
		return err
	}
	if n.up == nil {
		p.places[d.Dir] = n.local
	}
	p.note(n, d, changed)
	if changed || len(subs) > 0 {
		p.taint(n.local)
	}
	p.joined[n.local] = n
	return p.descend(n, subs)
}

// vanished says whether a local directory is no longer there.
func vanished(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE)
}

func (p *pull) note(n *node, d vol.DirState, changed bool) {
	if d.After == "" {
		p.result.Dirs++
	}
	p.result.Names += len(d.Entries)
	if changed && !n.changed {
		n.changed = true
		p.result.Changed++
	}
	if p.options.Progress != nil {
		p.options.Progress(p.result)
	}
}

// taint tells other pulls that have joined a directory that its names have
// changed since.
func (p *pull) taint(local uint64) {
	for _, o := range p.r.others(p) {
		if n := o.joined[local]; n != nil {
			n.tainted = true
		}
	}
}

// wanted leaves out the directories that do not lead to what the pull is for.
// One that has left some out is not finished: what they know is not known here.
func (p *pull) wanted(n *node, subs []vol.Sub) []vol.Sub {
	if p.options.Under == "" {
		return subs
	}
	way := strings.Split(p.options.Under, "/")
	if n.depth >= len(way) {
		return subs
	}
	all := len(subs)
	subs = slices.DeleteFunc(subs, func(s vol.Sub) bool { return s.Name != way[n.depth] })
	n.partial = n.partial || len(subs) < all
	return subs
}

// waiting leaves out the directories for which there is no room: n is not
// finished then, and the next pull finds them.
func (p *pull) waiting(n *node, subs []vol.Sub) []vol.Sub {
	waiting, dirs := p.options.MaxWaiting, p.options.MaxDirs
	if waiting <= 0 {
		waiting = maxWaiting
	}
	if dirs <= 0 {
		dirs = maxDirs
	}
	if room := min(p.queue.room(waiting), max(dirs-len(p.places), 0)); len(subs) > room {
		p.left += len(subs) - room
		n.partial = true
		subs = subs[:room]
	}
	return subs
}

// descend queues what is below a directory that was joined, or a piece of it.
func (p *pull) descend(n *node, subs []vol.Sub) error {
	subs = p.waiting(n, p.wanted(n, subs))
	if n.depth >= maxDepth && len(subs) > 0 {
		return fmt.Errorf("%w: directories %d deep", errPeer, maxDepth)
	}
	nodes := make([]*node, len(subs))
	for i, s := range subs {
		if err := p.place(s); err != nil {
			return err
		}
		nodes[i] = n.sub(s)
	}
	n.todo += len(subs)
	p.queue.add(nodes...)
	return nil
}

// place notes where one of the peer's directories is. It is nowhere else, but
// where its place here was forgotten meanwhile and made anew.
func (p *pull) place(s vol.Sub) error {
	if s.Remote == 0 {
		return nil
	}
	if at, ok := p.places[s.Remote]; ok && at != s.Local {
		if _, err := p.r.Volume.View(at); !vanished(err) {
			return cmp.Or(err, fmt.Errorf("%w: directory %d in two places", errPeer, s.Remote))
		}
	}
	p.places[s.Remote] = s.Local
	return nil
}

// complete finishes a directory whose subtree is done, and those above it
// that are done by that.
func (p *pull) complete(ctx context.Context, n *node) error {
	for ; n != nil; n = n.up {
		delete(p.joined, n.local)
		if n.tainted && !n.partial && n.again < maxAgain {
			return p.rejoin(n)
		}
		if n.partial = n.partial || n.tainted; !n.partial {
			if err := p.finish(ctx, n); err != nil {
				return err
			}
		}
		if n.up == nil {
			p.result.Complete = !n.partial
			return nil
		}
		if n.gone { // its place here, which the one above makes anew if need be
			n.up.tainted = true
		} else {
			n.up.partial = n.up.partial || n.partial
		}
		if n.up.todo--; n.up.todo > 0 {
			return nil
		}
	}
	return nil
}

func (p *pull) finish(ctx context.Context, n *node) error {
	err := p.r.Volume.Finish(ctx, n.local, *n.theirs)
	if vanished(err) {
		n.partial, n.gone = true, true
		return nil
	}
	return err
}

// rejoin asks for a directory once more.
func (p *pull) rejoin(n *node) error {
	v, err := p.r.Volume.View(n.local)
	if vanished(err) {
		v, err = merge.View{}, nil
	}
	n.known, n.tainted = v.Ctx, false
	n.again++
	p.queue.add(n)
	return err
}
