package p9test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"bazil/p9srv"
)

// Read reads one message.
func Read(t testing.TB, c net.Conn) []byte {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var h [4]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		t.Fatal("reading a reply: ", err)
	}
	n := binary.LittleEndian.Uint32(h[:])
	if n < p9srv.HeaderSize || n > 16<<20 {
		t.Fatalf("reply of %d bytes", n)
	}
	msg := append(h[:], make([]byte, n-4)...)
	if _, err := io.ReadFull(c, msg[4:]); err != nil {
		t.Fatal("reading a reply: ", err)
	}
	return msg
}

// Tell sends a message of 9P2000.L.
func Tell(t testing.TB, c net.Conn, text string) {
	t.Helper()
	msg, err := Encode(text, "9P2000.L")
	if err == nil {
		_, err = c.Write(msg)
	}
	if err != nil {
		t.Fatal(text, ": ", err)
	}
}

// Say sends a message of 9P2000.L and expects that reply next.
func Say(t testing.TB, c net.Conn, text, reply string) map[string]string {
	t.Helper()
	Tell(t, c, text)
	name, values, err := Decode(Read(t, c), "9P2000.L")
	if err != nil || name != reply {
		t.Fatal(text, ": ", name, " ", values, " ", err)
	}
	return values
}
