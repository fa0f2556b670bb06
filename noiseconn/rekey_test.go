package noiseconn

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// transfer sends n writes of p from a to b, checks what comes, and returns
// both ciphers' keys before and after.
func transfer(t *testing.T, a, b *Conn, n int, p []byte) (before, after [2][32]byte) {
	t.Helper()
	before = keysOf(a, b)
	errs := make(chan error)
	go func() {
		for range n {
			if _, err := a.Write(p); err != nil {
				errs <- err
			}
		}
		errs <- nil
	}()
	got := make([]byte, len(p))
	for range n {
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, p) {
			t.Fatal("what came is not what was sent: ", err)
		}
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	return before, keysOf(a, b)
}

func keysOf(a, b *Conn) [2][32]byte {
	return [2][32]byte{a.write.out.cs.UnsafeKey(), b.read.in.cs.UnsafeKey()}
}

func TestRekeyByMessages(t *testing.T) {
	a, b := pair(t) // the confirming record is the first message
	before, last := transfer(t, a, b, rekeyMessages-1, []byte("x"))
	if before != last {
		t.Fatal("rekeyed too early")
	}
	_, after := transfer(t, a, b, 1, []byte("y"))
	if after[0] == last[0] || after[0] != after[1] {
		t.Fatal("not rekeyed alike after rekeyMessages records")
	}
	if _, again := transfer(t, a, b, 10, []byte("z")); again != after {
		t.Error("rekeyed again at once")
	}
	if before, after := transfer(t, b, a, 10, []byte("z")); after != before {
		t.Error("the other direction rekeyed too")
	}
}

func TestRekeyByBytes(t *testing.T) {
	a, b := pair(t)
	p := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	full := rekeyBytes/maxSealed*maxPayload/len(p) - 1 // not there yet
	before, last := transfer(t, a, b, full, p)
	if before != last {
		t.Fatal("rekeyed too early")
	}
	_, after := transfer(t, a, b, 3, p)
	if after[0] == last[0] || after[0] != after[1] {
		t.Fatal("not rekeyed alike after rekeyBytes bytes")
	}
}

// A side that counts otherwise is noticed: the test above would see it.
func TestRekeyOutOfStep(t *testing.T) {
	a, b := pair(t)
	b.read.in.messages = rekeyMessages
	a.Write([]byte("x"))
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, errRecord) {
		t.Error(err)
	}
}
