package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bazil/merge"
	"bazil/store"
	"bazil/store/vol"
)

func TestChunks(t *testing.T) {
	s := serve(t)
	ids := s.put(t, 150, 20<<10)
	lacking := slices.Insert(slices.Clone(ids), 100, store.ID{1}, store.ID{2})
	got := make([]int, len(lacking))
	var mu sync.Mutex
	err := s.client.Volume("v").Chunks(soon(t), lacking, func(i int, sealed []byte) error {
		mu.Lock()
		defer mu.Unlock()
		got[i]++
		if (sealed == nil) != (i == 100 || i == 101) {
			return fmt.Errorf("chunk %d: %d bytes", i, len(sealed))
		}
		if sealed != nil {
			return store.VerifyID(lacking[i], sealed)
		}
		return nil
	})
	if err != nil || slices.Min(got) != 1 || slices.Max(got) != 1 {
		t.Errorf("%v, %v", err, got)
	}
	stop := errors.New("enough")
	if err := s.client.Volume("v").Chunks(soon(t), ids, func(int, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(soon(t))
	err = s.client.Volume("v").Chunks(ctx, ids, func(int, []byte) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.client.Volume("v").Chunks(soon(t), nil, nil); err != nil {
		t.Error(err)
	}
}

func TestFetch(t *testing.T) {
	s := serve(t)
	ids := s.put(t, 100, 3000)
	st := s.client.Storage(LocalStorage)
	var wg sync.WaitGroup
	for _, id := range slices.Concat(ids, ids) {
		wg.Go(func() {
			sealed, err := st.Fetch(soon(t), id)
			if err != nil || store.VerifyID(id, sealed) != nil {
				t.Errorf("%v: %d bytes, %v", id, len(sealed), err)
			}
		})
		wg.Go(func() {
			ctx, cancel := context.WithCancel(soon(t))
			go cancel()
			if _, err := st.Fetch(ctx, id); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := st.Fetch(soon(t), store.ID{7}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a chunk that is not there: %v", err)
	}
	s.restart(t)
	if _, err := st.Fetch(soon(t), ids[0]); err != nil {
		t.Errorf("after the device came back: %v", err)
	}
	s.client.Close()
	if _, err := st.Fetch(soon(t), ids[0]); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Close ends fetches that nobody answers.
func TestCloseEndsFetches(t *testing.T) {
	asked := make(chan struct{}, 100)
	l := linkTo(t, func(context.Context, []byte) (producer, error) {
		return func(ctx context.Context, dst []byte) ([]byte, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return dst, ctx.Err()
		}, nil
	})
	c := New(l.dial, Options{})
	errs := make(chan error)
	st := c.Storage("x")
	for i := range 10 {
		go func() { _, err := st.Fetch(soon(t), store.ID{byte(i)}); errs <- err }()
	}
	<-asked
	c.Close()
	for range 10 {
		if err := <-errs; !errors.Is(err, errClosed) {
			t.Error(err)
		}
	}
}

func TestEvents(t *testing.T) {
	s := serve(t)
	src := s.client.Volume("v")
	now, err := src.Events(soon(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		counters := make(chan uint64)
		go func() {
			next, err := src.Events(soon(t), now)
			if err != nil {
				t.Error(err)
			}
			counters <- next
		}()
		write(t, s.volume, s.volume.Root(), fmt.Sprint("file", i), []byte("x"))
		next := <-counters
		if next == now {
			t.Errorf("the counter stays at %d", now)
		}
		if now, err = src.Events(soon(t), 0); err != nil {
			t.Fatal(err)
		}
	}
	s.restart(t)
	if _, err := src.Events(soon(t), now); err != nil {
		t.Errorf("the first question after a restart: %v", err)
	}
}

// pullAll brings v up to what src has.
func pullAll(t *testing.T, v *vol.Volume, src *VolumeSource) {
	t.Helper()
	view, err := v.View(0)
	if err != nil {
		t.Fatal(err)
	}
	pullDir(t, v, src, vol.Sub{Known: view.Ctx})
}

func pullDir(t *testing.T, v *vol.Volume, src *VolumeSource, sub vol.Sub) {
	t.Helper()
	ctx := soon(t)
	var d vol.DirState
	if sub.Lack != nil {
		d = *sub.Lack
	} else {
		reqs := []vol.DirRequest{{Dir: sub.Remote, Known: sub.Known}}
		if err := src.Dirs(ctx, reqs, func(_ int, got vol.DirState) error { d = got; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if !d.Same {
		subs, _, err := v.Apply(ctx, sub.Local, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range subs {
			pullDir(t, v, src, s)
		}
	}
	if err := v.Finish(ctx, sub.Local, d.View); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, v *vol.Volume, path ...string) ([]byte, error) {
	t.Helper()
	n := v.Root()
	for _, name := range path {
		var err error
		if n, err = n.Lookup(soon(t), name); err != nil {
			return nil, err
		}
	}
	h, err := n.Open(soon(t), false)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	a, err := n.Attr()
	if err != nil {
		return nil, err
	}
	p := make([]byte, a.Size)
	m, err := h.ReadAt(soon(t), p, 0)
	if err == io.EOF {
		err = nil
	}
	return p[:m], err
}

// Two data directories with a replica each of one volume: everything that is
// changed here shows there, names by pulling and content by fetching.
func TestTwoDevices(t *testing.T) {
	white := serve(t)
	black := newHome(t, white.volume.ID(), white.client.Storage(LocalStorage))
	src := white.client.Volume("v")
	in, err := src.Info(soon(t))
	if err != nil || in.ID != white.volume.ID() || in.Replica != white.volume.Replica() {
		t.Fatal(in, err)
	}
	big := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{9}).Read(big)
	root := white.volume.Root()
	write(t, white.volume, root, "greeting", []byte("hello, world\n"))
	write(t, white.volume, root, "big", big)
	sub, err := root.Create(t.Context(), "sub", vol.New{Kind: merge.KindDir, Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		write(t, white.volume, sub, fmt.Sprint("f", i), bytes.Repeat([]byte{byte(i)}, i*50))
	}
	pullAll(t, black.volume, src)
	for path, want := range map[string][]byte{"greeting": []byte("hello, world\n"), "big": big} {
		if got, err := read(t, black.volume, path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	for i := range 300 {
		if got, err := read(t, black.volume, "sub", fmt.Sprint("f", i)); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, i*50)) {
			t.Fatalf("f%d: %d bytes, %v", i, len(got), err)
		}
	}
	write(t, white.volume, root, "greeting", []byte("hello, again\n"))
	if err := sub.Unlink(t.Context(), "f7"); err != nil {
		t.Fatal(err)
	}
	pullAll(t, black.volume, src)
	if got, err := read(t, black.volume, "greeting"); string(got) != "hello, again\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := read(t, black.volume, "sub", "f7"); err == nil {
		t.Error("a deleted file is there")
	}
}

// A device that sends other bytes than those of the chunk is cut off.
func TestLyingStorage(t *testing.T) {
	record := func(k kind, body []byte) []byte { return endRecord(append(beginRecord(nil, k), body...), 0) }
	end := record(kindEnd, nil)
	good, sealed, err := store.NewSealer(sharing).Seal(nil, store.ChunkData, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, wire := range map[string][]byte{
		"other bytes":     append(record(kindChunk, make([]byte, 100)), end...),
		"too long":        append(record(kindChunk, make([]byte, store.MaxSealed+1)), end...),
		"empty":           append(record(kindChunk, nil), end...),
		"missing, and no": append(record(kindMissing, sealed), end...),
		"none":            end,
		"two":             slices.Concat(record(kindChunk, sealed), record(kindChunk, sealed), end),
		"a directory":     append(record(kindDir, nil), end...),
	} {
		l := linkTo(t, cut(wire))
		c := New(l.dial, Options{})
		defer c.Close()
		if _, err := c.Storage("x").Fetch(soon(t), good.ID); !errors.Is(err, ErrLied) && !(name == "two" && err == nil) {
			t.Errorf("fetch, %s: %v", name, err)
		}
		if err := c.Storage("x").Chunks(soon(t), []store.ID{good.ID}, func(int, []byte) error { return nil }); !errors.Is(err, ErrLied) {
			t.Errorf("chunks, %s: %v", name, err)
		}
	}
}

// Directories without end, several at once, end with an error, and before that
// take no more memory than they may, and as much again for what is garbage.
func TestEndlessDirectories(t *testing.T) {
	c := New(linkTo(t, endlessNames(t, 4000)).dial, Options{})
	defer c.Close()
	src := c.Volume("x")
	most := watchHeap()
	var lies atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			err := src.Dirs(t.Context(), []vol.DirRequest{{Dir: 1}}, func(int, vol.DirState) error { return nil })
			if err == nil {
				t.Error("no error")
			}
			if errors.Is(err, ErrLied) {
				lies.Add(1) // which ends the connection of all
			}
		})
	}
	wg.Wait()
	heap := most()
	t.Logf("%d MiB of heap at most", heap>>20)
	if lies.Load() == 0 || heap > 3*maxDirBytes {
		t.Errorf("%d lies; %d MiB of heap for directories of %d", lies.Load(), heap>>20, maxDirBytes>>20)
	}
}

// watchHeap looks at the heap until the function it returns is called, which
// tells what the most was.
func watchHeap() (most func() uint64) {
	stop, ended := make(chan struct{}), make(chan struct{})
	var top uint64
	go func() {
		defer close(ended)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			top = max(top, m.HeapInuse)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(stop); <-ended; return top }
}

// An answer that never ends costs what is asked for, and not more.
func TestEndlessAnswers(t *testing.T) {
	c := New(linkTo(t, endlessNames(t, 0)).dial, Options{})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := c.Volume("x").Dirs(ctx, []vol.DirRequest{{Dir: 1}}, func(int, vol.DirState) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	err = c.Volume("x").client.control.single(soon(t), question{path: []string{"f"}}, kindInfo, func([]byte) error { return nil })
	if !errors.Is(err, ErrLied) {
		t.Error(err)
	}
}

// endlessNames answers with a directory that has no end, of files of that size.
func endlessNames(t *testing.T, size int) answers {
	dot := merge.Dot{Replica: 7, N: 1}
	file := merge.Entry{Versions: []merge.Version{{
		Dot: dot, Kind: merge.KindFile, Content: strings.Repeat("x", size), Size: int64(size),
		MStamp: merge.Stamp{Time: 1, Dot: dot},
	}}}

	name := mustRecord(t)(appendHead(nil, &vol.DirState{Dir: 1}))
	return func(context.Context, []byte) (producer, error) {
		n := 0
		return func(_ context.Context, dst []byte) ([]byte, error) {
			if n++; n == 1 {
				return append(dst, name...), nil
			}
			names := make([]vol.NamedEntry, 30)
			for i := range names {
				names[i].Name = fmt.Sprintf("%012d", n*len(names)+i)
				if size > 0 {
					names[i].Entry = file
				}
			}
			dst, _, err := appendNames(dst, names)
			return dst, err
		}, nil
	}
}

// BenchmarkChunks moves content from one device's store to another one's, which
// makes it durable; what is dropped shows what the way there costs. In its
// profile stand both sides.
func BenchmarkChunks(b *testing.B) {
	s := serve(b)
	ids := s.put(b, 1024, 256<<10)
	src := s.client.Volume("v")
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("dropped", func(b *testing.B) {
		b.SetBytes(int64(len(ids)) * 256 << 10)
		for b.Loop() {
			check(src.Chunks(b.Context(), ids, func(int, []byte) error { return nil }))
		}
	})
	b.Run("kept", func(b *testing.B) {
		b.SetBytes(int64(len(ids)) * 256 << 10)
		for b.Loop() {
			b.StopTimer()
			to := newHome(b, vol.NewID(), nil).store.Chunks()
			b.StartTimer()
			check(src.Chunks(b.Context(), ids, func(i int, sealed []byte) error {
				_, err := to.Put(b.Context(), ids[i], sealed)
				return err
			}))
			check(to.Sync(b.Context()))
		}
	})
}

func BenchmarkFetch(b *testing.B) {
	s := serve(b)
	ids := s.put(b, 100, 4<<10)
	st := s.client.Storage(LocalStorage)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := st.Fetch(b.Context(), ids[i%len(ids)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
