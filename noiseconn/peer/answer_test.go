package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
)

// counting answers a question n (in bytes, as text) with n bytes of chunk
// records whose bodies count up.
func counting(_ context.Context, question []byte) (producer, error) {
	var n int
	if _, err := fmt.Sscan(string(question), &n); err != nil {
		return nil, &askedError{err}
	}
	return countTo(n), nil
}

func countTo(n int) producer {
	at := 0
	return func(_ context.Context, dst []byte) ([]byte, error) {
		if at == n {
			return dst, io.EOF
		}
		m := min(n-at, 1+at%70000)
		start := len(dst)
		dst = beginRecord(dst, kindChunk)
		for range m {
			dst = append(dst, byte(at^at>>8))
			at++
		}
		return endRecord(dst, start), nil
	}
}

// whole is the answer of p as a whole.
func whole(p producer) []byte {
	f := newAsked(func(context.Context, []byte) (producer, error) { return p, nil }, slog.New(slog.DiscardHandler), func() {})
	f.ask(context.Background(), 0, nil)
	buf := make([]byte, 1<<24)
	n, _ := f.ReadAt(context.Background(), buf, 0)
	return buf[:n]
}

func newTestFile(a answers) *asked {
	return newAsked(a, slog.New(slog.DiscardHandler), func() {})
}

// Reads in any order, many at once, give the answer; each waits for those
// before it, and all for the question.
func TestReadsOfAnAnswer(t *testing.T) {
	f := newTestFile(counting)
	rnd := rand.New(rand.NewPCG(1, 2))
	for number, size := range []int{0, 1, 5, 70000, 1 << 20} {
		want := whole(countTo(size))
		got := make([]byte, len(want)+100000)
		var wg sync.WaitGroup
		var mu sync.Mutex
		total := 0
		for off := 0; off < len(got); {
			p := got[off:min(len(got), off+1+rnd.IntN(40000))]
			at := int64(number)<<offsetBits + int64(off)
			off += len(p)
			wg.Go(func() {
				n, err := f.ReadAt(t.Context(), p, at)
				mu.Lock()
				defer mu.Unlock()
				if total += n; err != nil {
					t.Errorf("read at %x: %v", at, err)
				}
			})
		}
		if _, err := f.WriteAt(t.Context(), fmt.Append(nil, size), int64(number)<<offsetBits); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if total != len(want) || !bytes.Equal(got[:total], want) {
			t.Errorf("answer of %d bytes: %d bytes, want %d", size, total, len(want))
		}
	}
}

func TestOffsetsOfAnAnswer(t *testing.T) {
	f := newTestFile(counting)
	ctx := t.Context()
	p := make([]byte, 10)
	write := func(s string, off int64) error { _, err := f.WriteAt(ctx, []byte(s), off); return err }
	read := func(off int64) error { _, err := f.ReadAt(ctx, p, off); return err }
	for _, step := range []struct {
		err, want error
	}{
		{write("100", 3), syscall.EINVAL},
		{write(string(make([]byte, maxQuestion+1)), 0), syscall.EMSGSIZE},
		{write("100", 0), nil},
		{write("100", 0), syscall.EINVAL},
		{read(0), nil},
		{read(0), syscall.ESPIPE},
		{read(10), nil},
		{write("50", 7<<offsetBits), nil},
		{read(20), syscall.ESPIPE},
		{write("50", 6<<offsetBits), syscall.EINVAL},
		{read(7 << offsetBits), nil},
	} {
		if step.err != step.want {
			t.Errorf("%v, want %v", step.err, step.want)
		}
	}
}

// A read that ends because its ctx does loses nothing of the answer.
func TestInterruptedRead(t *testing.T) {
	calls, cut := 0, context.CancelFunc(nil)
	whenCut := func(ctx context.Context, _ []byte) (producer, error) {
		inner := countTo(300)
		return func(ctx context.Context, dst []byte) ([]byte, error) {
			if calls++; calls%2 == 1 && cut != nil {
				cut()
				return append(dst, "garbage"...), errors.New("interrupted")
			}
			return inner(ctx, dst)
		}, nil
	}
	f := newTestFile(whenCut)
	f.ask(t.Context(), 0, nil)
	var got []byte
	want := whole(countTo(300))
	for len(got) < len(want) {
		ctx, cancel := context.WithCancel(t.Context())
		cut = cancel
		p := make([]byte, 7)
		n, err := f.ReadAt(ctx, p, int64(len(got)))
		if got = append(got, p[:n]...); err != nil && err != context.Canceled {
			t.Fatal(err)
		}
		cancel()
	}
	if !bytes.Equal(got, want) {
		t.Error("the answer changed")
	}
}

// A producer that says what room it needs gets it: in the read where there is
// enough, else at the start of the next one, and beside that where even it is
// too small. It is all the same whether reads go on where the one before was
// asked to end or where it did.
func TestAnswerNeedsRoom(t *testing.T) {
	const room = 1 << 17
	sized := func(n int) producer {
		inner, refused := countTo(n), 0
		return func(ctx context.Context, dst []byte) ([]byte, error) {
			if cap(dst)-len(dst) < room && refused < 2 {
				refused++
				return dst, needsRoom(room)
			}
			refused = 0
			return inner(ctx, dst)
		}
	}
	want := whole(countTo(1 << 20))
	for _, size := range []int{100, room - 1, room, 2*room + 1} {
		for _, exact := range []bool{false, true} {
			f := newTestFile(func(context.Context, []byte) (producer, error) { return sized(1 << 20), nil })
			f.ask(t.Context(), 0, nil)
			reads := readAnswer(t, f, size, exact)
			if !bytes.Equal(bytes.Join(reads, nil), want) {
				t.Errorf("reads of %d bytes give another answer", size)
			}
			for i, p := range reads {
				if size > room && !wholeRecords(p) {
					t.Errorf("read %d of %d bytes has part of a record", i, size)
				}
			}
		}
	}
}

// readAnswer reads to the end, on from where a read ended or, if that is not
// exact, from where it was asked to.
func readAnswer(t *testing.T, f *asked, size int, exact bool) (reads [][]byte) {
	for off := int64(0); ; {
		p := make([]byte, size)
		n, err := f.ReadAt(t.Context(), p, off)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return reads
		}
		reads = append(reads, p[:n])
		if off += int64(size); exact {
			off += int64(n - size)
		}
	}
}

// wholeRecords says whether p ends where a record does.
func wholeRecords(p []byte) bool {
	var s splitter
	s.feed(p)
	for {
		if _, _, ok, err := s.next(); !ok || err != nil {
			return err == nil && s.empty()
		}
	}
}

func TestWaitingReadsEndWithTheirContext(t *testing.T) {
	f := newTestFile(counting)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	for _, off := range []int64{0, 5, 9 << offsetBits} {
		go func() { _, err := f.ReadAt(ctx, make([]byte, 1), off); errs <- err }()
	}
	cancel()
	for range 3 {
		if err := <-errs; err != context.Canceled {
			t.Error(err)
		}
	}
}

func TestErrorsInAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want failure
	}{
		"denied":  {fmt.Errorf("wrapped: %w", &Denied{What: "volume", Name: "x"}), failure{Code: codeDenied}},
		"absent":  {&Absent{"volume", "x"}, failure{codeAbsent, "volume x is not there"}},
		"asked":   {&askedError{errors.New("odd")}, failure{codeAsked, "odd"}},
		"private": {errors.New("open /home/me/secret"), failure{codeFailed, "the peer could not read what was asked for; its log says why"}},
	} {
		f := newTestFile(func(context.Context, []byte) (producer, error) { return nil, c.err })
		f.ask(t.Context(), 0, nil)
		p := make([]byte, 1000)
		n, err := f.ReadAt(t.Context(), p, 0)
		var s splitter
		s.feed(p[:n])
		k, body, ok, _ := s.next()
		if err != nil || !ok || k != kindError || !s.empty() {
			t.Fatalf("%s: %q, %v", name, p[:n], err)
		}
		if c.want.Text == "" {
			c.want.Text = c.err.Error()
		}
		var got failure
		if err := wire.decode("failure", body, &got); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
