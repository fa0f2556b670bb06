package daemon

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bazil/ctlfs"
)

// TestSyncReturnsWhenFollowersKnow follows the changes of a volume, of all,
// and of a file that nobody reads on.
func TestSyncReturnsWhenFollowersKnow(t *testing.T) {
	white, black := couple(t)
	must(t, white, "peer storage allow black local", "peer volume allow black v")
	must(t, black, "volume connect white v sharing=whites")
	root := attach(t, black, "v").QID().Path
	var told [2]atomic.Int64
	for i, path := range []string{"ctl/changes", "ctl/volumes/v/changes"} {
		f, err := open(t.Context(), attach(t, black, ""), path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			p := make([]byte, 1<<16)
			for {
				n, err := f.Read1(t.Context(), p, 0)
				if err != nil {
					return
				}
				if paths, _, _ := ctlfs.ParseChanges(string(p[:n])); slices.Contains(paths, root) {
					told[i].Add(1)
				}
			}
		}()
	}
	for i := range int64(5) {
		write(t, white, "v/file"+string(rune('a'+i)), "x")
		begin := time.Now()
		must(t, black, "sync v white")
		if a, b := told[0].Load(), told[1].Load(); a <= i || b <= i {
			t.Errorf("sync %d returned before all knew: %d, %d", i, a, b)
		}
		if took := time.Since(begin); took > settlePatience {
			t.Errorf("it took %v", took)
		}
	}
}

func TestSettleDoesNotWaitForEver(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v")
	f, err := attach(t, d, "ctl").Walk(t.Context(), "volumes", "v", "changes")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(t.Context(), syscall.O_RDONLY); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	d.followers.settle(ctx)
	if err := f.Clunk(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	d.followers.settle(t.Context())
	if took := time.Since(begin); took > settlePatience/2 {
		t.Errorf("it waited %v for a closed file", took)
	}
}

// fakeSource tells what it is given.
type fakeSource chan batch

func (s fakeSource) next(ctx context.Context) (batch, error) {
	select {
	case b := <-s:
		return b, nil
	case <-ctx.Done():
		return batch{}, ctx.Err()
	}
}

func (s fakeSource) poll(context.Context) (batch, error) {
	select {
	case b := <-s:
		return b, nil
	default:
		return batch{}, nil
	}
}

func TestAFlushedReadLosesNoChanges(t *testing.T) {
	var set followers
	s := make(fakeSource, 9)
	f := set.add(s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s <- batch{paths: []uint64{7}}
	for range 3 {
		if _, _, err := f.Next(ctx); err != context.Canceled {
			t.Fatal(err)
		}
	}
	if paths, all, err := f.Next(t.Context()); !slices.Equal(paths, []uint64{7}) || all || err != nil {
		t.Errorf("got %d, %v, %v", paths, all, err)
	}
}

// TestARoundEndsInAnEmptyBatch: the changes come first, and asking for the
// empty batch does not end it.
func TestARoundEndsInAnEmptyBatch(t *testing.T) {
	var set followers
	s := make(fakeSource, 9)
	f := set.add(s)
	s <- batch{paths: []uint64{7}}
	round := f.want(false)
	for _, want := range [][]uint64{{7}, nil} {
		if f.done >= round {
			t.Fatal("the round is over before its end was told")
		}
		if paths, all, err := f.Next(t.Context()); !slices.Equal(paths, want) || all || err != nil {
			t.Errorf("got %d, %v, %v, want %d", paths, all, err, want)
		}
	}
	s <- batch{paths: []uint64{8}}
	if paths, _, err := f.Next(t.Context()); !slices.Equal(paths, []uint64{8}) || err != nil {
		t.Errorf("got %d, %v", paths, err)
	}
	f.wait(t.Context(), round)
}

// TestStopIsTold: a server that is told to end says so to those who follow
// changes, and serves them until they are ready.
func TestStopIsTold(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v")
	f, err := open(t.Context(), attach(t, d, ""), "ctl/volumes/v/changes")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Close() }()
	p := make([]byte, 1<<16)
	for err = nil; err == nil; {
		n, failed := f.Read1(t.Context(), p, 0)
		if n == 0 && failed != nil {
			t.Fatal(failed)
		}
		_, _, err = ctlfs.ParseChanges(string(p[:n]))
	}
	if !errors.Is(err, ctlfs.ErrStopping) {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Fatal("it ended: ", err)
	default:
	}
	if _, err := f.Attr(t.Context()); err != nil {
		t.Error(err)
	}
	begin := time.Now()
	for err = nil; err == nil; { // at first 0 bytes: the record has ended
		_, err = f.Read1(t.Context(), p, 0)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > settlePatience/2 {
		t.Errorf("it ended %v after everybody was ready", took)
	}
}
