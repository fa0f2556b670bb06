package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/noiseconn"
	"bazil/p9srv/client"
	"bazil/store"
	"bazil/store/vol"
)

// asks are all the ways to ask for volume and storage.
func (s *served) asks(t testing.TB, volume, storage string, ids []store.ID) map[string]error {
	ctx := soon(t)
	src, st := s.client.Volume(volume), s.client.Storage(storage)
	nothing := func(int, []byte) error { return nil }
	errs := map[string]error{}
	_, errs["info"] = s.client.VolumeInfo(ctx, volume)
	_, errs["replicas"] = src.Replicas(ctx)
	_, errs["events"] = src.Events(ctx, 0)
	errs["pull"] = src.Dirs(ctx, []vol.DirRequest{{}}, func(int, vol.DirState) error { return nil })
	errs["chunks"] = st.Chunks(ctx, ids, nothing)
	_, errs["fetch"] = st.Fetch(ctx, ids[0])
	return errs
}

func TestPermissions(t *testing.T) {
	s := serve(t)
	ids := s.put(t, 3, 1000)
	key := s.asker.Public()
	for _, volume := range []bool{false, true} {
		for _, storage := range []bool{false, true} {
			var volumes, backends []string
			if volume {
				volumes = []string{"v"}
			}
			if storage {
				backends = []string{LocalStorage}
			}
			s.grants.allow(volumes, backends)
			for ask, err := range s.asks(t, "v", LocalStorage, ids) {
				what, name, allowed := "volume", "v", volume
				if ask == "chunks" || ask == "fetch" {
					what, name, allowed = "storage", LocalStorage, storage
				}
				want := fmt.Sprintf("peer %s has no %s permission for %s: run `bazil peer %s allow %v %s` there",
					key.Short(), what, name, what, key, name)
				switch {
				case allowed && err != nil:
					t.Errorf("%s, which is allowed: %v", ask, err)
				case !allowed && (!errors.Is(err, ErrDenied) || err.Error() != want):
					t.Errorf("%s: %v; want %s", ask, err, want)
				}
			}
			if got, err := s.client.Volumes(soon(t)); err != nil || !slices.Equal(got, volumes) {
				t.Errorf("volumes %q, %v", got, err)
			}
			if got, err := s.client.Backends(soon(t)); err != nil || !slices.Equal(got, backends) {
				t.Errorf("storage %q, %v", got, err)
			}
		}
	}
	for _, k := range s.grants.keys {
		if k != key {
			t.Fatalf("asked for %v, the key is %v", k, key)
		}
	}
}

func TestAllowedButAbsent(t *testing.T) {
	s := serve(t)
	for ask, err := range s.asks(t, "later", "other", []store.ID{{1}}) {
		if !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: %v", ask, err)
		}
	}
}

func TestRevokedWhileItIsRead(t *testing.T) {
	s := serve(t)
	ids := s.put(t, 400, 4<<10)
	var once sync.Once
	err := s.client.Storage(LocalStorage).Chunks(soon(t), ids, func(int, []byte) error {
		once.Do(func() { s.grants.allow([]string{"v"}, nil) })
		return nil
	})
	if !errors.Is(err, ErrDenied) {
		t.Errorf("chunks: %v", err)
	}
	src := s.client.Volume("v")
	now, err := src.Events(soon(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	go func() { _, err := src.Events(soon(t), now); errs <- err }()
	s.grants.allow(nil, nil)
	write(t, s.volume, s.volume.Root(), "news", []byte("x"))
	if err := <-errs; !errors.Is(err, ErrDenied) {
		t.Errorf("events: %v", err)
	}
}

// attach is a plain 9P client on the served tree.
func (s *served) attach(t *testing.T) *client.Fid {
	t.Helper()
	nc, err := s.device.dialer(noiseconn.NewSecretKey())(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(t.Context(), nc, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	root, err := c.Attach(t.Context(), "anybody", "/", 0)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestTreeAsFiles(t *testing.T) {
	s := serve(t)
	root := s.attach(t)
	ctx := t.Context()
	var all []string
	var list func(f *client.Fid, path string)
	list = func(f *client.Fid, path string) {
		all = append(all, path)
		a, err := f.Attr(ctx)
		if err != nil {
			t.Fatal(path, err)
		}
		if a.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			return
		}
		d, err := f.Walk(ctx)
		if err != nil || d.Open(ctx, syscall.O_RDONLY) != nil {
			t.Fatal(path, err)
		}
		entries, err := d.ReadDir(ctx, 0, 10000)
		if err != nil {
			t.Fatal(path, err)
		}
		for _, e := range entries {
			if e.Name == "." || e.Name == ".." {
				continue
			}
			c, err := f.Walk(ctx, e.Name)
			if err != nil || c.QID() != e.QID {
				t.Fatal(path, e.Name, err)
			}
			list(c, path+"/"+e.Name)
		}
	}
	list(root, "")
	want := []string{"", "/storage", "/storage/local", "/storage/local/chunks", "/storage/other", "/storage/other/chunks",
		"/volumes", "/volumes/later", "/volumes/later/events", "/volumes/later/info", "/volumes/later/pull", "/volumes/later/replicas",
		"/volumes/v", "/volumes/v/events", "/volumes/v/info", "/volumes/v/pull", "/volumes/v/replicas"}
	if !slices.Equal(all, want) {
		t.Errorf("the tree is %q", all)
	}
	for _, path := range []string{"x", "storage/local/x", "volumes/v/x", "volumes/v/info/x"} {
		if _, err := root.Walk(ctx, strings.Split(path, "/")...); !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", path, err)
		}
	}
	up, err := root.Walk(ctx, "volumes", "v", "..", "..", "storage")
	if err != nil {
		t.Fatal(err)
	}
	if other, _ := root.Walk(ctx, "storage"); up.QID() != other.QID() {
		t.Error("up and down again is elsewhere")
	}
}

// cat works for the file that needs no question.
func TestInfoAsAFile(t *testing.T) {
	s := serve(t)
	f, err := s.attach(t).Walk(t.Context(), "volumes", "v", "info")
	if err != nil || f.Open(t.Context(), syscall.O_RDONLY) != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1000)
	n, err := f.ReadAt(t.Context(), p, 0)
	if err != nil || n < recordHead || kind(p[0]) != kindInfo {
		t.Fatalf("%q, %v", p[:n], err)
	}
	in, _, err := parseInfo(p[recordHead : n-recordHead])
	if err != nil || in.ID != s.volume.ID() || in.Replica != s.volume.Replica() {
		t.Errorf("%v, %v", in, err)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	s := serve(t)
	root := s.attach(t)
	ctx := t.Context()
	var open []*client.Fid
	for {
		f, err := root.Walk(ctx, "volumes", "v", "pull")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Open(ctx, syscall.O_RDWR); err == syscall.EMFILE {
			break
		} else if err != nil || len(open) > maxOpen {
			t.Fatal(len(open), err)
		}
		open = append(open, f)
	}
	for _, f := range open {
		if err := f.Clunk(ctx); err != nil {
			t.Fatal(err)
		}
	}
	f, _ := root.Walk(ctx, "volumes", "v", "pull")
	if err := f.Open(ctx, syscall.O_RDWR); err != nil {
		t.Errorf("%d files were closed, and then: %v", len(open), err)
	}
}

func TestOddQuestions(t *testing.T) {
	s := serve(t)
	l := newLink(s.device.dialer(s.asker), readSize)
	defer l.close()
	none := func(kind, []byte) error { return errors.New("an answer") }
	for _, file := range [][]string{{"storage", "local", "chunks"}, {"volumes", "v", "pull"}, {"volumes", "v", "events"}} {
		for _, q := range []string{"", "\xff", "x", "\x40", "\x80", "\x83\x80\x80\x80", strings.Repeat("\x81", 1000)} {
			var r *RemoteError
			err := l.ask(soon(t), question{path: file, text: []byte(q)}, none)
			if !errors.As(err, &r) || r.code != codeAsked {
				t.Errorf("%q to %s: %v", q, file, err)
			}
		}
	}
	err := s.client.Volume("v").Dirs(soon(t), []vol.DirRequest{{Dir: 999}}, func(int, vol.DirState) error { return nil })
	if !errors.Is(err, ErrAbsent) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// A connection that breaks ends what goes on at the serving side.
func TestGuestsThatLeave(t *testing.T) {
	s := serve(t)
	now, err := s.client.Volume("v").Events(soon(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(soon(t))
	errs := make(chan error)
	go func() { // an event may come before the end does
		for err == nil {
			now, err = s.client.Volume("v").Events(ctx, now)
		}
		errs <- err
	}()
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.client.Close()
	s.device.end() // waits for the connections' goroutines
}
