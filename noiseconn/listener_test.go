package noiseconn

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

func TestFloodOfHalfOpenConnections(t *testing.T) {
	a, b := NewSecretKey(), NewSecretKey()
	cfg := knows(b, a)
	cfg.MaxHandshakes, cfg.HandshakeTimeout = 8, time.Hour
	l := listen(t, cfg)
	accepted := accepting(t, l)
	hello := newHello(Asks)
	var flood []net.Conn
	for i := range 100 {
		c := dialRaw(t, l)
		c.Write(hello[:i%9])
		flood = append(flood, c)
		if i%20 != 19 {
			continue
		}
		d, err := Dial(soon(t), knows(a), l.Addr().String(), b.Public())
		if err != nil {
			t.Fatalf("behind %d half-open connections: %v", i+1, err)
		}
		d.Close()
		<-accepted
	}
	if n := l.half.len(); n > 8 {
		t.Errorf("%d handshakes are open", n)
	}
	for i, c := range flood[:92] { // the oldest made room
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("flooding connection %d: %v", i, err)
		}
	}
}

func TestSilentHandshakeTimesOut(t *testing.T) {
	a, b := NewSecretKey(), NewSecretKey()
	cfg := knows(b, a)
	cfg.HandshakeTimeout = 30 * time.Millisecond
	l := listen(t, cfg)
	accepting(t, l)
	msg := askOf(t, Asks, a, b.Public())
	for _, n := range []int{0, 3, len(msg) - 1, len(msg)} {
		c := dialRaw(t, l)
		c.Write(msg[:n])
		if _, err := io.ReadAll(c); errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	}
}

// A connection does not inherit the handshake's deadline.
func TestDeadlineEndsWithTheHandshake(t *testing.T) {
	for !outlivesTheHandshake(t) { // the machine was too slow for it
	}
}

// outlivesTheHandshake is false where the handshake had its time-out.
func outlivesTheHandshake(t *testing.T) bool {
	a, b := NewSecretKey(), NewSecretKey()
	cfg := knows(b, a)
	cfg.HandshakeTimeout = 500 * time.Millisecond
	l := listen(t, cfg)
	defer l.Close()
	accepted := accepting(t, l)
	began := time.Now()
	c, err := Dial(soon(t), cfgWith(a, cfg.HandshakeTimeout), l.Addr().String(), b.Public())
	took := time.Since(began)
	if err != nil && took >= cfg.HandshakeTimeout {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := <-accepted
	<-time.After(time.Until(began.Add(2 * cfg.HandshakeTimeout)))
	go c.Write([]byte("x"))
	if _, err := d.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	go d.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	return true
}

func cfgWith(k SecretKey, timeout time.Duration) Config {
	return Config{Key: k, HandshakeTimeout: timeout}
}

func TestListenerClose(t *testing.T) {
	a, b := NewSecretKey(), NewSecretKey()
	l := listen(t, knows(b, a))
	errs := make(chan error)
	go func() { _, err := l.Accept(); errs <- err }()
	silent := dialRaw(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, net.ErrClosed) {
		t.Errorf("blocked Accept: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("later Accept: %v", err)
	}
	silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("a half-open connection outlived its listener")
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the port still listens")
	}
}

func TestListenerCloseWithoutAccept(t *testing.T) {
	l := listen(t, Config{})
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// Connections that nobody accepts are bounded, and end with the listener.
func TestUnacceptedConnections(t *testing.T) {
	a, b := NewSecretKey(), NewSecretKey()
	cfg := knows(b, a)
	cfg.MaxHandshakes = 2
	l := listen(t, cfg)
	first := make(chan *Conn)
	go func() { c, _ := l.AcceptPeer(); first <- c }()
	var conns []*Conn
	for range 6 {
		c, err := Dial(soon(t), knows(a), l.Addr().String(), b.Public())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	(<-first).Close()
	if n := len(l.ready); n > 2 {
		t.Errorf("%d connections wait", n)
	}
	l.Close()
	for i, c := range conns {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("connection %d lives", i)
		}
	}
}

func TestAcceptErrorEndsTheListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(Config{}, inner)
	defer l.Close()
	inner.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestVictimIsOfTheCrowd(t *testing.T) {
	few, many := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	h := halfOpen{conns: []waiting{{nil, few}, {nil, many}, {nil, few}, {nil, many}, {nil, many}}}
	if got := h.victim(few); got != 0 {
		t.Errorf("victim %d when both have three, want the oldest", got)
	}
	if got := h.victim(many); got != 1 {
		t.Errorf("victim %d, want the crowd's oldest", got)
	}
	if got := h.victim(netip.MustParsePrefix("192.0.2.3/32")); got != 1 {
		t.Errorf("victim %d, want the crowd's oldest", got)
	}
}

func TestNetworkOfAnAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:80":            "192.0.2.1/32",
		"[::ffff:192.0.2.1]:80":   "192.0.2.1/32",
		"[2001:db8:1:2:3::4]:80":  "2001:db8:1:2::/64",
		"[fe80::1:2:3:4%eth0]:80": "fe80::/64",
	} {
		a, err := net.ResolveTCPAddr("tcp", in)
		if err != nil {
			t.Fatal(err)
		}
		if got := network(a); got.String() != want {
			t.Errorf("%s: %v", in, got)
		}
	}
	if network(&net.UnixAddr{}) != (netip.Prefix{}) || network(&net.TCPAddr{}) != (netip.Prefix{}) {
		t.Error("addresses without a number")
	}
}

// len is the number of unfinished handshakes.
func (h *halfOpen) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}
