package client

import (
	"context"
	"syscall"

	"bazil/p9srv"
)

// Opening is a walk and an open that were sent together. Its Fid may be read
// and written at once: what is sent behind them takes no round trip of its own.
//
// Servers answer what is sent ahead as a rule, but need not: one that runs
// requests beside each other may find the fid not there yet, or not open, and
// answer EBADF. Who gets that from Wait has to begin anew with Walk and Open;
// who gets it for a read or a write, though Wait had no error, sends that again.
type Opening struct {
	Fid *Fid

	from             *Fid
	names            []string
	walk, open       *call
	walkErr, openErr error
}

// WalkOpen begins to walk from f along names, MaxWalk at most, and to open with
// Linux's O_* flags what is there.
func (f *Fid) WalkOpen(ctx context.Context, flags uint32, names ...string) (*Opening, error) {
	if len(names) > p9srv.MaxWalk {
		return nil, syscall.EINVAL
	}
	o := &Opening{Fid: &Fid{c: f.c, num: f.c.takeFid(), qid: f.QID()}, from: f, names: names}
	var err error
	if o.walk, err = f.c.start(ctx, f, p9srv.Twalk, nil, o.Fid.encodeWalk(f, names)); err != nil {
		f.c.freeFid(o.Fid.num)
		return nil, err
	}
	o.open, err = f.c.start(ctx, o.Fid, p9srv.Tlopen, nil, func(b []byte) []byte {
		return put32(put32(b, o.Fid.num), flags)
	})
	if err == nil {
		return o, nil
	}
	o.walkErr, o.openErr = o.arrived(ctx), err
	o.Drop(ctx)
	return nil, err
}

// Wait returns when both were answered. It is called once, and after an error
// Drop has to be.
func (o *Opening) Wait(ctx context.Context) error {
	o.walkErr, o.openErr = o.arrived(ctx), o.opened(ctx)
	if o.walkErr != nil {
		return o.walkErr
	}
	return o.openErr
}

// arrived waits for the walk.
func (o *Opening) arrived(ctx context.Context) error {
	return o.Fid.walked(ctx, o.walk, o.from, o.names)
}

// Drop gives up Fid after an error of Wait. Whatever else was sent for it must
// have been answered before, for its number is used again.
func (o *Opening) Drop(ctx context.Context) {
	switch {
	case o.walkErr != nil:
		o.Fid.gone.Store(true)
		o.Fid.c.freeFid(o.Fid.num)
	case o.openErr != nil:
		o.Fid.Clunk(context.WithoutCancel(ctx))
	}
}

// opened waits for the open.
func (o *Opening) opened(ctx context.Context) error {
	defer o.open.recycle()
	if err := o.Fid.c.wait(ctx, o.open); err != nil {
		return err
	}
	d := p9srv.NewDecoder(o.open.body)
	q := d.QID()
	if err := o.Fid.c.parsed(&d); err != nil {
		return err
	}
	o.Fid.setQID(q)
	return nil
}
