package client

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv"
)

// reply makes a message of its type, tag and body.
func reply(t p9srv.MsgType, tag uint16, body ...byte) []byte {
	b := append(begin(nil, t, tag), body...)
	p9srv.FinishMessage(b, len(b))
	return b
}

// request is a message that the client sent.
type request struct {
	typ  p9srv.MsgType
	tag  uint16
	body []byte
}

func readRequest(c net.Conn) (request, error) {
	var h [p9srv.HeaderSize]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		return request{}, err
	}
	body := make([]byte, binary.LittleEndian.Uint32(h[:])-p9srv.HeaderSize)
	_, err := io.ReadFull(c, body)
	return request{p9srv.MsgType(h[4]), binary.LittleEndian.Uint16(h[5:]), body}, err
}

// rversion is a good answer to Tversion.
func rversion(msize uint32) []byte {
	return reply(p9srv.Tversion+1, p9srv.NoTag, p9srv.AppendString(put32(nil, msize), "9P2000.L")...)
}

// against connects to a server that answers each request with the bytes that
// answer gives, after a good Rversion; nil: it closes the connection.
func against(t testing.TB, o Options, answer func(request) []byte) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		readRequest(theirs)
		theirs.Write(rversion(8192))
		for {
			r, err := readRequest(theirs)
			if err != nil {
				return
			}
			b := answer(r)
			if b == nil {
				return
			}
			if _, err := theirs.Write(b); err != nil {
				return
			}
		}
	}()
	c, err := New(t.Context(), ours, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c
}

var qid = make([]byte, 13)

// polite answers as a server does whose every file is empty.
func polite(r request) []byte {
	switch r.typ {
	case p9srv.Twalk:
		n := int(r.body[8])
		b := []byte{byte(n), 0}
		for range n {
			b = append(b, qid...)
		}
		return reply(r.typ+1, r.tag, b...)
	case p9srv.Tattach, p9srv.Tmkdir:
		return reply(r.typ+1, r.tag, qid...)
	case p9srv.Tlopen, p9srv.Tlcreate:
		return reply(r.typ+1, r.tag, append(qid, 0, 0, 0, 0)...)
	case p9srv.Tread, p9srv.Treaddir:
		return reply(r.typ+1, r.tag, 0, 0, 0, 0)
	case p9srv.Txattrwalk:
		return reply(r.typ+1, r.tag, 0, 0, 0, 0, 0, 0, 0, 0)
	case p9srv.Twrite:
		return reply(r.typ+1, r.tag, r.body[12:16]...)
	case p9srv.Tgetattr:
		return reply(r.typ+1, r.tag, make([]byte, 153)...)
	}
	return reply(r.typ+1, r.tag)
}

// TestHostileReplies has a server answer wrongly. Whatever the call, it
// fails, and so does the connection, with an error that says what came.
func TestHostileReplies(t *testing.T) {
	call := map[string]func(context.Context, *Fid) error{
		"read":     func(ctx context.Context, f *Fid) error { _, err := f.ReadAt(ctx, make([]byte, 100), 0); return err },
		"write":    func(ctx context.Context, f *Fid) error { _, err := f.WriteAt(ctx, make([]byte, 100), 0); return err },
		"walk":     func(ctx context.Context, f *Fid) error { _, err := f.Walk(ctx, "a", "b"); return err },
		"attr":     func(ctx context.Context, f *Fid) error { _, err := f.Attr(ctx); return err },
		"readdir":  func(ctx context.Context, f *Fid) error { _, err := f.ReadDir(ctx, 0, 1000); return err },
		"readlink": func(ctx context.Context, f *Fid) error { _, err := f.Readlink(ctx); return err },
		"open":     func(ctx context.Context, f *Fid) error { return f.Open(ctx, 0) },
		"readinto": func(ctx context.Context, f *Fid) error {
			_, err := f.ReadInto(ctx, 100, 0, func(n int) []byte { return make([]byte, n) })
			return err
		},
		"walkopen": func(ctx context.Context, f *Fid) error {
			o, err := f.WalkOpen(ctx, 0, "a", "b")
			if err != nil {
				return err
			}
			return o.Wait(ctx)
		},
	}
	for _, c := range []struct {
		name, call string
		bytes      func(request) []byte
	}{
		{"tag not in use", "attr", func(r request) []byte { return reply(r.typ+1, r.tag+1) }},
		{"no tag", "attr", func(r request) []byte { return reply(r.typ+1, p9srv.NoTag) }},
		{"other type", "attr", func(r request) []byte { return reply(p9srv.Twalk+1, r.tag, 0, 0) }},
		{"a request", "attr", func(r request) []byte { return reply(r.typ, r.tag) }},
		{"Rerror", "attr", func(r request) []byte { return reply(p9srv.Rerror, r.tag, 0, 0) }},
		{"longer than agreed on", "attr", func(r request) []byte { return reply(r.typ+1, r.tag, make([]byte, 8192)...) }},
		{"shorter than a header", "attr", func(request) []byte { return []byte{6, 0, 0, 0, 1, 2, 3} }},
		{"4 GiB", "attr", func(request) []byte { return []byte{255, 255, 255, 255, 1, 2, 3} }},
		{"short attr", "attr", func(r request) []byte { return reply(r.typ+1, r.tag, make([]byte, 100)...) }},
		{"short error", "attr", func(r request) []byte { return reply(p9srv.Rlerror, r.tag, 1) }},
		{"more data than asked for", "read", func(r request) []byte {
			return reply(r.typ+1, r.tag, append(put32(nil, 101), make([]byte, 101)...)...)
		}},
		{"more data than there is room for", "readinto", func(r request) []byte {
			return reply(r.typ+1, r.tag, append(put32(nil, 101), make([]byte, 101)...)...)
		}},
		{"no qids walked to and opened", "walkopen", func(r request) []byte { return reply(r.typ+1, r.tag) }},
		{"more walked to than asked for", "walkopen", func(r request) []byte { return reply(r.typ+1, r.tag, append([]byte{3, 0}, make([]byte, 39)...)...) }},
		{"count beyond the message", "read", func(r request) []byte { return reply(r.typ+1, r.tag, append(put32(nil, 50), 1, 2, 3)...) }},
		{"no count", "read", func(r request) []byte { return reply(r.typ+1, r.tag, 1) }},
		{"more written than sent", "write", func(r request) []byte { return reply(r.typ+1, r.tag, put32(nil, 101)...) }},
		{"no count written", "write", func(r request) []byte { return reply(r.typ+1, r.tag) }},
		{"more walked than asked for", "walk", func(r request) []byte { return reply(r.typ+1, r.tag, append([]byte{3, 0}, make([]byte, 39)...)...) }},
		{"fewer qids than walked", "walk", func(r request) []byte { return reply(r.typ+1, r.tag, append([]byte{2, 0}, make([]byte, 20)...)...) }},
		{"nothing walked and no error", "walk", func(r request) []byte { return reply(r.typ+1, r.tag, 0, 0) }},
		{"entry beyond the data", "readdir", func(r request) []byte {
			return reply(r.typ+1, r.tag, append(put32(nil, 24), append(make([]byte, 22), 9, 0)...)...)
		}},
		{"data beyond the message", "readdir", func(r request) []byte { return reply(r.typ+1, r.tag, append(put32(nil, 2400), make([]byte, 24)...)...) }},
		{"string beyond the message", "readlink", func(r request) []byte { return reply(r.typ+1, r.tag, 5, 0, 'x') }},
		{"no qid", "open", func(r request) []byte { return reply(r.typ+1, r.tag) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := true
			conn := against(t, Options{}, func(r request) []byte {
				if first {
					first = false
					return polite(r)
				}
				return c.bytes(r)
			})
			root, err := conn.Attach(t.Context(), "u", "", 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := call[c.call](t.Context(), root); err == nil {
				t.Error("no error")
			}
			<-conn.Done()
			if err := root.Open(t.Context(), 0); err == nil || !strings.Contains(conn.Err().Error(), "9P") {
				t.Error(err, conn.Err())
			}
		})
	}
}

// TestHostileVersions has a server answer wrongly to Tversion.
func TestHostileVersions(t *testing.T) {
	for name, b := range map[string][]byte{
		"unknown":       reply(p9srv.Tversion+1, p9srv.NoTag, p9srv.AppendString(put32(nil, 8192), "unknown")...),
		"more msize":    rversion(1<<20 + 1),
		"no msize":      rversion(10),
		"tag":           reply(p9srv.Tversion+1, 1, p9srv.AppendString(put32(nil, 8192), "9P2000.L")...),
		"error":         reply(p9srv.Rlerror, p9srv.NoTag, 1, 0, 0, 0),
		"short":         reply(p9srv.Tversion+1, p9srv.NoTag, 1),
		"end":           {},
		"not 9P at all": []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				readRequest(theirs)
				theirs.Write(b)
				theirs.Close()
			}()
			c, err := New(t.Context(), ours, Options{})
			if err == nil {
				c.Close()
				t.Fatal("no error")
			}
			t.Log(err)
		})
	}
}

// TestNewIsCancelled has a server say nothing.
func TestNewIsCancelled(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := New(ctx, ours, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestServerDies ends the connection under several calls.
func TestServerDies(t *testing.T) {
	var reads atomic.Int32
	conn := against(t, Options{}, func(r request) []byte {
		if r.typ != p9srv.Tread {
			return polite(r)
		}
		if reads.Add(1) == 5 {
			return nil
		}
		return []byte{}
	})
	root, err := conn.Attach(t.Context(), "u", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	for range 5 {
		go func() {
			_, err := root.ReadAt(t.Context(), make([]byte, 10), 0)
			failed <- err
		}()
	}
	for range 5 {
		if err := <-failed; err == nil || !strings.Contains(err.Error(), "9P connection lost") {
			t.Error(err)
		}
	}
	if err := root.Clunk(t.Context()); err == nil || err != conn.Err() {
		t.Error(err, conn.Err())
	}
}

// flushed reads on a server that answers a flush as told, cancels, and says
// how the read ended.
func flushed(t *testing.T, o Options, answer func(read, flush request) []byte) (*Conn, *Fid, int, error) {
	t.Helper()
	var read request
	asked := make(chan struct{}, 2)
	conn := against(t, o, func(r request) []byte {
		switch r.typ {
		case p9srv.Tread:
			read = r
			asked <- struct{}{}
			return []byte{}
		case p9srv.Tflush:
			return answer(read, r)
		}
		return polite(r)
	})
	root, err := conn.Attach(t.Context(), "u", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	n, err := root.ReadAt(ctx, make([]byte, 10), 0)
	return conn, root, n, err
}

func TestFlushed(t *testing.T) {
	data := append(put32(nil, 3), "abc"...)
	rflush := func(f request) []byte { return reply(f.typ+1, f.tag) }
	t.Run("Rflush", func(t *testing.T) {
		conn, root, _, err := flushed(t, Options{}, func(_, f request) []byte { return rflush(f) })
		if err != context.Canceled {
			t.Error(err)
		}
		if _, err := root.Walk(t.Context(), "x"); err != nil {
			t.Error(err)
		}
		if len(conn.tags) != len(conn.calls) {
			t.Errorf("%d tags are free of %d", len(conn.tags), len(conn.calls))
		}
	})
	t.Run("late success", func(t *testing.T) {
		conn, root, n, err := flushed(t, Options{}, func(r, f request) []byte {
			return append(reply(r.typ+1, r.tag, data...), rflush(f)...)
		})
		if n != 3 || err != nil {
			t.Error(n, err)
		}
		if _, err := root.Walk(t.Context(), "x"); err != nil {
			t.Error(err)
		}
		if len(conn.tags) != len(conn.calls) {
			t.Errorf("%d tags are free of %d", len(conn.tags), len(conn.calls))
		}
	})
	t.Run("late error", func(t *testing.T) {
		_, _, _, err := flushed(t, Options{}, func(r, f request) []byte {
			return append(reply(p9srv.Rlerror, r.tag, put32(nil, uint32(syscall.EINTR))...), rflush(f)...)
		})
		if err != context.Canceled {
			t.Error(err)
		}
	})
	t.Run("reply after Rflush", func(t *testing.T) {
		conn, _, _, err := flushed(t, Options{}, func(r, f request) []byte {
			return append(rflush(f), reply(r.typ+1, r.tag, data...)...)
		})
		if err != context.Canceled {
			t.Error(err)
		}
		<-conn.Done()
	})
	t.Run("silence", func(t *testing.T) {
		conn, _, _, err := flushed(t, Options{FlushWait: 10 * time.Millisecond}, func(_, f request) []byte { return []byte{} })
		if err == nil || !strings.Contains(err.Error(), "given up") {
			t.Error(err)
		}
		<-conn.Done()
	})
}

// TestAnsweredTwice: a server answers a request that is being flushed more than
// once. That ends its connection, and is nothing to the calls of others.
func TestAnsweredTwice(t *testing.T) {
	conn, _, _, err := flushed(t, Options{}, func(r, f request) []byte {
		gone := reply(p9srv.Rlerror, r.tag, put32(nil, uint32(syscall.EIO))...)
		return append(append(gone, gone...), reply(f.typ+1, f.tag)...)
	})
	if err != syscall.EIO {
		t.Error(err)
	}
	<-conn.Done()
	if tombstone.done != nil || tombstone.body != nil {
		t.Error("the tombstone is in use as a call")
	}
	for range 100 {
		if k := callPool.Get().(*call); k == tombstone {
			t.Fatal("the tombstone is in the pool")
		}
	}
}

// TestClunkedWhileWaiting: a read waits until there is room to send it. When its
// fid is clunked meanwhile, it is not sent: the number may be another file's.
func TestClunkedWhileWaiting(t *testing.T) {
	var held, late []byte
	clunked := false
	conn := against(t, Options{}, func(r request) []byte {
		switch {
		case r.typ == p9srv.Tread && clunked:
			late = r.body
		case r.typ == p9srv.Tread:
			held = append(held, polite(r)...)
			return []byte{}
		case r.typ == p9srv.Tclunk && !clunked:
			clunked = true
			return append(polite(r), held...)
		}
		return polite(r)
	})
	root, err := conn.Attach(t.Context(), "u", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := root.Walk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range maxCalls {
		if _, err := root.startRead(t.Context(), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan error)
	go func() {
		_, err := f.Read1(t.Context(), make([]byte, 10), 0)
		read <- err
	}()
	for waits := false; !waits; runtime.Gosched() {
		conn.mu.Lock()
		waits = conn.room != nil
		conn.mu.Unlock()
	}
	if err := f.Clunk(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-read; err != syscall.EBADF {
		t.Errorf("%v, want EBADF", err)
	}
	conn.Close()
	if late != nil {
		t.Errorf("the server was asked to read a fid that was clunked: %x", late)
	}
}

// TestShortXattr: an attribute that is shorter than the server said is an error.
func TestShortXattr(t *testing.T) {
	conn := against(t, Options{}, func(r request) []byte {
		if r.typ == p9srv.Txattrwalk {
			return reply(r.typ+1, r.tag, 5, 0, 0, 0, 0, 0, 0, 0)
		}
		return polite(r)
	})
	root, err := conn.Attach(t.Context(), "u", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if value, err := root.GetXattr(t.Context(), "user.x"); err == nil {
		t.Errorf("%q", value)
	}
}

// TestClunkWithoutWaiting clunks with a context that has ended.
func TestClunkWithoutWaiting(t *testing.T) {
	clunked := make(chan struct{})
	conn := against(t, Options{}, func(r request) []byte {
		if r.typ == p9srv.Tclunk {
			<-clunked
		}
		return polite(r)
	})
	root, err := conn.Attach(t.Context(), "u", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := root.Clunk(ctx); err != context.Canceled {
		t.Error(err)
	}
	if err := root.Clunk(ctx); err != syscall.EBADF {
		t.Error(err)
	}
	close(clunked)
	again, err := conn.Attach(t.Context(), "u", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if again.num == root.num {
		return
	}
	// the number came free while the second attach was on its way
	if n := conn.takeFid(); n != root.num {
		t.Errorf("fid %d, not %d, is free", n, root.num)
	}
}

// FuzzReplies has a server answer with what it likes.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("\x05\x00abcde\x00\x00"), byte(1))
	f.Add(reply(p9srv.Tread+1, 0, 1, 0, 0, 0, 'x'), byte(2))
	f.Add(append([]byte{255, 255}, reply(p9srv.Rlerror, 0, 5, 0, 0, 0)...), byte(3))
	f.Fuzz(func(t *testing.T, in []byte, after byte) {
		conn := against(t, Options{FlushWait: time.Millisecond}, func(r request) []byte {
			if after > 0 {
				after--
				return polite(r)
			}
			if len(in) == 0 {
				return nil
			}
			n := min(int(in[0])+1, len(in))
			b := in[1:n:n]
			in = in[n:]
			if n%2 == 0 && len(b) > 7 {
				p9srv.FinishMessage(b, len(b))
				b[4], b[5], b[6] = byte(r.typ)+1, byte(r.tag), byte(r.tag>>8)
			}
			return b
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		root, err := conn.Attach(ctx, "u", "", 0)
		if err != nil {
			return
		}
		everything(ctx, root)
	})
}

// everything calls whatever a Fid can do.
func everything(ctx context.Context, f *Fid) {
	p := make([]byte, 20000)
	f.Walk(ctx, "a", "b")
	if o, err := f.WalkOpen(ctx, 0, "a", "b"); err == nil {
		o.Fid.ReadInto(ctx, len(p), 0, func(n int) []byte { return p[:n] })
		if o.Wait(ctx) != nil {
			o.Drop(ctx)
		}
	}
	f.Attr(ctx)
	f.Statfs(ctx)
	f.ReadDir(ctx, 0, 1000)
	f.ReadAt(ctx, p, 0)
	f.WriteAt(ctx, p, 0)
	f.Readlink(ctx)
	f.Lock(ctx, p9srv.LockRequest{})
	f.GetLock(ctx, p9srv.LockRequest{})
	f.GetXattr(ctx, "x")
	f.ListXattr(ctx)
	f.SetXattr(ctx, "x", []byte("y"), 0)
	f.Open(ctx, 0)
	f.Create(ctx, "x", 0, 0, 0)
	f.Mkdir(ctx, "x", 0, 0)
	f.Clunk(ctx)
}
