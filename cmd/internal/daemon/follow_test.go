package daemon

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bazil/ctlfs"
	"bazil/p9srv/client"
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
	for i, late := 0, 0; i < 5; {
		before := [2]int64{told[0].Load(), told[1].Load()}
		write(t, white, "v/file"+string(rune('a'+i+late)), "x")
		begin := time.Now()
		must(t, black, "sync v white")
		if took := time.Since(begin); took > settlePatience { // it need not have waited for them
			if late++; late > 5 {
				t.Fatalf("%d syncs of %d took longer than it waits for followers, the last %v", late, i+late, took)
			}
			continue
		}
		if a, b := told[0].Load(), told[1].Load(); a <= before[0] || b <= before[1] {
			t.Errorf("sync %d returned before all knew: %d, %d after %d", i, a, b, before)
		}
		i++
	}
}

// TestSettleDoesNotWaitForEver: it waits as long as it has patience, or the
// command has, for a follower that asks no more; for a closed one not at all.
func TestSettleDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set followers
		f := set.add(make(fakeSource))
		begin := time.Now()
		wants := func(want time.Duration) {
			t.Helper()
			if took := time.Since(begin); took != want {
				t.Errorf("it waited %v, want %v", took, want)
			}
			begin = time.Now()
		}
		set.settle(t.Context())
		wants(settlePatience)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		set.settle(ctx)
		wants(20 * time.Millisecond)
		settled := make(chan struct{})
		go func() { set.settle(t.Context()); close(settled) }()
		synctest.Wait()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		<-settled
		set.settle(t.Context())
		wants(0)
	})
}

// TestClosedFilesFollowNoMore: a changes file is followed from its open to its
// clunk.
func TestClosedFilesFollowNoMore(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v")
	for _, path := range []string{"ctl/changes", "ctl/volumes/v/changes"} {
		f := opened(t, attach(t, d, ""), path, syscall.O_RDONLY)
		if n := d.followers.count(); n != 1 {
			t.Errorf("%s: %d are followers while it is open", path, n)
		}
		if err := f.Clunk(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := d.followers.count(); n != 0 {
			t.Errorf("%s: %d are followers when it is closed", path, n)
		}
	}
}

func (fs *followers) count() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.all)
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

// TestStopWaitsAsLongAsNeeded: exactly until all are ready that were told.
func TestStopWaitsAsLongAsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set followers
		for _, busy := range []time.Duration{settlePatience / 2, settlePatience / 4} {
			f := set.add(make(fakeSource))
			go func() {
				if _, _, err := f.Next(t.Context()); err != nil {
					t.Error(err)
				}
				if _, _, err := f.Next(t.Context()); !errors.Is(err, ctlfs.ErrStopping) {
					t.Error(err)
				}
				time.Sleep(busy)
				f.Close()
			}()
		}
		set.settle(t.Context())
		begin := time.Now()
		set.stop(t.Context())
		if took := time.Since(begin); took != settlePatience/2 {
			t.Errorf("it waited %v", took)
		}
	})
}

// TestStopIsTold: a server that is told to end says so to those who follow
// changes, and serves them until they are ready.
func TestStopIsTold(t *testing.T) {
	for tries := 0; !stopIsTold(t); tries++ {
		if tries == 5 {
			t.Fatal("it never ended soon after everybody was ready")
		}
	}
}

// stopIsTold is false if the machine stood still for so long that the server
// need not have waited, or that it cannot be said that it did not.
func stopIsTold(t *testing.T) bool {
	d := start(t, "")
	must(t, d, "volume create v")
	f, err := open(t.Context(), attach(t, d, ""), "ctl/volumes/v/changes")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- d.Close() }()
	p := make([]byte, 1<<16)
	told := readsStopping(t, f, p)
	_, err = f.Attr(t.Context())
	over := len(ended) > 0
	if time.Since(begin) >= settlePatience {
		return false
	}
	if told != nil || err != nil || over {
		t.Fatalf("it did not wait until everybody was ready: %v, %v, ended %v", told, err, over)
	}
	begin = time.Now()
	for err = nil; err == nil; { // at first 0 bytes: the record has ended
		_, err = f.Read1(t.Context(), p, 0)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return time.Since(begin) <= settlePatience/2
}

// readsStopping reads changes until they tell that the server stops.
func readsStopping(t *testing.T, f *client.Fid, p []byte) error {
	for {
		n, err := f.Read1(t.Context(), p, 0)
		if n == 0 && err != nil {
			return err
		}
		if _, _, err = ctlfs.ParseChanges(string(p[:n])); errors.Is(err, ctlfs.ErrStopping) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
