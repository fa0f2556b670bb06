package noiseconn

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// middle is a connection with the test in between.
type middle struct {
	dialer, listener *Conn
	in, out          net.Conn // from the dialer; to the listener
	ask              []byte   // the dialer's hello and first message
}

// newMiddle passes the handshake on unchanged.
func newMiddle(t *testing.T) *middle {
	a, b := NewSecretKey(), NewSecretKey()
	l := listen(t, knows(b, a))
	accepted := accepting(t, l)
	relay, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	dialed := make(chan *Conn)
	go func() {
		c, err := Dial(soon(t), knows(a), relay.Addr().String(), b.Public())
		if err != nil {
			t.Error(err)
		}
		dialed <- c
	}()
	m := &middle{}
	if m.in, err = relay.Accept(); err != nil {
		t.Fatal(err)
	}
	m.out = dialRaw(t, l)
	m.ask = m.pass(t, m.in, m.out, len(hello{})+headerLen+askLen)
	m.pass(t, m.out, m.in, headerLen+replyLen)
	m.pass(t, m.in, m.out, headerLen+tagLen)
	m.dialer, m.listener = <-dialed, <-accepted
	if m.dialer == nil {
		t.FailNow()
	}
	t.Cleanup(func() { m.in.Close(); m.dialer.Close() })
	return m
}

func (m *middle) pass(t *testing.T, from io.Reader, to io.Writer, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(from, p); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// record makes the dialer write p and takes the record out of the wire.
func (m *middle) record(t *testing.T, p []byte) []byte {
	t.Helper()
	if _, err := m.dialer.Write(p); err != nil {
		t.Fatal(err)
	}
	rec := make([]byte, headerLen+len(p)+tagLen)
	if _, err := io.ReadFull(m.in, rec); err != nil {
		t.Fatal(err)
	}
	if int(binary.BigEndian.Uint16(rec)) != len(p)+tagLen {
		t.Fatalf("the record of %d bytes has length %d", len(p), binary.BigEndian.Uint16(rec))
	}
	return rec
}

func TestTampering(t *testing.T) {
	one, two := []byte("the first record"), []byte("the second one!!")
	for name, c := range map[string]struct {
		change func(a, b []byte) []byte
		want   error
		read   string // what comes before the error
	}{
		"untouched":        {func(a, b []byte) []byte { return append(a, b...) }, io.ErrUnexpectedEOF, string(one) + string(two)},
		"flipped bit":      {func(a, b []byte) []byte { a[9] ^= 4; return append(a, b...) }, errRecord, ""},
		"flipped tag":      {func(a, b []byte) []byte { b[len(b)-1] ^= 1; return append(a, b...) }, errRecord, string(one)},
		"flipped length":   {func(a, b []byte) []byte { a[1] ^= 1; return append(a, b...) }, errRecord, ""},
		"longer length":    {func(a, b []byte) []byte { a[0] = 0xff; return append(a, b...) }, io.ErrUnexpectedEOF, ""},
		"length 0":         {func(a, b []byte) []byte { a[0], a[1] = 0, 0; return append(a, b...) }, errRecord, ""},
		"length 16":        {func(a, b []byte) []byte { a[0], a[1] = 0, 16; return append(a, b...) }, errRecord, ""},
		"made a close":     {func(a, b []byte) []byte { a[0], a[1] = 0, 2; return append(a, b...) }, errRecord, ""},
		"made a confirm":   {func(a, b []byte) []byte { a[0], a[1] = 0, 1; return append(a, b...) }, errRecord, ""},
		"swapped":          {func(a, b []byte) []byte { return append(b, a...) }, errRecord, ""},
		"repeated":         {func(a, b []byte) []byte { return slices.Concat(a, a, b) }, errRecord, string(one)},
		"first missing":    {func(a, b []byte) []byte { return b }, errRecord, ""},
		"cut in a record":  {func(a, b []byte) []byte { return append(a, b[:7]...) }, io.ErrUnexpectedEOF, string(one)},
		"cut in a header":  {func(a, b []byte) []byte { return append(a, b[0]) }, io.ErrUnexpectedEOF, string(one)},
		"cut behind it":    {func(a, b []byte) []byte { return a }, io.ErrUnexpectedEOF, string(one)},
		"inserted garbage": {func(a, b []byte) []byte { return slices.Concat(a, make([]byte, 40), b) }, errRecord, string(one)},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMiddle(t)
			m.out.Write(c.change(m.record(t, one), m.record(t, two)))
			m.out.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(m.listener)
			if string(got) != c.read || !errors.Is(err, c.want) {
				t.Errorf("read %q, %v; want %q, %v", got, err, c.read, c.want)
			}
			if _, again := m.listener.Read(make([]byte, 1)); again != err {
				t.Errorf("the next read: %v", again)
			}
		})
	}
}

func TestTamperingEndsTheOtherDirectionToo(t *testing.T) {
	m := newMiddle(t)
	rec := m.record(t, []byte("x"))
	rec[2] ^= 1
	m.out.Write(rec)
	if _, err := m.listener.Read(make([]byte, 1)); !errors.Is(err, errRecord) {
		t.Fatal(err)
	}
	if _, err := m.listener.Write([]byte("y")); err == nil {
		t.Error("a write went out on a connection that was tampered with")
	}
	if _, err := m.out.Read(make([]byte, 1)); err == nil {
		t.Error("something came")
	}
}

func TestARecordOfTheOtherDirectionIsRefused(t *testing.T) {
	m := newMiddle(t)
	m.in.Write(m.record(t, []byte("echo"))) // back to where it came from
	if _, err := m.dialer.Read(make([]byte, 9)); !errors.Is(err, errRecord) {
		t.Error(err)
	}
}

// Every cut of a record by the read deadline is survived.
func TestReadDeadlineKeepsPartialRecords(t *testing.T) {
	m := newMiddle(t)
	want := make([]byte, 50)
	rand.Read(want)
	rec := m.record(t, want)
	got := make([]byte, 0, len(want))
	for i := range rec {
		m.out.Write(rec[i : i+1])
		m.listener.SetReadDeadline(time.Now().Add(time.Millisecond))
		n, err := m.listener.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %d bytes: %v", i+1, err)
		}
	}
	m.listener.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := io.ReadFull(m.listener, got[len(got):cap(got)]); err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if !bytes.Equal(got[:cap(got)], want) {
		t.Error("the bytes changed")
	}
	m.out.Write(m.record(t, []byte("more")))
	if n, err := m.listener.Read(got[:cap(got)]); string(got[:n]) != "more" || err != nil {
		t.Errorf("%q, %v", got[:n], err)
	}
}

func TestWireShowsNothing(t *testing.T) {
	m := newMiddle(t)
	secret := bytes.Repeat([]byte("attack at dawn. "), 100)
	wire := append(m.ask, m.record(t, secret)...)
	keys := []PublicKey{m.dialer.RemoteKey(), m.listener.RemoteKey()}
	if bytes.Contains(wire, secret[:16]) || bytes.Contains(wire, keys[0][:]) || bytes.Contains(wire, keys[1][:]) {
		t.Error("the wire shows a key or the text")
	}
}
