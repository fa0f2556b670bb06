package ctlfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/p9srv"
)

// device is a small server for the ctl directory to show.
type device struct {
	mu   sync.Mutex // guards keys
	keys map[string]string
	log  Log
}

func (d *device) PublicKey() string { return someKey }
func (d *device) Status(context.Context) ([]Record, error) {
	return []Record{Rec("device", someKey, "state", "up and running")}, nil
}
func (d *device) Config(context.Context) ([][]string, error) {
	return [][]string{{"# sharing key friends is left out"}, {"volume", "create", "my files", "sharing=friends"}}, nil
}

func (d *device) Names(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.keys)), nil
}
func (d *device) Fingerprint(_ context.Context, name string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys[name] == "" {
		return "", Errorf(syscall.ENOENT, "no sharing key %q", name)
	}
	return "fp-" + name, nil
}
func (d *device) Add(_ context.Context, name string, key []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys[name] != "" {
		return Errorf(syscall.EEXIST, "sharing key %q is there already", name)
	}
	d.keys[name] = string(key)
	return nil
}
func (d *device) Remove(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.keys, name)
	return nil
}

// objects is a fixed collection; each is found by its name and its key too.
type objects struct{ names []string }

func (o objects) Names(context.Context) ([]string, error) { return o.names, nil }
func (o objects) Get(_ context.Context, name string) (Object, error) {
	for _, n := range o.names {
		if name == n || name == n+"key" {
			return object(n), nil
		}
	}
	return nil, Errorf(syscall.ENOENT, "no such thing")
}

type object string

func (o object) Name() string      { return string(o) }
func (o object) PublicKey() string { return string(o) + "key" }
func (o object) Status(context.Context) ([]Record, error) {
	return []Record{Rec("object", string(o))}, nil
}
func (o object) Config(context.Context) ([][]string, error) {
	return [][]string{{"rename", string(o)}}, nil
}
func (o object) Logs(event Record) bool { return event.Get("of") == string(o) }

func testFS(t *testing.T, handlers map[string]Handler) (*device, p9srv.Node) {
	t.Helper()
	d := &device{keys: map[string]string{"default": "x"}}
	fs := New(Options{
		Handlers: handlers, System: d, Sharing: d, Log: &d.log,
		Peers: objects{[]string{"white"}}, Volumes: objects{[]string{"a", "my files"}}, Exports: objects{},
	})
	return d, fs.Root(p9srv.User{Name: "glenda", UID: 7}, nil)
}

func walk(t *testing.T, n p9srv.Node, path string) p9srv.Node {
	t.Helper()
	for name := range strings.SplitSeq(path, "/") {
		next, err := n.Walk(t.Context(), name)
		if err != nil {
			t.Fatalf("walk %s at %s: %v", path, name, err)
		}
		n = next
	}
	return n
}

func open(t *testing.T, n p9srv.Node, path string, flags uint32) p9srv.File {
	t.Helper()
	f, err := walk(t, n, path).Open(t.Context(), flags)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// read reads a file from off to its end, a few bytes at a time.
func read(t *testing.T, f p9srv.File, off int64) string {
	t.Helper()
	var b strings.Builder
	p := make([]byte, 7)
	for {
		n, err := f.ReadAt(t.Context(), p, off)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return b.String()
		}
		b.Write(p[:n])
		off += int64(n)
	}
}

func list(t *testing.T, n p9srv.Node, path string) []string {
	t.Helper()
	var names []string
	err := open(t, n, path, syscall.O_RDONLY).(p9srv.DirReader).ReadDir(t.Context(), 0, func(e p9srv.Dirent) bool {
		names = append(names, e.Name)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTheFilesAreThere(t *testing.T) {
	_, root := testFS(t, nil)
	for path, want := range map[string]string{
		"peers":            "white",
		"peers/white":      "ctl status pubkey log",
		"sharing":          "default",
		"volumes":          "a my files",
		"volumes/my files": "ctl status pubkey log",
		"exports":          "",
	} {
		if got := strings.Join(list(t, root, path), " "); got != want {
			t.Errorf("%s has %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"pubkey":               someKey + "\n",
		"status":               "device=" + someKey + " state='up and running'\n",
		"ctl":                  "# sharing key friends is left out\nvolume create 'my files' sharing=friends\n",
		"peers/whitekey/ctl":   "rename white\n",
		"peers/white/pubkey":   "whitekey\n",
		"sharing/default":      "fp-default\n",
		"volumes/my files/ctl": "rename 'my files'\n",
		"volumes/../pubkey":    someKey + "\n",
	} {
		if got := read(t, open(t, root, path, syscall.O_RDONLY), 0); got != want {
			t.Errorf("%s reads as %q, want %q", path, got, want)
		}
	}
}

func TestEveryNodeHasItsOwnQID(t *testing.T) {
	_, root := testFS(t, nil)
	seen := make(map[uint64]string)
	var visit func(n p9srv.Node, path string)
	visit = func(n p9srv.Node, path string) {
		q := n.QID()
		if seen[q.Path] != "" || q.Version != 0 || q.Path>>48 != 0 {
			t.Errorf("%s: %+v, as %s", path, q, seen[q.Path])
		}
		seen[q.Path] = path
		if again := walk(t, root, path).QID(); again != q {
			t.Errorf("%s: %+v and %+v", path, q, again)
		}
		if q.Type&p9srv.QTDir != 0 {
			for _, name := range list(t, root, path) {
				visit(walk(t, n, name), path+"/"+name)
			}
		}
	}
	for _, name := range []string{"ctl", "pubkey", "status", "log", "peers", "sharing", "volumes", "exports"} {
		visit(walk(t, root, name), name)
	}
}

func TestCommandAndAnswer(t *testing.T) {
	_, root := testFS(t, map[string]Handler{
		"peer list": func(_ context.Context, c *Call) error {
			c.Records([]Record{Rec("peer", "white", "by", c.User.Name)})
			return nil
		},
		"peer rename": func(_ context.Context, c *Call) error {
			return fmt.Errorf("rename %s to %s: %w", c.Arg("peer"), c.Arg("name"), syscall.EBUSY)
		},
	})
	f := open(t, root, "ctl", syscall.O_RDWR)
	const line = "peer list\n"
	if n, err := f.WriteAt(t.Context(), []byte(line), 0); n != len(line) || err != nil {
		t.Fatal(n, err)
	}
	const answer = "peer=white by=glenda\n"
	for _, off := range []int64{int64(len(line)), 0, 3} { // going on, and seeking back
		if off == 3 {
			f.WriteAt(t.Context(), []byte(line), 0)
		}
		if got := read(t, f, off); got != answer {
			t.Errorf("from %d it reads as %q", off, got)
		}
	}
	f = open(t, root, "peers/white/ctl", syscall.O_RDWR)
	_, err := f.WriteAt(t.Context(), []byte("rename snow"), 0)
	const text = "rename white to snow: device or resource busy"
	if e, ok := errors.AsType[*p9srv.Error](err); !ok || e.Errno != syscall.EBUSY || e.Text != text {
		t.Errorf("error %#v", err)
	}
	if got := read(t, f, 0); got != text+"\n" {
		t.Errorf("the error reads back as %q", got)
	}
	if _, err := f.WriteAt(t.Context(), []byte("# nothing\n"), 0); err != nil || read(t, f, 0) != "" {
		t.Errorf("a comment: %v, or it has an answer", err)
	}
	if _, err = f.WriteAt(t.Context(), []byte("remove"), 0); !errors.Is(err, syscall.ENOTSUP) {
		t.Errorf("a verb without a handler: %v", err)
	}
}

func TestFlushCancelsACommand(t *testing.T) {
	entered := make(chan struct{})
	_, root := testFS(t, map[string]Handler{"sync": func(ctx context.Context, c *Call) error {
		close(entered)
		<-ctx.Done()
		return fmt.Errorf("sync: %w", ctx.Err())
	}})
	ctx, cancel := context.WithCancel(t.Context())
	f := open(t, root, "ctl", syscall.O_WRONLY)
	done := make(chan error)
	go func() {
		_, err := f.WriteAt(ctx, []byte("sync white"), 0)
		done <- err
	}()
	<-entered
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestHelp(t *testing.T) {
	_, root := testFS(t, nil)
	f := open(t, root, "ctl", syscall.O_RDWR)
	f.WriteAt(t.Context(), []byte("help"), 0)
	got := read(t, f, 0)
	for _, v := range Verbs() {
		if !strings.Contains(got, v.Synopsis()+"\n\t"+v.Help+"\n") {
			t.Errorf("help lacks %s", v.Name)
		}
	}
	if got := Help("volume", "create"); !strings.Contains(got, "Example: volume create myfiles") {
		t.Errorf("help for one command: %s", got)
	}
	if got := Help("vol"); got != "no command begins with vol\n" {
		t.Errorf("help vol: %s", got)
	}
}

func TestSharingKeyIsWrittenWhole(t *testing.T) {
	d, root := testFS(t, nil)
	dir := walk(t, root, "sharing").(p9srv.Directory)
	n, f, err := dir.Create(t.Context(), "friends", syscall.O_WRONLY|syscall.O_CREAT, 0o644, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := walk(t, root, "sharing/friends").QID(); got != n.QID() {
		t.Errorf("the new file is %v and %v", got, n.QID())
	}
	if got := list(t, root, "sharing"); len(got) != 1 {
		t.Errorf("listed before it has a key: %q", got)
	}
	for _, size := range []int{0, 31, 33} {
		if _, err := f.WriteAt(t.Context(), make([]byte, size), 0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if got := read(t, f, 0); !strings.HasPrefix(got, `sharing key "friends": a key is 32 bytes`) {
			t.Errorf("the error reads back as %q", got)
		}
	}
	key := []byte(strings.Repeat("k", 32))
	if _, err := f.WriteAt(t.Context(), key, 0); err != nil {
		t.Fatal(err)
	}
	clear(key) // the buffer is the server's
	f.Close()
	if d.keys["friends"] != strings.Repeat("k", 32) {
		t.Errorf("the key is %q", d.keys["friends"])
	}
	f = open(t, root, "sharing/friends", syscall.O_RDWR)
	if got := read(t, f, 0); got != "fp-friends\n" {
		t.Errorf("reads as %q", got)
	}
	if _, err := f.WriteAt(t.Context(), key, 0); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("written twice: %v", err)
	}
	if err := dir.Unlink(t.Context(), "friends", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := walk(t, root, "sharing").Walk(t.Context(), "friends"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("still there: %v", err)
	}
}

func TestUnwrittenSharingKeyIsNotKept(t *testing.T) {
	_, root := testFS(t, nil)
	dir := walk(t, root, "sharing")
	_, f, err := dir.(p9srv.Directory).Create(t.Context(), "x", syscall.O_RDWR, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, f, 0); got != "" {
		t.Errorf("reads as %q", got)
	}
	f.Close()
	if _, err := dir.Walk(t.Context(), "x"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("still there: %v", err)
	}
	for _, name := range []string{"a\nb", "ctl", strings.Repeat("x", 256)} {
		if _, _, err := dir.(p9srv.Directory).Create(t.Context(), name, syscall.O_RDWR, 0, 0); err == nil {
			t.Errorf("%q was created", name)
		}
	}
}

func TestLogWaitsForEvents(t *testing.T) {
	d, root := testFS(t, nil)
	d.log.Add(Rec("event", "first", "of", "a"))
	f := open(t, root, "log", syscall.O_RDONLY)
	one := open(t, root, "volumes/a/log", syscall.O_RDONLY)
	if !f.(p9srv.Stream).IsStream() {
		t.Error("no stream")
	}
	if got := event(t, f); got != "first" {
		t.Errorf("first event %s", got)
	}
	got := make(chan string)
	go func() { got <- event(t, f) }()
	d.log.Add(Rec("event", "second"))
	if e := <-got; e != "second" {
		t.Errorf("second event %s", e)
	}
	d.log.Add(Rec("event", "third", "of", "a"))
	if a, b := event(t, one), event(t, one); a != "first" || b != "third" {
		t.Errorf("a's events: %s %s", a, b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := one.ReadAt(ctx, make([]byte, 100), 0); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("a flushed read: %d %v", n, err)
	}
}

// event reads one event in small pieces and returns its kind.
func event(t *testing.T, f p9srv.File) string {
	var b strings.Builder
	p := make([]byte, 5)
	for !strings.HasSuffix(b.String(), "\n") {
		n, err := f.ReadAt(context.Background(), p, 0)
		if err != nil && err != io.EOF {
			t.Error(err)
			return ""
		}
		b.Write(p[:n])
	}
	r, err := ParseRecord(b.String())
	if err != nil {
		t.Error(err)
	}
	return r.Get("event")
}

func TestSlowLogReaderIsTold(t *testing.T) {
	var l Log
	for i := range 3 * logKept {
		l.Add(Rec("event", fmt.Sprint(i)))
	}
	r, place, err := l.Next(t.Context(), 0, nil)
	if err != nil || r.Get("event") != fmt.Sprint(2*logKept) {
		t.Errorf("a new reader begins with %s, %v", r, err)
	}
	for i := range logKept + 5 {
		l.Add(Rec("event", fmt.Sprint(i)))
	}
	if r, _, _ = l.Next(t.Context(), place, nil); r.Get("event") != "lost" || r.Get("count") != fmt.Sprint(logKept+4) {
		t.Errorf("a slow reader gets %s", r)
	}
}

func TestWhatIsRefused(t *testing.T) {
	_, root := testFS(t, nil)
	for path, want := range map[string]error{"status": syscall.EACCES, "pubkey": syscall.EACCES, "log": syscall.EACCES, "peers": syscall.EISDIR} {
		if _, err := walk(t, root, path).Open(t.Context(), syscall.O_RDWR); err != want {
			t.Errorf("open %s for writing: %v", path, err)
		}
	}
	ctl := walk(t, root, "ctl").(p9srv.Setattrer)
	if err := ctl.SetAttr(t.Context(), p9srv.SetAttr{Valid: p9srv.SetSize}); err != nil {
		t.Errorf("truncate ctl: %v", err)
	}
	if err := ctl.SetAttr(t.Context(), p9srv.SetAttr{Valid: p9srv.SetMode}); err != syscall.EPERM {
		t.Errorf("chmod ctl: %v", err)
	}
	if err := walk(t, root, "peers/white").(p9srv.Placed).Remove(t.Context()); err != syscall.EPERM {
		t.Errorf("rmdir a peer: %v", err)
	}
	if _, err := walk(t, root, "volumes").Walk(t.Context(), "none"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("walk: %v", err)
	}
}

// watched is a volume whose files change.
type watched struct {
	object
	batches chan []uint64
}

func (w watched) Names(context.Context) ([]string, error)            { return []string{"v"}, nil }
func (w watched) Get(_ context.Context, name string) (Object, error) { return w, nil }
func (w watched) Watch(context.Context) (Watcher, error)             { return w, nil }
func (w watched) Close() error                                       { return nil }
func (w watched) Next(ctx context.Context) ([]uint64, bool, error) {
	select {
	case b := <-w.batches:
		return b, b == nil, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

func TestChanges(t *testing.T) {
	w := watched{"v", make(chan []uint64, 9)}
	d := &device{}
	root := New(Options{System: d, Sharing: d, Log: &d.log, Peers: objects{}, Volumes: w, Exports: objects{}}).Root(p9srv.User{}, nil)
	f := open(t, root, "volumes/v/changes", syscall.O_RDONLY)
	if _, err := walk(t, root, "volumes").Walk(t.Context(), "v"); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1<<20)
	for _, want := range [][]uint64{{1}, {1 << 50, 2, 3}, nil, make([]uint64, manyChanges), make([]uint64, manyChanges+1)} {
		w.batches <- want
		n, err := f.ReadAt(t.Context(), p, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, all, err := ParseChanges(string(p[:n]))
		wantAll := want == nil || len(want) > manyChanges
		if err != nil || all != wantAll || !all && !slices.Equal(got, want) {
			t.Errorf("%d paths came as %d, %v, %v", len(want), len(got), all, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.ReadAt(ctx, p, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a flushed read: %v", err)
	}
}

func FuzzParseChanges(f *testing.F) {
	f.Add("all\n")
	f.Add("1 2 18446744073709551615\n")
	f.Fuzz(func(t *testing.T, record string) {
		paths, _, err := ParseChanges(record)
		if err == nil && len(paths) > manyChanges {
			t.Fatal("too many")
		}
	})
}
