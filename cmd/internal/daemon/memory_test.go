package daemon

import "testing"

// The heap grows by half of what lives beside the cache, or by 64 MiB, but never
// by more than lives.
func TestPace(t *testing.T) {
	p := &pacer{base: 100}
	for _, c := range []struct{ live, cached, growth int64 }{
		{0, 0, 0},
		{10, 0, 10},
		{100, 0, 64},
		{300, 0, 150},
		{300, 270, 64},
		{1000, 700, 150},
		{1088, 1024, 64},
		{100, 200, 64}, // the cache has grown since the collection
	} {
		percent := int64(p.percent(c.live<<20, c.cached<<20))
		if growth := c.live * percent / 100; growth < c.growth*8/10 || growth > c.growth {
			t.Errorf("%d MiB alive, %d of them cached: grows by %d MiB, want %d", c.live, c.cached, growth, c.growth)
		}
	}
}
