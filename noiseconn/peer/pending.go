package peer

import (
	"context"

	"bazil/p9srv/client"
)

// pending is a read or write that was begun.
type pending struct {
	n    int
	err  error
	done chan struct{}
}

// begin runs one request; the next one that is begun reaches the wire behind
// it as a rule. The other side puts those right that do not.
func begin(run func() (int, error)) *pending {
	p := &pending{done: make(chan struct{})}
	started := make(chan struct{})
	go func() {
		defer close(p.done)
		close(started)
		p.n, p.err = run()
	}()
	<-started
	return p
}

// wait waits for the reply, or until ctx ends: then what was begun goes on
// until done is closed.
func (p *pending) wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.n, p.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func beginRead(ctx context.Context, f *client.Fid, n int, off int64, room func(n int) []byte) *pending {
	return begin(func() (int, error) { return f.ReadInto(ctx, n, off, room) })
}

func beginWrite(ctx context.Context, f *client.Fid, b []byte, off int64) *pending {
	return begin(func() (int, error) { return f.WriteAt(ctx, b, off) })
}
