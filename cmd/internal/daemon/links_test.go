package daemon

import (
	"net"
	"testing"
	"time"
)

// TestDialGoesWhereThePeerIs: a dial that is under way when the peer's location
// changes goes there, and so does who has joined it.
func TestDialGoesWhereThePeerIs(t *testing.T) {
	white, black := couple(t)
	hole := newHole(t, black)
	joined := make(chan error, 2)
	connect := func() {
		_, l, err := black.toPeer("white")
		if err == nil {
			err = l.client.Connect(t.Context())
		}
		joined <- err
	}
	go connect()
	hole.accept(t)
	go connect()
	began := time.Now()
	must(t, black, "peer location set white "+white.Addr().String())
	for range 2 {
		if err := <-joined; err != nil {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	}
}

// TestCommandBeginsDialAnew: a command does not wait for the time-out of a dial
// that has been under way for long.
func TestCommandBeginsDialAnew(t *testing.T) {
	_, black := couple(t)
	for !beginsDialAnew(t, black) { // the machine was slow
	}
}

// beginsDialAnew is false if what was to be asked about a dial that has just
// begun was asked when that was old.
func beginsDialAnew(t *testing.T, black *Daemon) bool {
	hole := newHole(t, black)
	_, l, err := black.toPeer("white")
	if err != nil {
		t.Fatal(err)
	}
	began, ended := time.Now(), make(chan struct{})
	go func() {
		defer close(ended)
		l.client.Connect(t.Context())
	}()
	defer func() { black.links.drop(l.key); <-ended }()
	hole.accept(t)
	if _, _, err = black.toPeer("white"); err != nil {
		t.Fatal(err)
	}
	if time.Since(began) >= redialPause {
		return false
	}
	hole.l.(*net.TCPListener).SetDeadline(time.Now().Add(redialPause / 2))
	if c, err := hole.l.Accept(); err == nil {
		t.Errorf("a dial that has just begun was given up, from %v", c.RemoteAddr())
	}
	for asks := time.NewTicker(redialPause / 10); ; <-asks.C {
		if _, _, err = black.toPeer("white"); err != nil {
			t.Fatal(err)
		}
		hole.l.(*net.TCPListener).SetDeadline(time.Now().Add(redialPause / 10))
		if _, err := hole.l.Accept(); err == nil {
			break
		}
		select {
		case <-ended:
			t.Fatal("the first dial had its time-out")
		default:
		}
	}
	return true
}

// hole is a place where nobody answers.
type hole struct{ l net.Listener }

// newHole says that white is in a hole.
func newHole(t *testing.T, black *Daemon) hole {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	must(t, black, "peer location set white "+l.Addr().String())
	return hole{l}
}

// accept waits for somebody who gets no answer.
func (h hole) accept(t *testing.T) {
	t.Helper()
	c, err := h.l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
}
