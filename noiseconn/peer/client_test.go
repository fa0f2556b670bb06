package peer

import (
	"context"
	"errors"
	"net"
	"testing"
)

// TestBulkIsBounded: the questions for content that are under way at once are
// bounded for all who ask together, and who waits for one to end can give up.
func TestBulkIsBounded(t *testing.T) {
	c := New(func(context.Context) (net.Conn, error) { return nil, errClosed }, Options{})
	defer c.Close()
	loads := map[*link]int{}
	var ends []func()
	for range perLink * c.width() {
		l, done, err := c.takeBulk(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		loads[l]++
		ends = append(ends, done)
	}
	for _, n := range loads {
		if n != perLink {
			t.Errorf("%d questions on one connection of %d", n, len(loads))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		_, _, err := c.takeBulk(ctx)
		waiting <- err
	}()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("one more than the bound: %v", err)
	}
	go func() {
		_, done, err := c.takeBulk(t.Context())
		if err == nil {
			done()
		}
		waiting <- err
	}()
	ends[0]()
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

// TestCloseEndsADial: and what waits for its turn to dial.
func TestCloseEndsADial(t *testing.T) {
	dialing := make(chan struct{})
	c := New(func(ctx context.Context) (net.Conn, error) { // to where nobody answers
		close(dialing)
		<-ctx.Done()
		return nil, ctx.Err()
	}, Options{})
	ended := make(chan error, 2)
	connect := func() { ended <- c.Connect(t.Context()) }
	go connect()
	<-dialing
	go connect()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, errClosed) {
			t.Error(err)
		}
	}
}
