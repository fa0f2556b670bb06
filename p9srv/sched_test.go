package p9srv

import (
	"context"
	"net"
	"testing"
	"time"
)

// TestPassedBeforeItRuns passes the baton on at the moment when the holder
// has taken a request and not looked at its tag yet: the request must not
// take itself for another one.
func TestPassedBeforeItRuns(t *testing.T) {
	ours, theirs := net.Pipe()
	c := newConn(t.Context(), &Server{}, theirs)
	c.srv.watch.add(c)
	r := newRequest(c)
	r.sess, r.typ, r.tag = c.sess.Load(), Tclunk, 7
	r.in = NewDecoder(make([]byte, 4))
	c.cur = r
	turn := c.turn.Add(1)
	c.mu.Lock()
	c.pass(turn, true)
	c.mu.Unlock()
	if err := c.attempt(r); err == errTagInUse {
		t.Error(err)
	}
	if c.tags[7] != r {
		t.Error("the request cannot be flushed")
	}
	ours.Close()
	c.wg.Wait()
	c.srv.watch.remove(c)
}

// syncStep is one sync of a connection.
type syncStep struct {
	more, passes bool
	takes        time.Duration // at least
}

// TestSyncPassesOn: a sync keeps the baton where it comes alone and the last was
// quick, and only there.
func TestSyncPassesOn(t *testing.T) {
	for _, steps := range [][]syncStep{ // of a connection, until the baton is passed
		{{more: true, passes: true}},
		{{}, {takes: tickTime}, {passes: true}},
	} {
		for !syncSteps(t, steps) { // the machine was too slow
		}
	}
}

// syncSteps is false if a sync took long that was to be quick.
func syncSteps(t *testing.T, steps []syncStep) bool {
	ours, theirs := net.Pipe()
	c := newConn(t.Context(), &Server{}, theirs) // nobody watches it
	defer c.wg.Wait()
	defer ours.Close()
	for i, s := range steps {
		r := newRequest(c)
		r.sess, r.typ, r.more = c.sess.Load(), Tfsync, s.more
		c.cur = r
		turn := c.turn.Add(1)
		f := new(fid)
		f.file.Store(&openFile{File: syncing(func() {
			if passed := c.turn.Load() != turn; passed != s.passes {
				t.Errorf("step %d of %d: passed is %v", i, len(steps), passed)
			}
			time.Sleep(s.takes) // a slow disk
		})})
		begun := time.Now()
		if err := r.sync(f, false); err != nil {
			t.Error(err)
		}
		if s.takes == 0 && !s.passes && time.Since(begun) >= tickTime {
			return false
		}
		c.turn.CompareAndSwap(turn, turn+1)
	}
	return true
}

// syncing is a File that can only be synced.
type syncing func()

func (s syncing) Sync(context.Context, bool) error                  { s(); return nil }
func (syncing) ReadAt(context.Context, []byte, int64) (int, error)  { return 0, nil }
func (syncing) WriteAt(context.Context, []byte, int64) (int, error) { return 0, nil }
func (syncing) Close() error                                        { return nil }

// TestFlushAnsweredBeforeItEnds: when a flushed request ends while its Tflush
// is still at work, the client has the Rflush and may use the Tflush's tag.
func TestFlushAnsweredBeforeItEnds(t *testing.T) {
	ours, theirs := net.Pipe()
	c := newConn(t.Context(), &Server{}, theirs)
	c.srv.watch.add(c)
	read := newRequest(c)
	read.sess, read.typ, read.tag = c.sess.Load(), Tread, 1
	c.tags[1] = read
	r := newRequest(c)
	r.sess, r.typ, r.tag = c.sess.Load(), Tflush, 2
	r.in = NewDecoder([]byte{1, 0})
	c.cur = r
	turn := c.turn.Add(1)
	c.mu.Lock()
	c.pass(turn, true)
	c.mu.Unlock()
	if err := flush(r); err != errLater {
		t.Fatal(err)
	}
	c.finish(read, context.Canceled)
	again := newRequest(c)
	again.sess, again.typ, again.tag = c.sess.Load(), Tclunk, 2
	again.in = NewDecoder(make([]byte, 4))
	if err := c.attempt(again); err == errTagInUse {
		t.Error(err)
	}
	ours.Close()
	c.wg.Wait()
	c.srv.watch.remove(c)
}

// TestFlushesAreBounded: no more Tflush wait for one request than a client has
// tags.
func TestFlushesAreBounded(t *testing.T) {
	_, theirs := net.Pipe()
	c := newConn(t.Context(), &Server{}, theirs)
	read := newRequest(c)
	read.sess, read.typ, read.tag, read.committed = c.sess.Load(), Tread, 1, true
	c.tags[1] = read
	flushIt := func() error {
		r := newRequest(c)
		r.sess, r.typ, r.tag = c.sess.Load(), Tflush, 2
		r.in = NewDecoder([]byte{1, 0})
		return flush(r)
	}
	for range 1 << 16 {
		if err := flushIt(); err != errLater {
			t.Fatal(err)
		}
	}
	if err := flushIt(); err != errTagInUse {
		t.Error(err)
	}
}

// TestContext holds the context of requests to what context.Context promises.
func TestContext(t *testing.T) {
	type key struct{}
	x := &requestContext{parent: context.WithValue(t.Context(), key{}, 5)}
	child, stop := context.WithCancel(x)
	defer stop()
	if x.Err() != nil || child.Err() != nil || child.Value(key{}) != 5 {
		t.Error("not begun as it should", x.Err(), child.Err())
	}
	x.cancel()
	<-child.Done()
	<-x.Done()
	if x.Err() != context.Canceled || child.Err() != context.Canceled {
		t.Error(x.Err(), child.Err())
	}
	x = &requestContext{parent: t.Context()}
	x.cancel()
	<-x.Done()
	if !x.end() || (&requestContext{}).end() {
		t.Error("end tells wrongly whether somebody looked")
	}
}
