package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv/client"
)

// friends starts two servers that may see all of each other's volume v.
func friends(t *testing.T) (white, black *Daemon) {
	t.Helper()
	white, black = couple(t)
	allowBlack(t, white)
	must(t, black, "volume connect white v sharing=whites",
		"peer volume allow white v", "peer storage allow white local",
		"volume storage add v peerkey:"+white.PublicKey())
	must(t, white, "peer location set black "+black.Addr().String(),
		"volume storage add v peerkey:"+black.PublicKey())
	return white, black
}

func allowBlack(t *testing.T, white *Daemon) {
	t.Helper()
	must(t, white, "peer volume allow black v", "peer storage allow black local")
}

// comes waits until a file of volume v has that content, looking again
// whenever the volume changes.
func comes(t *testing.T, d *Daemon, path, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	root := attach(t, d, "")
	for since := uint64(0); ; {
		v, _, done, err := d.useVolume(ctx, "v")
		if err != nil {
			t.Fatal(err)
		}
		now, _, _, err := v.vol.Watch(ctx, since)
		done()
		if err != nil {
			t.Fatalf("%s does not come to hold %q: %v; %v", path, want, err, d.volumes.get("v").feeds.records())
		}
		if got, err := content(ctx, root, "v/"+path); err == nil && got == want {
			return
		}
		since = now
	}
}

// content reads a file from its beginning to its end.
func content(ctx context.Context, root *client.Fid, path string) (string, error) {
	f, err := open(ctx, root, path)
	if err != nil {
		return "", err
	}
	defer f.Clunk(context.WithoutCancel(ctx))
	var out strings.Builder
	p := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(ctx, p, int64(out.Len()))
		if out.Write(p[:n]); n == 0 || err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// TestFollow: changes come by themselves, both ways at once, also after the
// peer was away, and no longer when that was ended.
func TestFollow(t *testing.T) {
	white, black := friends(t)
	write(t, white, "v/before", "was there")
	must(t, black, "volume follow v white")
	must(t, white, "volume follow v black")
	comes(t, black, "before", "was there")
	large := strings.Repeat("large ", 1<<18)
	write(t, white, "v/large", large)
	comes(t, black, "large", large)
	for i := range 20 {
		write(t, white, fmt.Sprint("v/w", i), fmt.Sprint(i))
		write(t, black, fmt.Sprint("v/b", i), fmt.Sprint(i))
	}
	for i := range 20 {
		comes(t, black, fmt.Sprint("w", i), fmt.Sprint(i))
		comes(t, white, fmt.Sprint("b", i), fmt.Sprint(i))
	}

	dir, addr := black.store.Dir(), black.Addr().String()
	if err := black.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, white, "v/before", "changed")
	black = New(Options{Dir: dir, Addr: addr})
	if err := black.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { black.Close() })
	comes(t, black, "before", "changed")
	write(t, black, "v/before", "changed there")
	comes(t, white, "before", "changed there")

	must(t, black, "volume follow v white off")
	write(t, white, "v/before", "the last")
	must(t, black, "sync v white")
	wantFile(t, black, "v/before", "the last")
	if got := black.volumes.get("v").feeds.records(); len(got) != 0 {
		t.Error(got)
	}
	wantError(t, black, "volume follow v white off", syscall.ENOENT, `does not follow peer white`)
	wantError(t, black, "volume follow v nobody", syscall.ENOENT, `no peer "nobody"`)
	must(t, white, "volume storage remove v peerkey:"+black.PublicKey())
	wantError(t, white, "peer remove black", syscall.EBUSY, "volume follow v black off comes first")
}

// TestFollowStandsInConfig: it is told, and a restart goes on with it.
func TestFollowStandsInConfig(t *testing.T) {
	white, black := friends(t)
	must(t, black, "volume follow v white", "volume follow v white on")
	lines, err := black.Config(t.Context())
	if err != nil || !strings.Contains(fmt.Sprint(lines), "volume follow v "+white.PublicKey()) {
		t.Error(lines, err)
	}
	dir := black.store.Dir()
	if err := errors.Join(white.Close(), black.Close()); err != nil {
		t.Fatal(err)
	}
	black = start(t, dir)
	got := fmt.Sprint(black.volumes.get("v").feeds.records())
	if !strings.Contains(got, "follow=v") || !strings.Contains(got, "peer=white") {
		t.Error(got)
	}
}
