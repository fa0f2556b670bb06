package daemon

import (
	"strings"
	"testing"
	"time"
)

// TestReadOfWhatNobodyHas: a read of content that no device gives fails, and
// status tells who is missed.
func TestReadOfWhatNobodyHas(t *testing.T) {
	white, black := couple(t)
	must(t, white, "peer volume allow black v", "peer storage allow black local")
	must(t, black, "volume connect white v sharing=whites keep=lazy")
	write(t, white, "v/file", strings.Repeat("somewhere else ", 3000))
	write(t, white, "v/large", strings.Repeat("somewhere else ", 300000))
	must(t, black, "sync v white")
	if err := white.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"v/file", "v/large"} {
		f, err := open(t.Context(), attach(t, black, ""), path)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		n, err := f.ReadAt(t.Context(), make([]byte, 1000), 0)
		if err == nil {
			t.Errorf("%s: read %d bytes that are nowhere", path, n)
		}
		if took := time.Since(begin); took > defaultReadDeadline+5*time.Second {
			t.Errorf("%s: it took %v", path, took)
		}
	}
	status, err := ctl(t, black, "status")
	if err != nil || !strings.Contains(status, "\nread=v peer=white reason=away ") {
		t.Errorf("status: %s, %v", status, err)
	}
}
