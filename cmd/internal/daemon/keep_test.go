package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"bazil/p9srv/client"
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

// TestPinIsOfAPath: a pin stays where it is when what is there is renamed, and
// what is moved to below it is fetched with the next sync.
func TestPinIsOfAPath(t *testing.T) {
	white, black := couple(t)
	must(t, white, "peer volume allow black v", "peer storage allow black local")
	must(t, black, "volume connect white v sharing=whites keep=lazy", "volume pin v kept")
	root := attach(t, white, "v")
	for _, dir := range []string{"kept", "other"} {
		if _, err := root.Mkdir(t.Context(), dir, 0o755, 0); err != nil {
			t.Fatal(err)
		}
	}
	write(t, white, "v/kept/goes", strings.Repeat("goes ", 3000))
	write(t, white, "v/other/comes", strings.Repeat("comes ", 3000))
	write(t, white, "v/other/stays", strings.Repeat("stays ", 3000))
	must(t, black, "sync v white")
	wantLacking(t, black, "v", "other/comes", "other/stays")

	here := attach(t, black, "v")
	kept, other := walk(t, here, "kept"), walk(t, here, "other")
	if err := errors.Join(kept.RenameAt(t.Context(), "goes", other, "gone"), other.RenameAt(t.Context(), "comes", kept, "come")); err != nil {
		t.Fatal(err)
	}
	must(t, black, "sync v white")
	wantLacking(t, black, "v", "other/stays")
	if err := here.RenameAt(t.Context(), "kept", here, "elsewhere"); err != nil {
		t.Fatal(err)
	}
	write(t, white, "v/kept/new", strings.Repeat("new ", 5000))
	must(t, black, "sync v white")
	wantLacking(t, black, "v", "other/stays")
}

func walk(t *testing.T, from *client.Fid, names ...string) *client.Fid {
	t.Helper()
	f, err := from.Walk(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// wantLacking waits until just these files of a volume lack content.
func wantLacking(t *testing.T, d *Daemon, volume string, paths ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		lacking, err := d.lacking(ctx, d.volumes.get(volume), nil, 100)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range lacking {
			got = append(got, w.Path)
		}
		if slices.Sort(got); slices.Equal(got, paths) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%q lack content, want %q", got, paths)
		}
		time.Sleep(time.Millisecond)
	}
}
