package noiseconn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/flynn/noise"
)

// version is this format's, in the hello.
const version = 2

// The lengths of the two messages of the handshake, with a byte of payload in
// each.
const (
	keyLen   = 32
	askLen   = keyLen + keyLen + tagLen + 1 + tagLen
	replyLen = keyLen + 1 + tagLen
)

var (
	// ErrRefused is the error of a Dial whose other side ended the handshake
	// without an answer. It does so when it does not know our key, and when
	// its own key is not the one we asked for; it does not say which.
	ErrRefused = errors.New("the other side ended the handshake")

	errStranger = errors.New("the key is no peer's")
	errForeign  = errors.New("the other side does not speak bazil's protocol")
)

// hello is the clear start of a connection and the handshake's prologue.
type hello [8]byte

func newHello(r Role) hello {
	return hello{'b', 'a', 'z', 'i', 'l', 0, version, byte(r)}
}

// check says what of h is not as this side wants it.
func (h hello) check(want hello) error {
	switch {
	case !bytes.Equal(h[:6], want[:6]):
		return errForeign
	case h[6] != want[6]:
		return fmt.Errorf("the other side speaks version %d of the protocol, this device speaks %d", h[6], want[6])
	case h[7] != want[7]:
		return fmt.Errorf("the dialer's role is %q, want %q", Role(h[7]), Role(want[7]))
	}
	return nil
}

func newState(key SecretKey, remote *PublicKey, h hello) (*noise.HandshakeState, error) {
	public := key.Public()
	cfg := noise.Config{
		CipherSuite:   chaChaPoly.noise(),
		Pattern:       noise.HandshakeIK,
		Prologue:      h[:],
		StaticKeypair: noise.DHKey{Private: key[:], Public: public[:]},
	}
	if remote != nil {
		cfg.Initiator, cfg.PeerStatic = true, remote[:]
	}
	return noise.NewHandshakeState(cfg)
}

// initiate is the dialer's side of the handshake, on a fresh connection with
// its deadline set.
func initiate(raw net.Conn, cfg Config, remote PublicKey, offer suites) (*Conn, error) {
	h := newHello(cfg.Role)
	hs, err := newState(cfg.Key, &remote, h)
	if err != nil {
		return nil, err
	}
	ask, _, _, err := hs.WriteMessage(nil, []byte{byte(offer)})
	if err != nil {
		return nil, fmt.Errorf("key %v: %w", remote, err)
	}
	if _, err := raw.Write(append(h[:], withLength(ask)...)); err != nil {
		return nil, err
	}
	reply, err := readMessage(raw, replyLen)
	if errors.Is(err, io.EOF) || errors.Is(err, errReset) {
		return nil, fmt.Errorf("%w: it does not know this device's key %v, or its own key is not %v",
			ErrRefused, cfg.Key.Public(), remote)
	}
	if err != nil {
		return nil, err
	}
	choice, out, in, err := hs.ReadMessage(nil, reply)
	if err != nil {
		return nil, fmt.Errorf("its answer is not from key %v", remote)
	}
	s, err := parseChoice(choice, offer)
	if err != nil {
		return nil, err
	}
	c := newConn(raw, remote, cfg.Role, s.half(in), s.half(out))
	return c, c.write.bare(recordConfirm)
}

// respond is the listener's side. It returns only when the dialer has proved
// to be live.
func respond(raw net.Conn, cfg Config, have suites) (*Conn, error) {
	h := newHello(cfg.Role)
	hs, offer, err := readAsk(raw, cfg.Key, h)
	if err != nil {
		return nil, err
	}
	remote := PublicKey(hs.PeerStatic())
	if cfg.Known == nil || !cfg.Known(remote) {
		return nil, &strangerError{remote}
	}
	s := choose(offer, have)
	reply, in, out, err := hs.WriteMessage(nil, []byte{byte(s)})
	if err != nil {
		return nil, err
	}
	if _, err := raw.Write(withLength(reply)); err != nil {
		return nil, err
	}
	c := newConn(raw, remote, cfg.Role, s.half(in), s.half(out))
	return c, c.read.confirm()
}

// readAsk reads the hello and the first message: who sent it, which the state
// that it returns tells, and the suites that it offers.
func readAsk(raw net.Conn, key SecretKey, want hello) (*noise.HandshakeState, suites, error) {
	var h hello
	if _, err := io.ReadFull(raw, h[:]); err != nil {
		return nil, 0, err
	}
	if err := h.check(want); err != nil {
		return nil, 0, err
	}
	ask, err := readMessage(raw, askLen)
	if err != nil {
		return nil, 0, err
	}
	hs, err := newState(key, nil, h)
	if err != nil {
		return nil, 0, err
	}
	offer, _, _, err := hs.ReadMessage(nil, ask)
	if err != nil {
		return nil, 0, errors.New("the dialer wants another key, or its message was changed")
	}
	return hs, suites(offer[0]), nil
}

// confirm waits for the record that ends the handshake.
func (r *reader) confirm() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind, _, err := r.record(nil)
	if err != nil {
		return err
	}
	if kind != recordConfirm {
		return fmt.Errorf("%w: it does not confirm the handshake", errRecord)
	}
	return nil
}

// strangerError is errStranger with the key.
type strangerError struct{ key PublicKey }

func (e *strangerError) Error() string { return fmt.Sprintf("%v: %v", errStranger, e.key) }
func (e *strangerError) Unwrap() error { return errStranger }

func withLength(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

// readMessage reads a message that must be n bytes long.
func readMessage(r io.Reader, n int) ([]byte, error) {
	var head [headerLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if int(binary.BigEndian.Uint16(head[:])) != n {
		return nil, errForeign
	}
	msg := make([]byte, n)
	_, err := io.ReadFull(r, msg)
	return msg, err
}
