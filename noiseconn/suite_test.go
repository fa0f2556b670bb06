package noiseconn

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/flynn/noise"
)

const withAES = suites(1 << aesGCM)

// shake makes a connection between a dialer and a listener with these suites.
func shake(t testing.TB, offer, have suites) (dialer, listener *Conn) {
	t.Helper()
	a, b := NewSecretKey(), NewSecretKey()
	from, to := tcpPair(t)
	accepted := make(chan *Conn)
	go func() {
		c, err := respond(to, knows(b, a), have)
		if err != nil {
			t.Error(err)
			to.Close()
		}
		accepted <- c
	}()
	c, err := initiate(from, knows(a), b.Public(), offer)
	if err != nil {
		t.Error(err)
	}
	l := <-accepted
	if c == nil || l == nil {
		t.FailNow()
	}
	return c, l
}

// tcpPair returns both ends of a plain connection over loopback.
func tcpPair(t testing.TB) (from, to net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if from, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if to, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close(); to.Close() })
	return from, to
}

// Both sides take AES if both have it, and nothing is made of what one of them
// does not know.
func TestSuites(t *testing.T) {
	const unknown = ^withAES
	for _, c := range []struct {
		offer, have suites
		want        suite
	}{
		{0, 0, chaChaPoly},
		{withAES, 0, chaChaPoly},
		{0, withAES, chaChaPoly},
		{withAES, withAES, aesGCM},
		{unknown, withAES, chaChaPoly},
		{unknown | withAES, withAES, aesGCM},
		{withAES, unknown | withAES, aesGCM},
	} {
		t.Run(fmt.Sprintf("%#x,%#x", c.offer, c.have), func(t *testing.T) {
			a, b := shake(t, c.offer, c.have)
			wantSealed(t, c.want, &a.write.out)
			wantSealed(t, c.want, &b.write.out)
		})
	}
}

// wantSealed checks what h seals with.
func wantSealed(t *testing.T, want suite, h *half) {
	t.Helper()
	by := noise.UnsafeNewCipherState(want.noise(), h.cs.UnsafeKey(), h.cs.Nonce())
	rec, err := h.seal(nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := by.Decrypt(nil, rec[:headerLen], rec[headerLen:]); err != nil || string(got) != "x" {
		t.Errorf("not sealed with suite %d: %q, %v", want, got, err)
	}
}

// With each of them data comes through, rekeyed as well, and what was changed
// does not.
func TestRecordsOfEachSuite(t *testing.T) {
	for s, offer := range []suites{chaChaPoly: 0, aesGCM: withAES} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			a, b := shake(t, offer, withAES)
			a.write.out.messages, b.read.in.messages = rekeyMessages-2, rekeyMessages-2
			p := []byte(strings.Repeat("some of it ", 10000))
			if before, after := transfer(t, a, b, 20, p); before == after || after[0] != after[1] {
				t.Error("not rekeyed alike")
			}
			rec, err := a.write.out.seal(nil, p[:100])
			if err != nil {
				t.Fatal(err)
			}
			for i := range rec {
				in := half{cs: noise.UnsafeNewCipherState(suite(s).noise(), b.read.in.cs.UnsafeKey(), b.read.in.cs.Nonce())}
				rec[i] ^= 4
				if _, err := in.open(nil, rec); err == nil {
					t.Fatalf("byte %d can be changed", i)
				}
				rec[i] ^= 4
			}
			if got, err := b.read.in.open(nil, rec); err != nil || string(got) != string(p[:100]) {
				t.Error(err)
			}
		})
	}
}

// A listener cannot bring a dialer to use what it has not offered.
func TestChoiceMustBeOffered(t *testing.T) {
	for _, c := range []struct {
		offer  suites
		choice suite
	}{{0, aesGCM}, {^withAES, aesGCM}, {withAES, 2}, {0xff, 7}, {0, 255}} {
		a, b := NewSecretKey(), NewSecretKey()
		from, to := net.Pipe()
		go func() {
			defer to.Close()
			hs, _, err := readAsk(to, b, newHello(Asks))
			if err != nil {
				t.Error(err)
				return
			}
			reply, _, _, err := hs.WriteMessage(nil, []byte{byte(c.choice)})
			if err != nil {
				t.Error(err)
				return
			}
			to.Write(withLength(reply))
		}()
		_, err := initiate(from, knows(a), b.Public(), c.offer)
		want := fmt.Sprintf("its answer is cipher %d, which this device has not offered", c.choice)
		if err == nil || err.Error() != want {
			t.Errorf("%#x, %d: %v", c.offer, c.choice, err)
		}
		from.Close()
	}
}
