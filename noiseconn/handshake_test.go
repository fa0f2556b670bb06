package noiseconn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flynn/noise"
)

// logged is a Log whose lines can be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestStrangersAreRefused(t *testing.T) {
	friend, stranger, us := NewSecretKey(), NewSecretKey(), NewSecretKey()
	var log logged
	cfg := knows(us, friend)
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	l := listen(t, cfg)
	accepted := accepting(t, l)
	dial := func(key SecretKey, remote PublicKey) error {
		c, err := Dial(soon(t), knows(key), l.Addr().String(), remote)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial(stranger, us.Public()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), stranger.Public().String()) {
		t.Errorf("a stranger: %v", err)
	}
	if err := dial(friend, stranger.Public()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), stranger.Public().String()) {
		t.Errorf("the wrong device at the address: %v", err)
	}
	if err := dial(friend, us.Public()); err != nil {
		t.Errorf("a friend: %v", err)
	}
	if c := <-accepted; c.RemoteKey() != friend.Public() {
		t.Errorf("accepted %v", c.RemoteKey())
	}
	l.Close()
	if c := <-accepted; c != nil {
		t.Errorf("accepted %v too", c.RemoteKey())
	}
	out := log.String()
	if strings.Count(out, "refused a key") != 1 || !strings.Contains(out, "key="+stranger.Public().String()) {
		t.Errorf("the log says %s", out)
	}
}

func TestNobodyIsKnownWithoutKnown(t *testing.T) {
	k := NewSecretKey()
	l := listen(t, Config{Key: k})
	accepting(t, l)
	if _, err := Dial(soon(t), Config{Key: k}, l.Addr().String(), k.Public()); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// A stranger gets not one byte, and is not even asked about if it does not
// know whom it talks to.
func TestStrangersGetNoAnswer(t *testing.T) {
	us, friend, stranger := NewSecretKey(), NewSecretKey(), NewSecretKey()
	var asked atomic.Int32
	l := listen(t, Config{Key: us, Known: func(k PublicKey) bool { asked.Add(1); return k == friend.Public() }})
	accepting(t, l)
	ask := func(role Role, from SecretKey, to PublicKey, change func([]byte)) {
		c := dialRaw(t, l)
		msg := askOf(t, role, from, to)
		change(msg)
		c.Write(msg)
		c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); len(got) > 0 {
			t.Errorf("the answer is %x, %v", got, err)
		}
	}
	same := func([]byte) {}
	ask(Asks, friend, stranger.Public(), same)
	ask(Answers, friend, us.Public(), same)
	for i := range len(hello{}) + headerLen + askLen {
		ask(Asks, friend, us.Public(), func(b []byte) { b[i] ^= 0x10 })
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("asked about %d keys", n)
	}
	ask(Asks, stranger, us.Public(), same)
	if n := asked.Load(); n != 1 {
		t.Errorf("asked about %d keys", n)
	}
}

// askOf is what a dialer sends first.
func askOf(t *testing.T, role Role, from SecretKey, to PublicKey) []byte {
	h := newHello(role)
	hs, err := newState(from, &to, h)
	if err != nil {
		t.Fatal(err)
	}
	msg, _, _, err := hs.WriteMessage(nil, []byte{byte(fastSuites())})
	if err != nil {
		t.Fatal(err)
	}
	return append(h[:], withLength(msg)...)
}

func TestReplayedHandshakeIsNotAccepted(t *testing.T) {
	us, friend := NewSecretKey(), NewSecretKey()
	l := listen(t, knows(us, friend))
	accepted := accepting(t, l)
	msg := askOf(t, Asks, friend, us.Public())
	var last []byte
	for _, then := range [][]byte{nil, append([]byte{0, 1}, make([]byte, 16)...), make([]byte, 64)} {
		c := dialRaw(t, l)
		c.Write(msg)
		reply := make([]byte, headerLen+replyLen)
		if _, err := io.ReadFull(c, reply); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(reply, last) {
			t.Error("two answers are the same")
		}
		last = reply
		c.Write(then)
		c.(*net.TCPConn).CloseWrite()
		if rest, _ := io.ReadAll(c); len(rest) > 0 {
			t.Errorf("%d bytes more", len(rest))
		}
	}
	// A connection that a replay had made would come out before this one.
	c, err := Dial(soon(t), knows(friend), l.Addr().String(), us.Public())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("me"))
	p := make([]byte, 2)
	if _, err := io.ReadFull(<-accepted, p); string(p) != "me" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
}

// Without the confirming record there is no connection; with another one too.
func TestDialerMustConfirm(t *testing.T) {
	us, friend := NewSecretKey(), NewSecretKey()
	l := listen(t, knows(us, friend))
	accepted := accepting(t, l)
	for _, first := range []func(*half) ([]byte, error){
		func(h *half) ([]byte, error) { return h.seal(nil, []byte("data")) },
		func(h *half) ([]byte, error) { return h.sealBare(nil, recordClose) },
	} {
		c := dialRaw(t, l)
		out := half{cs: byHand(t, c, friend, us.Public(), true)}
		rec, err := first(&out)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(rec)
		if rest, err := io.ReadAll(c); len(rest) > 0 {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
	}
	l.Close()
	if c := <-accepted; c != nil {
		t.Error("accepted")
	}
}

// A second confirming record is an error.
func TestConfirmStandsAloneAtTheStart(t *testing.T) {
	a, b := pair(t)
	if err := a.write.bare(recordConfirm); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, errRecord) {
		t.Error(err)
	}
}

// byHand makes the handshake with nothing of this package, as its doc says,
// and returns the dialer's sending cipher, which is AES only if that is offered.
func byHand(t *testing.T, c net.Conn, from SecretKey, to PublicKey, aes bool) *noise.CipherState {
	t.Helper()
	prologue := []byte("bazil\x00\x02\x00")
	public := from.Public()
	hs, err := noise.NewHandshakeState(noise.Config{
		CipherSuite:   noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashBLAKE2s),
		Pattern:       noise.HandshakeIK,
		Initiator:     true,
		Prologue:      prologue,
		StaticKeypair: noise.DHKey{Private: from[:], Public: public[:]},
		PeerStatic:    to[:],
	})
	if err != nil {
		t.Fatal(err)
	}
	offer := []byte{0x80} // one that nobody knows
	if aes {
		offer[0] |= 2
	}
	ask, _, _, _ := hs.WriteMessage(append(bytes.Clone(prologue), 0, 97), offer)
	c.Write(ask)
	reply := make([]byte, 51)
	if _, err := io.ReadFull(c, reply); err != nil || reply[0] != 0 || reply[1] != 49 {
		t.Fatalf("%x, %v", reply, err)
	}
	choice, out, _, err := hs.ReadMessage(nil, reply[2:])
	if err != nil {
		t.Fatal(err)
	}
	if want := choose(suites(offer[0]), fastSuites()); len(choice) != 1 || choice[0] != byte(want) {
		t.Fatalf("the choice is %x, want %d", choice, want)
	}
	if choice[0] == 0 {
		return out
	}
	s := noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashBLAKE2s)
	return noise.UnsafeNewCipherState(s, out.UnsafeKey(), 0)
}

func TestFormat(t *testing.T) {
	t.Run("AESGCM", func(t *testing.T) { testFormat(t, true) })
	t.Run("ChaChaPoly", func(t *testing.T) { testFormat(t, false) })
}

func testFormat(t *testing.T, aes bool) {
	us, friend := NewSecretKey(), NewSecretKey()
	l := listen(t, knows(us, friend))
	accepted := accepting(t, l)
	raw := dialRaw(t, l)
	out := byHand(t, raw, friend, us.Public(), aes)
	send := func(head uint16, payload []byte) {
		h := binary.BigEndian.AppendUint16(nil, head)
		rec, err := out.Encrypt(bytes.Clone(h), h, payload)
		if err != nil {
			t.Fatal(err)
		}
		raw.Write(rec)
	}
	send(1, nil)
	c := <-accepted
	send(5+16, []byte("hello"))
	send(65535, bytes.Repeat([]byte{'x'}, 65519))
	send(2, nil)
	got, err := io.ReadAll(c)
	if err != nil || len(got) != 5+65519 || !bytes.HasPrefix(got, []byte("hellox")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestHelloSaysWhatIsOther(t *testing.T) {
	want := newHello(Asks)
	for _, c := range []struct {
		h    hello
		want string
	}{
		{hello{'S', 'S', 'H', '-', '2', '.', '0', '-'}, "the other side does not speak bazil's protocol"},
		{hello{'b', 'a', 'z', 'i', 'l', 0, 1, 0}, "the other side speaks version 1 of the protocol, this device speaks 2"},
		{newHello(Answers), `the dialer's role is "answers", want "asks"`},
		{newHello(9), `the dialer's role is "role 9", want "asks"`},
	} {
		if err := c.h.check(want); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v", c.h, err)
		}
	}
	if err := want.check(want); err != nil {
		t.Error(err)
	}
}

func TestRoleMustAgree(t *testing.T) {
	a, b := NewSecretKey(), NewSecretKey()
	cfg := knows(b, a)
	cfg.Role = Answers
	l := listen(t, cfg)
	accepted := accepting(t, l)
	if _, err := Dial(soon(t), knows(a), l.Addr().String(), b.Public()); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	dial := knows(a)
	dial.Role = Answers
	c, err := Dial(soon(t), dial, l.Addr().String(), b.Public())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := <-accepted; got.Role() != Answers || c.Role() != Answers {
		t.Errorf("roles %v and %v", got.Role(), c.Role())
	}
}

// Points of small order make every shared secret zero.
func TestLowOrderKeysAreRefused(t *testing.T) {
	k := NewSecretKey()
	l := listen(t, knows(k, k))
	for _, low := range []PublicKey{{}, {1}} {
		if _, err := Dial(soon(t), knows(k), l.Addr().String(), low); err == nil {
			t.Errorf("dialed %v", low)
		}
	}
}
