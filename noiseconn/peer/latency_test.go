package peer

import (
	"context"
	"net"
	"testing"
	"time"

	"bazil/noiseconn"
	"bazil/noiseconn/noisetest"
	"bazil/store"
	"bazil/store/vol"
)

// farClient asks s over a relay.
func farClient(t testing.TB, s *served, delay time.Duration) *Client {
	addr := noisetest.Far(t, s.device.listener.Addr().String(), delay)
	c := New(func(ctx context.Context) (net.Conn, error) {
		nc, err := noiseconn.Dial(ctx, noiseconn.Config{Key: s.asker}, addr, s.device.key)
		if err != nil {
			return nil, err
		}
		return nc, nil
	}, Options{})
	t.Cleanup(func() { c.Close() })
	return c
}

// On a connection that is there, a question costs one round trip, and an
// answer of some length not many. The delay is long enough for a busy machine
// not to matter.
func TestRoundTrips(t *testing.T) {
	s := serve(t)
	ids := s.put(t, 60, 20<<10)
	const delay = 100 * time.Millisecond
	c := farClient(t, s, delay)
	src := c.Volume("v")
	trips := func(fn func() error) float64 {
		began := time.Now()
		if err := fn(); err != nil {
			t.Fatal(err)
		}
		return float64(time.Since(began)) / float64(2*delay)
	}
	dirs := func() error {
		return src.Dirs(soon(t), []vol.DirRequest{{Dir: 1}}, func(int, vol.DirState) error { return nil })
	}
	chunks := func() error {
		return src.Chunks(soon(t), ids, func(int, []byte) error { return nil })
	}
	best := func(fn func() error) float64 { return min(trips(fn), trips(fn), trips(fn)) }
	first, second := trips(dirs), best(dirs)
	cold, warm := trips(chunks), best(chunks)
	t.Logf("round trips: %.1f to connect and ask, %.1f to ask, %.1f and %.1f for %d chunks", first, second, cold, warm, len(ids))
	if first > 5.5 { // TCP, Noise, version, attach, and the question with the open before it
		t.Errorf("%.1f round trips to connect and ask", first)
	}
	if second > 1.9 {
		t.Errorf("%.1f round trips for a question", second)
	}
	if warm > 4 {
		t.Errorf("%.1f round trips for %d chunks of 20 KiB", warm, len(ids))
	}
}

func BenchmarkFarChunks(b *testing.B) {
	s := serve(b)
	ids := s.put(b, 800, 256<<10)
	c := farClient(b, s, 50*time.Millisecond)
	get := func(ids []store.ID) {
		if err := c.Volume("v").Chunks(b.Context(), ids, func(int, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	get(ids) // connects
	b.SetBytes(int64(len(ids)) * 256 << 10)
	for b.Loop() {
		get(ids)
	}
}
