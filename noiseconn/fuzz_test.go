package noiseconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/flynn/noise"
)

// recorded is a net.Conn that gives in, step bytes at a time, and takes
// everything.
type recorded struct {
	in   *bytes.Reader
	step int
	out  int
}

func (r *recorded) Read(p []byte) (int, error)       { return r.in.Read(p[:min(len(p), r.step)]) }
func (r *recorded) Write(p []byte) (int, error)      { r.out += len(p); return len(p), nil }
func (r *recorded) Close() error                     { return nil }
func (r *recorded) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (r *recorded) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (r *recorded) SetDeadline(time.Time) error      { return nil }
func (r *recorded) SetReadDeadline(time.Time) error  { return nil }
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }

// fixedHalf is a direction with a key that everybody knows.
func fixedHalf(s suite) half {
	return half{cs: noise.UnsafeNewCipherState(s.noise(), [32]byte{1, 2, 3}, 0)}
}

// fuzzStream is a stream of records under fixedHalf, and its payload.
func fuzzStream(s suite, closed bool, sizes ...int) (wire, plain []byte) {
	h := fixedHalf(s)
	for i, n := range sizes {
		p := bytes.Repeat([]byte{byte(i)}, n)
		plain = append(plain, p...)
		wire, _ = h.seal(wire, p)
	}
	if closed {
		wire, _ = h.sealBare(wire, recordClose)
	}
	return wire, plain
}

// Whatever comes, what is read is what was sealed, in order, and the end is
// io.EOF only behind a genuine close record.
func FuzzReader(f *testing.F) {
	var whole, plain [aesGCM + 1][]byte
	for s := range suite(len(whole)) {
		whole[s], plain[s] = fuzzStream(s, true, 1, 300, maxPayload, 17, 70, 5000)
		f.Add(byte(s), whole[s], 1000, 4096)
		f.Add(byte(s), whole[s][:len(whole[s])-1], 70000, 100)
		f.Add(byte(s), whole[s][:50], 1, 1)
		f.Add(byte(s), []byte{0, 0, 0, 0}, 1, 1)
		f.Add(byte(s), []byte{0xff, 0xff}, 9, 9)
		f.Add(byte(s), []byte{0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 9, 9)
	}
	f.Fuzz(func(t *testing.T, number byte, wire []byte, step, size int) {
		s := suite(number % byte(len(whole)))
		c := &Conn{}
		c.raw = &recorded{in: bytes.NewReader(wire), step: max(step&0x1ffff, 1)}
		c.read.raw, c.read.in = c.raw, fixedHalf(s)
		got, p := []byte(nil), make([]byte, max(size&0x1ffff, 1))
		for {
			n, err := c.Read(p)
			got = append(got, p[:n]...)
			if err == nil {
				continue
			}
			if !bytes.HasPrefix(plain[s], got) {
				t.Fatal("read what was not sent")
			}
			if (err == io.EOF) != bytes.HasPrefix(wire, whole[s]) {
				t.Fatalf("the end is %v", err)
			}
			if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, errRecord) {
				t.Fatal(err)
			}
			return
		}
	})
}

// Nothing that a dialer without a known key sends makes a connection, or the
// listener speak.
func FuzzRespond(f *testing.F) {
	us, friend := SecretKey{1}, SecretKey{2}
	h := newHello(Asks)
	to := us.Public()
	hs, err := newState(friend, &to, h)
	if err != nil {
		f.Fatal(err)
	}
	ask, _, _, _ := hs.WriteMessage(nil, []byte{0xff})
	replayed := append(h[:], withLength(ask)...)
	f.Add(replayed)
	f.Add(append(replayed, make([]byte, 18)...))
	f.Add(replayed[:60])
	f.Add(append(h[:], withLength(make([]byte, askLen))...))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		raw := &recorded{in: bytes.NewReader(in), step: 1 << 20}
		if _, err := respond(raw, knows(us, friend), fastSuites()); err == nil {
			t.Fatal("a replay was accepted")
		}
		hs, _, err := readAsk(&recorded{in: bytes.NewReader(in), step: 1 << 20}, us, h)
		if raw.out > 0 && (err != nil || PublicKey(hs.PeerStatic()) != friend.Public()) {
			t.Errorf("%d bytes of answer, %v", raw.out, err)
		}
	})
}

// No answer but that of the right key makes a connection.
func FuzzInitiate(f *testing.F) {
	f.Add([]byte{0, replyLen})
	f.Add(withLength(make([]byte, replyLen)))
	f.Add([]byte("SSH-2.0-OpenSSH\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		raw := &recorded{in: bytes.NewReader(in), step: 1 << 20}
		if _, err := initiate(raw, knows(SecretKey{1}), SecretKey{2}.Public(), fastSuites()); err == nil {
			t.Fatal("a made-up answer was taken")
		}
	})
}
