package p9srv

import (
	"net"
	"testing"
)

// watchedConn tells when somebody waits for its bytes.
type watchedConn struct {
	net.Conn
	reading chan struct{} // gets a token with each Read
}

func (c watchedConn) Read(p []byte) (int, error) {
	c.reading <- struct{}{}
	return c.Conn.Read(p)
}

// TestLateVersion has a Tversion take effect when the baton was passed on
// already and its next holder waits for a message: what comes then, the
// Tattach of the new session, must not belong to the old one.
func TestLateVersion(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	transport := watchedConn{theirs, make(chan struct{}, 16)}
	c := newConn(t.Context(), &Server{}, transport)
	old := c.sess.Load()
	next := make(chan *request, 1)
	go func() {
		r, err := c.next()
		if err != nil {
			t.Error(err)
		}
		next <- r
	}()
	<-transport.reading
	r := newRequest(c)
	r.typ, r.tag, r.sess = Tversion, NoTag, old
	r.in = NewDecoder(AppendString(put32(nil, 8192), "9P2000.L"))
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Write([]byte{11, 0, 0, 0, byte(Tclunk), 1, 0, 1, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	got := <-next
	if got == nil || got.sess == old || got.sess != c.sess.Load() || got.sess.dialect != dialectL {
		t.Fatal("the message belongs to the session that is over")
	}
}
