package daemon

import (
	"net"
	"testing"
)

// TestDialUnderWayAnswersForItself: a command for a peer does not fail because
// of a dial that had begun before it.
func TestDialUnderWayAnswersForItself(t *testing.T) {
	white, black := couple(t)
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	must(t, black, "peer location set white "+hole.Addr().String())
	_, l, err := black.toPeer("white")
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error)
	go func() { first <- l.client.Connect(t.Context()) }()
	dead, err := hole.Accept()
	if err != nil {
		t.Fatal(err)
	}
	must(t, black, "peer location set white "+white.Addr().String())
	if _, _, err = black.toPeer("white"); err != nil {
		t.Fatal(err)
	}
	joined := make(chan error)
	go func() { joined <- l.client.Connect(t.Context()) }()
	dead.Close()
	if err := <-first; err == nil {
		t.Error("there is somebody in the hole")
	}
	if err := <-joined; err != nil {
		t.Errorf("who came while that was under way: %v", err)
	}
}
