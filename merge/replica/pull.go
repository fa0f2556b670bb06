package replica

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"bazil/merge"
	"bazil/store/vol"
)

// ErrOtherVolume is wrapped by the error of a pull from a peer whose volume
// is not the same.
var ErrOtherVolume = errors.New("not the same volume")

// ErrWide is wrapped by the error of a pull from a peer that tells of more
// directories than one pull has memory for.
var ErrWide = errors.New("too many directories for one pull")

// pull is one Pull under way. Who holds the Replica's turn uses its fields.
type pull struct {
	r       *Replica
	src     Source
	options Options
	queue   queue
	greeted chan struct{} // closed when the peer was found to be another replica of the volume

	result  Result
	self    merge.Dot         // this replica and how many changes it has made
	renewed bool              // it took a new ID already
	places  map[uint64]uint64 // local numbers of the peer's directories
	joined  map[uint64]*node  // by local number: joined, not finished
	left    int               // directories for which there was no room
}

// Pull joins what the peer's copy of the volume has and knows into the copy
// here. Directories in which the peer knows nothing that is not known here
// are skipped. An error leaves what was joined so far in place, and the next
// pull goes on from there. Content is not fetched.
func (r *Replica) Pull(ctx context.Context, src Source, o Options) (Result, error) {
	p := &pull{r: r, src: src, options: o, greeted: make(chan struct{}), places: map[uint64]uint64{}, joined: map[uint64]*node{}}
	r.begin(p)
	defer r.end(p)
	err := p.run(ctx)
	if err == nil && p.left > 0 {
		err = fmt.Errorf("%w: what came in stays, %d directories were left, and the next one goes on there", ErrWide, p.left)
	}
	if err != nil {
		err = fmt.Errorf("pull volume %v: %w", r.Volume.ID(), err)
	}
	return p.result, err
}

// run asks for the root while it asks who the peer is, which saves a round trip.
// Nothing is joined before that is known.
func (p *pull) run(ctx context.Context) error {
	v, err := p.r.Volume.View(0)
	if err != nil {
		return err
	}
	p.queue.add(&node{known: v.Ctx})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.greet(ctx) })
	g.Go(func() error { return p.work(ctx) })
	return g.Wait()
}

// greet ends with the pull allowed to join, or with an error.
func (p *pull) greet(ctx context.Context) error {
	if err := p.meet(ctx); err != nil {
		return err
	}
	v, err := p.r.Volume.View(0)
	if err != nil {
		return err
	}
	p.count(v)
	close(p.greeted)
	return nil
}

// meet sees to it that the peer is another replica of the same volume.
func (p *pull) meet(ctx context.Context) error {
	in, err := p.src.Info(ctx)
	switch v := p.r.Volume; {
	case err != nil:
		return err
	case in.ID != v.ID():
		return fmt.Errorf("%w: the peer's has ID %v", ErrOtherVolume, in.ID)
	case in.Replica == v.Replica():
		return p.renew(ctx) // one of the two is a clone of the other
	}
	return nil
}

// renew takes a new replica ID, once.
func (p *pull) renew(ctx context.Context) error {
	if p.renewed {
		return fmt.Errorf("%w: changes that replica %v, new a moment ago, has not made", errPeer, p.self.Replica)
	}
	p.renewed = true
	return p.r.Volume.NewReplica(ctx)
}

// count notes how many changes this replica has made, of which v tells.
func (p *pull) count(v merge.View) {
	id := p.r.Volume.Replica()
	p.self = merge.Dot{Replica: id, N: v.Ctx.Get(id)}
}

// checkSelf looks for changes that this replica has made and does not know
// of: then it was restored from a backup, and takes a new ID, lest its next
// changes be taken for those.
func (p *pull) checkSelf(ctx context.Context, d *vol.DirState) error {
	if !knowsMore(d, p.self) {
		return nil
	}
	v, err := p.r.Volume.View(0)
	if err != nil {
		return err
	}
	if p.count(v); !knowsMore(d, p.self) {
		return nil
	}
	if err := p.renew(ctx); err != nil {
		return err
	}
	if v, err = p.r.Volume.View(0); err == nil {
		p.count(v)
	}
	return err
}
