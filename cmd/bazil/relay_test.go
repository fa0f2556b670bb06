package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// relay passes connections on to an address and records all that goes through
// it, each connection's directions apart.
type relay struct {
	l  net.Listener
	to string
	wg sync.WaitGroup

	mu      sync.Mutex // guards streams
	streams []*recording
}

// recording is one direction of one connection.
type recording struct {
	mu  sync.Mutex // guards all
	all bytes.Buffer
}

func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.Write(p)
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &relay{l: l, to: to}
	r.wg.Go(r.run)
	t.Cleanup(func() { l.Close(); r.wg.Wait() })
	return r
}

func (r *relay) run() {
	for {
		in, err := r.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.to)
		if err != nil {
			in.Close()
			continue
		}
		r.wg.Go(func() { r.pass(in, out) })
		r.wg.Go(func() { r.pass(out, in) })
	}
}

func (r *relay) pass(from, to net.Conn) {
	rec := new(recording)
	r.mu.Lock()
	r.streams = append(r.streams, rec)
	r.mu.Unlock()
	io.Copy(io.MultiWriter(to, rec), from)
	from.Close()
	to.Close()
}

// recorded returns what went through so far.
func (r *relay) recorded() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all [][]byte
	for _, s := range r.streams {
		s.mu.Lock()
		all = append(all, bytes.Clone(s.all.Bytes()))
		s.mu.Unlock()
	}
	return all
}

// TestNothingLeaks syncs two devices through a recording relay: neither it nor
// the segments on disk may hold a name, a content or the sharing key.
func TestNothingLeaks(t *testing.T) {
	white, black := newDevice(t), newDevice(t)
	_, port, err := net.SplitHostPort(white.addr)
	must(t, err)
	relay := newRelay(t, net.JoinHostPort("127.0.0.1", port))
	key := make([]byte, sharingKeyLen)
	rand.Read(key)
	whiteKey := befriend(t, white, black, "volume-of-glenda", relay.l.Addr().String(), key)

	contents := map[string][]byte{
		"name-of-a-random-file": noise(1, 3<<20),
		"name-of-a-text":        []byte(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 9999)),
		"name-of-a-small-one":   []byte("a small file that stands in its directory"),
		"name-of-a-middle-one":  noise(2, 30000),
	}
	ctx := context.Background()
	root := white.attach(t, "volume-of-glenda")
	_, err = root.Mkdir(ctx, "folder-of-glenda", 0o755, 0)
	must(t, err)
	dir, err := root.Walk(ctx, "folder-of-glenda")
	must(t, err)
	secrets := map[string][]byte{"the sharing key": key, "a folder's name": []byte("folder-of-glenda"), "the volume's name": []byte("volume-of-glenda")}
	for name, content := range contents {
		must(t, put(dir, name, content))
		secrets[name] = []byte(name)
		for off := 0; off+32 <= len(content); off += 997 {
			secrets[fmt.Sprintf("%s's content at %d", name, off)] = content[off : off+32]
		}
	}
	black.run(t, "volume", "sync", "volume-of-glenda", whiteKey)

	there := black.attach(t, "volume-of-glenda")
	for name, content := range contents {
		if got, err := get(there, "folder-of-glenda/"+name, len(content)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s came over with %d bytes of %d, %v", name, len(got), len(content), err)
		}
	}
	var total int
	for _, stream := range relay.recorded() {
		total += len(stream)
		if found := search(stream, secrets); found != "" {
			t.Errorf("the recording holds %s", found)
		}
	}
	if total < 3<<20 {
		t.Errorf("only %d bytes went through the relay", total)
	}
	must(t, white.kill(syscall.SIGTERM))
	must(t, black.kill(syscall.SIGTERM))
	searchSegments(t, white.dir, secrets)
	searchSegments(t, black.dir, secrets)
}

// search returns the name of a secret that stands in data, "" if none does.
func search(data []byte, secrets map[string][]byte) string {
	index := make(map[[8]byte][]string)
	for name, s := range secrets {
		index[[8]byte(s)] = append(index[[8]byte(s)], name)
	}
	for i := 0; i+8 <= len(data); i++ {
		for _, name := range index[[8]byte(data[i:])] {
			if bytes.HasPrefix(data[i:], secrets[name]) {
				return name
			}
		}
	}
	return ""
}

func TestSearchFinds(t *testing.T) {
	secrets := map[string][]byte{"one": []byte("12345678"), "two": []byte("12345678 and more")}
	for data, want := range map[string]string{"..12345678": "one", "..1234567": "", "": ""} {
		if got := search([]byte(data), secrets); got != want {
			t.Errorf("%q: found %q", data, got)
		}
	}
}

// searchSegments looks through the files that hold chunks.
func searchSegments(t *testing.T, dir string, secrets map[string][]byte) {
	t.Helper()
	size := 0
	for path, data := range filesBelow(t, dir) {
		name := strings.TrimPrefix(path, dir+"/")
		if filepath.Dir(name) == "." || strings.HasPrefix(name, "volumes/") {
			continue // the configuration and the volumes' metadata, which stay on this device
		}
		size += len(data)
		if found := search(data, secrets); found != "" {
			t.Errorf("%s holds %s", path, found)
		}
	}
	if size < 3<<20 {
		t.Errorf("%s: the segments have %d bytes in all", dir, size)
	}
}
