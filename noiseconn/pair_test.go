package noiseconn

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"
)

// knows is a Config for key that lets in the given others.
func knows(key SecretKey, others ...SecretKey) Config {
	return Config{Key: key, Known: func(k PublicKey) bool {
		return slices.ContainsFunc(others, func(o SecretKey) bool { return o.Public() == k })
	}}
}

// listen starts a listener on loopback.
func listen(t testing.TB, cfg Config) *Listener {
	t.Helper()
	l, err := Listen(cfg, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// accepting returns where l's accepted connections come out.
func accepting(t testing.TB, l *Listener) <-chan *Conn {
	ch := make(chan *Conn)
	go func() {
		defer close(ch)
		for {
			c, err := l.AcceptPeer()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			ch <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for range ch {
		}
	})
	return ch
}

// pair returns both ends of a connection over loopback TCP.
func pair(t testing.TB) (dialer, listener *Conn) {
	t.Helper()
	a, b := NewSecretKey(), NewSecretKey()
	l := listen(t, knows(b, a))
	ch := accepting(t, l)
	c, err := Dial(t.Context(), knows(a), l.Addr().String(), b.Public())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, <-ch
}

// dialRaw is a plain TCP connection to l.
func dialRaw(t testing.TB, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// soon is a context that ends a test that hangs.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
