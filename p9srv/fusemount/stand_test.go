package fusemount

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"bazil/p9srv"
)

// TestWriterAfterCrash: who has a file open for writing goes on after a crash
// of the server if the file is what it wrote, and gets errors if it is not, or
// if nobody can tell; what is there stays. Who opens it again can write.
func TestWriterAfterCrash(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(t *testing.T, f *os.File) // what is done when "mine" was written
		away   string                         // put into the file while the server is away; "": nothing
		want   error
	}{
		{"synced", func(t *testing.T, f *os.File) { check(t, f.Sync()) }, "", nil},
		{"known", func(t *testing.T, f *os.File) { _, err := f.Stat(); check(t, err) }, "", nil},
		{"not known", nil, "", syscall.EIO},
		{"lost", nil, "", syscall.EIO},
		{"replaced", func(t *testing.T, f *os.File) { check(t, f.Sync()) }, "theirs", syscall.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := serveApart(t)
			name := filepath.Join(k.mount(t, Options{}), "f")
			f, err := os.Create(name)
			check(t, err)
			defer f.Close()
			_, err = f.WriteString("mine")
			check(t, err)
			if c.before != nil {
				c.before(t, f)
			}
			k.kill(t)
			want := "mine more"
			if c.away != "" {
				check(t, os.WriteFile(filepath.Join(k.dir, "f"), []byte(c.away), 0))
			}
			if c.name == "lost" {
				check(t, os.Truncate(filepath.Join(k.dir, "f"), 0))
			}
			if c.want != nil {
				b, err := os.ReadFile(filepath.Join(k.dir, "f"))
				check(t, err)
				want = string(b)
			}
			k.begin(t)
			if _, err := f.WriteString(" more"); !errors.Is(err, c.want) {
				t.Errorf("write: %v", err)
			}
			if err := f.Truncate(9); !errors.Is(err, c.want) {
				t.Errorf("truncate: %v", err)
			}
			if err := f.Sync(); !errors.Is(err, c.want) {
				t.Errorf("fsync: %v", err)
			}
			if b, err := os.ReadFile(filepath.Join(k.dir, "f")); err != nil || string(b) != want {
				t.Errorf("%q, want %q, %v", b, want, err)
			}
			check(t, os.WriteFile(name, []byte("again"), 0))
		})
	}
}

// TestVersionIsAsked: soon after the last write the version is known.
func TestVersionIsAsked(t *testing.T) {
	s := serve(t)
	m, dir := s.mount(t, Options{})
	f, err := os.Create(filepath.Join(dir, "f"))
	check(t, err)
	defer f.Close()
	_, err = f.WriteString("x")
	check(t, err)
	b := m.bridge
	n := b.inodes.child(b.inodes.get(1), "f")
	for sure := false; !sure && !t.Failed(); {
		b.inodes.mu.Lock()
		sure = n.stand.sure
		b.inodes.mu.Unlock()
	}
}

// TestLostAnswers: a request that was done, and whose answer was lost with the
// connection, is not done again to what has come to its name since.
func TestLostAnswers(t *testing.T) {
	type action struct {
		name string
		lose p9srv.MsgType
		do   func(dir string) error
	}
	actions := []action{
		{"unlink", p9srv.Tunlinkat, func(dir string) error { return os.Remove(filepath.Join(dir, "f")) }},
		{"rename", p9srv.Trenameat, func(dir string) error { return os.Rename(filepath.Join(dir, "g"), filepath.Join(dir, "f")) }},
		{"open", p9srv.Tlopen, func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_WRONLY|os.O_TRUNC, 0)
			if err == nil {
				err = f.Close()
			}
			return err
		}},
		{"truncate", p9srv.Tsetattr, func(dir string) error { return os.Truncate(filepath.Join(dir, "f"), 0) }},
		{"create", p9srv.Tlcreate, func(dir string) error {
			f, err := os.Create(filepath.Join(dir, "new"))
			if err == nil {
				err = f.Close()
			}
			return err
		}},
	}
	for _, a := range actions {
		for _, newer := range []bool{false, true} {
			name := a.name
			if newer {
				name += "/newer"
			}
			t.Run(name, func(t *testing.T) { testLostAnswer(t, a.lose, a.do, a.name == "create", newer) })
		}
	}
}

func testLostAnswer(t *testing.T, lose p9srv.MsgType, do func(dir string) error, made, newer bool) {
	s := serve(t)
	l := &loser{dial: s.dial, lose: lose}
	_, dir := s.mount(t, Options{Dial: l.connect})
	for _, name := range []string{"f", "g"} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
		_, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
	}
	at := s.back("f")
	if made {
		at = s.back("new")
	}
	if newer {
		l.meanwhile = func() { check(t, os.WriteFile(at, []byte("newer"), 0o644)) }
	}
	l.arm()
	err := do(dir)
	if l.armed() {
		t.Fatal("no answer was lost")
	}
	if !newer && err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(at); newer && string(b) != "newer" {
		t.Errorf("done twice: %q, %v", b, err)
	}
}

// loser makes connections, of which one loses the answer to a kind of request.
type loser struct {
	dial      func(ctx context.Context) (net.Conn, error)
	lose      p9srv.MsgType
	meanwhile func() // before the next connection

	mu sync.Mutex // guards on
	on bool
}

func (l *loser) arm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = true
}

func (l *loser) armed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}

func (l *loser) connect(ctx context.Context) (net.Conn, error) {
	if l.meanwhile != nil {
		l.mu.Lock()
		lost := l.lose == 0
		l.mu.Unlock()
		if lost {
			l.meanwhile()
			l.meanwhile = nil
		}
	}
	c, err := l.dial(ctx)
	return &losing{Conn: c, l: l}, err
}

type losing struct {
	net.Conn
	l *loser

	mu  sync.Mutex // guards tag and cut
	cut bool       // the answer to tag is to be lost
	tag uint16
}

// Write looks for the request among those that go out.
func (c *losing) Write(p []byte) (int, error) {
	for q := p; len(q) >= 7; q = q[min(len(q), int(binary.LittleEndian.Uint32(q))):] {
		c.l.mu.Lock()
		if c.l.on && p9srv.MsgType(q[4]) == c.l.lose {
			c.l.on, c.l.lose = false, 0
			c.mu.Lock()
			c.cut, c.tag = true, binary.LittleEndian.Uint16(q[5:])
			c.mu.Unlock()
		}
		c.l.mu.Unlock()
	}
	return c.Conn.Write(p)
}

// Read ends the connection in the place of the answer.
func (c *losing) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		for q := p[:n]; len(q) >= 7; q = q[min(len(q), int(binary.LittleEndian.Uint32(q))):] {
			if binary.LittleEndian.Uint16(q[5:]) == c.tag {
				c.Conn.Close()
				return 0, net.ErrClosed
			}
		}
	}
	return n, err
}
