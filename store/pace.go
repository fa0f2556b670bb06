package store

import (
	"context"
	"time"
)

// pace holds work to a number of bytes a second.
type pace struct {
	perSecond int64 // no bound if 0 or less
	start     time.Time
	done      int64
}

// wait counts n bytes done and waits until that many were due.
func (p *pace) wait(ctx context.Context, n int64) error {
	if p.perSecond <= 0 {
		return ctx.Err()
	}
	if p.start.IsZero() {
		p.start = time.Now()
	}
	p.done += n
	due := p.start.Add(time.Duration(float64(p.done) / float64(p.perSecond) * float64(time.Second)))
	ahead := time.Until(due)
	if ahead <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
