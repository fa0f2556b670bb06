package noiseconn

import (
	"fmt"
	"io"
	"testing"
)

// BenchmarkThroughput sends over loopback in writes of several sizes, to a
// reader with a buffer of the same size, with each cipher.
func BenchmarkThroughput(b *testing.B) {
	for _, with := range []struct {
		name  string
		offer suites
	}{{"AESGCM", fastSuites()}, {"ChaChaPoly", 0}} {
		for _, size := range []int{4 << 10, 64 << 10, 128 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", with.name, size>>10), func(b *testing.B) { throughput(b, with.offer, size) })
		}
	}
}

func throughput(b *testing.B, offer suites, size int) {
	from, to := shake(b, offer, offer)
	done := make(chan error)
	go func() { done <- discard(to, size) }()
	p := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := from.Write(p); err != nil {
			b.Fatal(err)
		}
	}
	from.Close()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func discard(c *Conn, size int) error {
	p := make([]byte, size)
	for {
		if _, err := c.Read(p); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// BenchmarkRoundTrip sends 100 bytes there and back.
func BenchmarkRoundTrip(b *testing.B) {
	from, to := pair(b)
	go func() {
		p := make([]byte, 100)
		for {
			n, err := to.Read(p)
			if err != nil {
				return
			}
			to.Write(p[:n])
		}
	}()
	p := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		from.Write(p)
		if _, err := io.ReadFull(from, p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHandshake dials and accepts.
func BenchmarkHandshake(b *testing.B) {
	x, y := NewSecretKey(), NewSecretKey()
	l := listen(b, knows(y, x))
	ch := accepting(b, l)
	for b.Loop() {
		c, err := Dial(b.Context(), knows(x), l.Addr().String(), y.Public())
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
		(<-ch).Close()
	}
}
