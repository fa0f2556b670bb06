package daemon

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"bazil/p9srv/client"
)

// writers write files in a volume, each fsynced, until they hear an error.
type writers struct {
	t       *testing.T
	all     sync.WaitGroup
	written atomic.Int64
	enough  chan struct{} // closed when some are durable

	mu      sync.Mutex // guards what follows
	durable []string
	errs    []error
}

func startWriters(t *testing.T, d *Daemon, volume string, n int) *writers {
	w := &writers{t: t, enough: make(chan struct{})}
	for i := range n {
		root := attach(t, d, volume)
		w.all.Go(func() {
			for j := 0; ; j++ {
				name := fmt.Sprintf("%d-%d", i, j)
				if err := w.write(root, name); err != nil {
					w.mu.Lock()
					w.errs = append(w.errs, err)
					w.mu.Unlock()
					return
				}
				w.mu.Lock()
				w.durable = append(w.durable, name)
				w.mu.Unlock()
				if w.written.Add(1) == 20 {
					close(w.enough)
				}
			}
		})
	}
	return w
}

// contentOf is what a writer writes: some of it is a chunk, some stands in the
// volume's file.
func contentOf(name string) []byte { return bytes.Repeat([]byte(name), 1+len(name)%2*2000) }

func (w *writers) write(root *client.Fid, name string) error {
	ctx := w.t.Context()
	f, err := root.Walk(ctx)
	if err != nil {
		return err
	}
	defer f.Clunk(context.WithoutCancel(ctx))
	if err := f.Create(ctx, name, syscall.O_WRONLY, 0o644, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(ctx, contentOf(name), 0); err != nil {
		return err
	}
	return f.Fsync(ctx, false)
}

// TestRemoveVolumeUnderWriters removes a volume while clients write in it: they
// hear an error, nobody hangs, and what was durable comes back with the volume.
func TestRemoveVolumeUnderWriters(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v", "volume create other")
	open := created(t, attach(t, d, ""), "v", "open")
	w := startWriters(t, d, "v", 4)
	<-w.enough
	answer, err := ctl(t, d, "volume remove v")
	if err != nil {
		t.Fatal(err)
	}
	w.all.Wait()
	for _, err := range w.errs {
		t.Log("a writer hears: ", err)
	}
	if _, err := open.WriteAt(t.Context(), []byte("late"), 0); err == nil {
		t.Error("a file of a removed volume takes a write")
	}
	write(t, d, "other/f", "goes on")
	must(t, d, restoreLine(t, answer))
	for range 2 {
		for _, name := range w.durable {
			wantFile(t, d, "v/"+name, string(contentOf(name)))
		}
		wantFile(t, d, "other/f", "goes on")
		d = restart(t, d)
	}
}

// TestDeleteVolumeUnderWriters deletes a volume in the same way, and makes
// another of its name while the writers' fids are still there.
func TestDeleteVolumeUnderWriters(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v")
	open := created(t, attach(t, d, ""), "v", "open")
	w := startWriters(t, d, "v", 4)
	<-w.enough
	must(t, d, "volume remove v delete", "volume create v")
	w.all.Wait()
	if _, err := open.WriteAt(t.Context(), []byte("late"), 0); err == nil {
		t.Error("a file of a deleted volume takes a write")
	}
	names, err := attach(t, d, "v").Walk(t.Context(), "open")
	if err == nil {
		t.Errorf("the new volume has %v of the old one", names)
	}
	write(t, d, "v/f", "new")
	must(t, d, "store collect", "store collect")
	d = restart(t, d)
	wantFile(t, d, "v/f", "new")
}

// TestRemoveVolumeUnderSync removes a volume while a sync of it waits for
// content that the network holds back: both commands end, and a second try, with the
// volume back, brings everything.
func TestRemoveVolumeUnderSync(t *testing.T) {
	white, black := couple(t)
	for i := range 20 {
		write(t, white, fmt.Sprint("v/f", i), noise(uint64(i), 100<<10))
	}
	must(t, white, "peer volume allow black v", "peer storage allow black local")
	relay := newRelay(t, white.Addr().String())
	must(t, black, "peer location set white "+relay.addr(), "volume connect white v sharing=whites")
	if err := black.links.drop(white.key.Public()); err != nil {
		t.Fatal(err)
	}
	relay.most.Store(relay.passed.Load() + 1<<20) // half of the content
	ended := make(chan error, 1)
	f := opened(t, attach(t, black, ""), "ctl/ctl", syscall.O_WRONLY)
	go func() {
		_, err := f.WriteAt(t.Context(), []byte("sync v white"), 0)
		ended <- err
	}()
	eventually(t, "the sync has some content", relay.silent.Load)
	v := black.volumes.get("v")
	removed := make(chan string, 1)
	remover := user{t, attach(t, black, "")}
	go func() { removed <- remover.answer("volume remove v") }()
	<-v.ctx.Done()
	close(relay.again)
	restore := restoreLine(t, <-removed)
	if err := <-ended; err == nil {
		t.Error("the sync of a removed volume succeeds")
	} else {
		t.Log("the sync says: ", err)
	}
	must(t, black, "peer location set white "+white.Addr().String())
	black.links.drop(white.key.Public())
	must(t, black, restore, "sync v white")
	for i := range 20 {
		wantFile(t, black, fmt.Sprint("v/f", i), noise(uint64(i), 100<<10))
	}
}

// restoreLine is the command that brings a removed volume back.
func restoreLine(t *testing.T, answer string) string {
	t.Helper()
	_, line, ok := strings.Cut(answer, ": ")
	line, _, _ = strings.Cut(line, " brings")
	if !ok {
		t.Fatalf("removed: %q", answer)
	}
	return line
}
