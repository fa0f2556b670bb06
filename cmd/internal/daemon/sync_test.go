package daemon

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv/client"
)

// couple starts two servers that know each other; white has a volume v.
func couple(t testing.TB) (white, black *Daemon) {
	t.Helper()
	white, black = start(t, ""), start(t, "")
	must(t, white, "volume create v", "peer add "+black.PublicKey()+" black")
	must(t, black, "peer add "+white.PublicKey()+" white", "peer location set white "+white.Addr().String())
	key, err := white.store.SharingKey(defaultSharing)
	if err != nil {
		t.Fatal(err)
	}
	if err := (keyring{black}).Add(t.Context(), "whites", key[:]); err != nil {
		t.Fatal(err)
	}
	return white, black
}

// wantError runs a command that must fail with an errno and a text.
func wantError(t *testing.T, d *Daemon, line string, errno syscall.Errno, text string) {
	t.Helper()
	_, err := ctl(t, d, line)
	if !errors.Is(err, errno) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %v with %q", line, err, errno, text)
	}
}

func write(t *testing.T, d *Daemon, path, content string) {
	t.Helper()
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	f := attach(t, d, dir)
	if err := f.Create(t.Context(), name, syscall.O_WRONLY|syscall.O_TRUNC, 0o644, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(t.Context(), []byte(content), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Clunk(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, d *Daemon, path, want string) {
	t.Helper()
	f, err := open(t.Context(), attach(t, d, ""), path)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	p := make([]byte, len(want)+100)
	n, err := f.ReadAt(t.Context(), p, 0)
	if err != nil || string(p[:n]) != want {
		t.Errorf("%s holds %q, %v; want %q", path, p[:n], err, want)
	}
}

func open(ctx context.Context, root *client.Fid, path string) (*client.Fid, error) {
	f, err := root.Walk(ctx, strings.Split(path, "/")...)
	if err != nil {
		return nil, err
	}
	return f, f.Open(ctx, syscall.O_RDONLY)
}

func TestSyncSaysWhatIsMissing(t *testing.T) {
	white, black := couple(t)
	wantError(t, black, "volume connect white v sharing=whites", syscall.EACCES,
		"run `bazil peer volume allow "+black.PublicKey()+" v` there")
	wantError(t, black, "sync white", syscall.ENOENT, "shows this device no volume that is here")
	must(t, white, "peer volume allow black v")
	must(t, black, "volume connect white v sharing=whites as=ours")
	write(t, white, "v/file", strings.Repeat("not inline ", 9999))
	wantError(t, black, "sync ours white", syscall.EACCES,
		"run `bazil peer storage allow "+black.PublicKey()+" local` there")
	must(t, white, "peer storage allow black local")
	must(t, black, "sync ours white")
	wantFile(t, black, "ours/file", strings.Repeat("not inline ", 9999))

	must(t, white, "peer volume revoke black v")
	wantError(t, black, "sync ours white", syscall.EACCES, "has no volume permission for v")
	must(t, white, "peer remove black")
	wantError(t, black, "sync ours white", syscall.EACCES, "peer add "+black.PublicKey()+" there")
	must(t, black, "peer location set white 127.0.0.1:1")
	wantError(t, black, "sync ours white", syscall.ECONNREFUSED, "peer white does not answer at 127.0.0.1:1")
	must(t, black, "peer location clear white")
	wantError(t, black, "sync ours white", syscall.EADDRNOTAVAIL, "peer white has no location")
	wantFile(t, black, "ours/file", strings.Repeat("not inline ", 9999))
}

func TestSyncOfEverything(t *testing.T) {
	white, black := couple(t)
	must(t, white, "volume create w", "peer storage allow black local",
		"peer volume allow black v", "peer volume allow black w")
	must(t, black, "volume connect white v sharing=whites", "volume connect white w sharing=whites", "volume create own")
	write(t, white, "v/one", "1")
	write(t, white, "w/two", "2")
	must(t, black, "sync "+white.PublicKey())
	wantFile(t, black, "v/one", "1")
	wantFile(t, black, "w/two", "2")
	got, err := ctl(t, black, "status")
	if err != nil || !strings.Contains(got, "volume=own") {
		t.Errorf("status %s, %v", got, err)
	}
	wantError(t, black, "volume connect white v sharing=whites as=again", syscall.EEXIST, `that volume is here already, as "v"`)
}

func TestReadsFetchFromStorage(t *testing.T) {
	white, black := couple(t)
	content := strings.Repeat("fetched on demand ", 9999)
	must(t, white, "peer volume allow black v")
	must(t, black, "volume connect white v sharing=whites", "volume storage add v peerkey:"+white.PublicKey())
	write(t, white, "v/file", content)
	wantError(t, black, "sync v white", syscall.EACCES, "storage permission")
	must(t, white, "peer storage allow black local")
	wantFile(t, black, "v/file", content)
}

func TestConflictsThroughCtl(t *testing.T) {
	white, black := couple(t)
	must(t, white, "peer storage allow black local", "peer volume allow black v")
	must(t, black, "volume connect white v sharing=whites")
	write(t, white, "v/plan", "white's")
	write(t, black, "v/plan", "black's")
	must(t, black, "sync v white")
	list, err := ctl(t, black, "conflicts")
	if err != nil || strings.Count(list, "conflict=plan volume=v file=plan.") != 2 || strings.Count(list, "shown=yes") != 1 {
		t.Fatalf("conflicts: %s, %v", list, err)
	}
	var contents []string
	for line := range strings.Lines(list) {
		file := strings.Fields(line[strings.Index(line, "file=")+5:])[0]
		f, err := open(t.Context(), attach(t, black, ""), "ctl/volumes/v/conflicts/plan/"+file)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 100)
		n, err := f.ReadAt(t.Context(), p, 0)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, string(p[:n]))
	}
	if got := strings.Join(contents, " "); got != "white's black's" && got != "black's white's" {
		t.Errorf("the versions hold %q", got)
	}
	wantError(t, black, "resolve v plan keep nothing", syscall.EINVAL, "means 0 of the 2 versions")
	must(t, black, "resolve v plan keep "+white.volumes.get("v").vol.Replica().String())
	wantFile(t, black, "v/plan", "white's")
	if list, err = ctl(t, black, "conflicts v"); list != "" || err != nil {
		t.Errorf("after resolving: %s, %v", list, err)
	}
	wantError(t, black, "resolve v plan keep mine", syscall.ENOENT, `no conflict at "plan"`)
}

// TestFlushEndsASync hangs a sync on a peer that does not answer.
func TestFlushEndsASync(t *testing.T) {
	white, black := couple(t)
	must(t, white, "peer volume allow black v")
	must(t, black, "volume connect white v sharing=whites")
	silent := listenSilently(t)
	must(t, black, "peer location set white "+silent)
	if err := black.links.drop(white.key.Public()); err != nil {
		t.Fatal(err)
	}
	f, err := attach(t, black, "ctl").Walk(t.Context(), "ctl")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(t.Context(), syscall.O_WRONLY); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := f.WriteAt(ctx, []byte("sync v white"), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a sync that was flushed: %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it went on for %v", took)
	}
}

// TestSyncsAreOfThePeer: what status says of syncs follows the peer's name, and
// goes with the peer and with the volume.
func TestSyncsAreOfThePeer(t *testing.T) {
	white, black := couple(t)
	must(t, white, "peer volume allow black v", "peer storage allow black local")
	must(t, black, "volume connect white v sharing=whites", "sync v white", "peer rename white snow")
	status := func() string {
		out, err := ctl(t, black, "status")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if s := status(); !strings.Contains(s, "sync=v peer=snow ") {
		t.Error("after a rename of the peer:", s)
	}
	must(t, black, "peer remove snow")
	if s := status(); strings.Contains(s, "sync=") {
		t.Error("after the removal of the peer:", s)
	}
	must(t, black, "peer add "+white.PublicKey()+" white", "volume remove v", "volume create v")
	if s := status(); strings.Contains(s, "sync=") {
		t.Error("of a new volume:", s)
	}
}
