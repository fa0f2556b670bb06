package vol

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"bazil/merge"
)

// TestPanicStopsTheVolume has a change end in a panic: what was durable before
// stays, what came after never becomes durable, and nobody waits for it.
func TestPanicStopsTheVolume(t *testing.T) {
	var log strings.Builder
	d := newDisk(t)
	o := d.options()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	v := d.openWith(o)
	root := v.Root()
	writeFile(t, root, "durable", "x")
	ok(t, v.Sync(ctx))
	half := must[*Node](t)(root.Create(ctx, "half", New{Kind: merge.KindFile, Mode: 0o644}))
	now, _, _, err := v.Watch(ctx, 0)
	ok(t, err)
	waits := make(chan error)
	go func() {
		_, _, _, err := v.Watch(ctx, now)
		waits <- err
	}()
	half.in.at = nil // what a mistake of ours would do
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the caller does not hear of the panic")
			}
		}()
		half.Attr()
	}()
	_, attrErr := root.Attr()
	_, createErr := root.Create(ctx, "more", New{Kind: merge.KindFile})
	for what, err := range map[string]error{
		"watch": <-waits, "sync": v.Sync(ctx), "attr": attrErr, "create": createErr, "commit": v.commitNow(ctx), "close": v.Close(),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !strings.Contains(log.String(), "broken_test.go") {
		t.Errorf("the log has no stack: %s", log.String())
	}
	if got := names(t, d.open().Root()); got != "durable " {
		t.Errorf("opened again, it has %s", got)
	}
}
