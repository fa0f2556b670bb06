package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bazil/p9srv/client"
)

// noise is text that does not compress.
func noise(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// shared makes a volume of white's that black has a replica of, with its
// content, and white as storage.
func shared(t *testing.T, content string) (white, black *Daemon) {
	t.Helper()
	white, black = couple(t)
	write(t, white, "v/f", content)
	must(t, white, "peer storage allow black local", "peer volume allow black v")
	must(t, black, "volume connect white v sharing=whites", "volume storage add v peerkey:"+white.PublicKey(), "sync v white")
	return white, black
}

// damageAll changes a byte of the largest record in each segment of a data
// directory that no server has open.
func damageAll(t *testing.T, dir string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "chunks", "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segments", err)
	}
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < 200<<10 {
			continue
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// restart runs a server again on its data directory.
func restart(t *testing.T, d *Daemon) *Daemon {
	t.Helper()
	dir := d.o.Dir
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return start(t, dir)
}

// event waits for an event of a kind.
func event(t *testing.T, d *Daemon, kind string) {
	t.Helper()
	log, err := open(t.Context(), attach(t, d, "ctl"), "log")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4096)
	for {
		n, err := log.Read1(t.Context(), p, 0)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(p[:n]), "event="+kind+" ") {
			return
		}
	}
}

// TestDamageIsRepaired: damage is an error to who reads it, an event, and gone
// as soon as a peer that has a good copy can be reached.
func TestDamageIsRepaired(t *testing.T) {
	text := noise(1, 900<<10)
	white, black := shared(t, text)
	if err := errors.Join(white.Close(), black.Close()); err != nil {
		t.Fatal(err)
	}
	damageAll(t, black.o.Dir)
	black = start(t, black.o.Dir)
	f, err := open(t.Context(), attach(t, black, ""), "v/f")
	if err == nil {
		_, err = f.ReadAt(t.Context(), make([]byte, len(text)), 0)
	}
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("a damaged file is read: %v", err)
	}
	event(t, black, "chunk.damaged")
	wantError(t, black, "store repair", syscall.EIO, "0 damaged chunks are repaired, 1 are not")
	wantError(t, black, "store scrub", syscall.EIO, "1 are damaged and have no good copy")
	if out, err := ctl(t, black, "status"); err != nil || !strings.Contains(out, " damaged=1") {
		t.Errorf("status: %v, %s", err, out)
	}

	white = start(t, white.o.Dir)
	must(t, black, "peer location set white "+white.Addr().String())
	black.upkeep.damage <- struct{}{} // rather than wait ten minutes
	event(t, black, "chunk.repaired")
	wantFile(t, black, "v/f", text)
	must(t, black, "store scrub restart")

	// Without the background's help a scrub does it, and so does a read.
	for _, how := range []string{"store scrub restart", "store repair", ""} {
		if err := black.Close(); err != nil {
			t.Fatal(err)
		}
		damageAll(t, black.o.Dir)
		black = start(t, black.o.Dir)
		black.upkeep.end() // unless it was faster
		if how != "" {
			must(t, black, how)
		}
		wantFile(t, black, "v/f", text)
	}
}

// TestImportFromAPeer: a pointer, the sharing key and a peer that has the
// chunks make a volume.
func TestImportFromAPeer(t *testing.T) {
	white, black := couple(t)
	text := noise(2, 500<<10)
	write(t, white, "v/f", text)
	must(t, white, "peer storage allow black local", "snapshot create v s")
	pointer, err := ctl(t, white, "snapshot pointer v s")
	if err != nil {
		t.Fatal(err)
	}
	pointer = strings.TrimSpace(pointer)
	storage := " storage=peerkey:" + white.PublicKey()
	wantError(t, black, "snapshot import "+pointer+" w sharing=whites", syscall.EIO, "not found")
	wantError(t, black, "snapshot import "+pointer+" w"+storage, syscall.EINVAL, "under another sharing key")
	if left, _ := filepath.Glob(filepath.Join(black.o.Dir, "volumes", "*")); len(left) != 0 {
		t.Errorf("a failed import leaves %q", left)
	}
	out, err := ctl(t, black, "snapshot import "+pointer+" w sharing=whites"+storage)
	if err != nil || !strings.Contains(out, " names=1 incomplete=1 ") {
		t.Fatalf("%q, %v", out, err)
	}
	wantFile(t, black, "w/f", text)
	black = restart(t, black)
	wantFile(t, black, "w/f", text)
}

// user is a client that does all on one connection.
type user struct {
	t    *testing.T
	root *client.Fid
}

func (u user) must(line string) {
	f, err := u.root.Walk(u.t.Context(), "ctl", "ctl")
	if err == nil {
		err = f.Open(u.t.Context(), syscall.O_RDWR)
	}
	if err == nil {
		_, err = f.WriteAt(u.t.Context(), []byte(line), 0)
	}
	if err == nil {
		err = f.Clunk(u.t.Context())
	}
	if err != nil {
		u.t.Errorf("%s: %v", line, err)
	}
}

func (u user) write(volume, name, content string) {
	f, err := u.root.Walk(u.t.Context(), volume)
	if err == nil {
		err = f.Create(u.t.Context(), name, syscall.O_WRONLY|syscall.O_TRUNC, 0o644, 0)
	}
	if err == nil {
		_, err = f.WriteAt(u.t.Context(), []byte(content), 0)
	}
	if err == nil {
		err = f.Clunk(u.t.Context())
	}
	if err != nil {
		u.t.Errorf("%s/%s: %v", volume, name, err)
	}
}

// TestCollectWhileClientsWrite: whatever is written, deleted, kept in snapshots
// and restored while collections run one after the other, nothing that is left
// is missing.
func TestCollectWhileClientsWrite(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create a", "volume create b")
	ctx, stop := context.WithCancel(t.Context())
	var collecting, writing sync.WaitGroup
	collecting.Go(func() {
		u := user{t, attach(t, d, "")}
		for ctx.Err() == nil {
			u.must("store collect")
		}
	})
	for _, volume := range []string{"a", "b"} {
		writing.Go(func() { churn(t, user{t, attach(t, d, "")}, volume) })
	}
	writing.Wait()
	stop()
	collecting.Wait()
	must(t, d, "store collect", "store collect", "store scrub")
	d = restart(t, d)
	for _, volume := range []string{"a", "b"} {
		wantFile(t, d, volume+"/f0", noise(20, 200<<10))
		wantFile(t, d, volume+"/.snap/last/f1", noise(21, 200<<10))
	}
}

// churn writes the contents that the other volume has, too, over and over.
func churn(t *testing.T, u user, volume string) {
	for i := range 12 {
		for f := range 3 {
			u.write(volume, fmt.Sprint("f", f), noise(uint64(10*(i%3)+f), 200<<10))
		}
		u.must(fmt.Sprintf("snapshot create %s s%d", volume, i))
		u.must("snapshot restore " + volume + " s0")
		if i > 0 {
			u.must(fmt.Sprintf("snapshot remove %s s%d", volume, i))
		}
	}
	for f := range 2 {
		u.write(volume, fmt.Sprint("f", f), noise(uint64(20+f), 200<<10))
	}
	u.must("snapshot create " + volume + " last")
	dir, err := u.root.Walk(t.Context(), volume)
	if err == nil {
		err = dir.UnlinkAt(t.Context(), "f1", 0)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestScrubGoesOn: a scrub that is interrupted goes on where it was.
func TestScrubGoesOn(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v")
	for i := range 4 {
		write(t, d, fmt.Sprintf("v/f%d", i), noise(uint64(i), 300<<10))
		must(t, d, "store collect") // ends the segment
	}
	ctx, interrupt := context.WithCancel(t.Context())
	f, err := attach(t, d, "ctl").Walk(ctx, "ctl")
	if err == nil {
		err = f.Open(ctx, syscall.O_RDWR)
	}
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := f.WriteAt(ctx, []byte("store scrub rate=400k"), 0)
		done <- err
	}()
	for !strings.Contains(fmt.Sprint(d.tasks.records()), "done=1") {
		select {
		case err := <-done:
			t.Fatalf("it ended: %v", err)
		default:
		}
	}
	wantError(t, d, "store scrub", syscall.EBUSY, "store scrub is at work already")
	interrupt()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for len(d.tasks.records()) > 0 { // the server hears of it a little later
	}
	var r scrubRecord
	if err := d.remembered(scrubKey, &r); err != nil || r.Next < 2 || r.Finished != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	d = restart(t, d)
	out, err := ctl(t, d, "store scrub")
	if err != nil || !strings.Contains(out, "damaged=0") {
		t.Fatalf("%q, %v", out, err)
	}
	var all scrubRecord
	if err := d.remembered(scrubKey, &all); err != nil || all.Next != 0 || all.Finished == 0 || all.Started != r.Started || all.Chunks <= r.Chunks {
		t.Errorf("%+v, then %+v, %v", r, all, err)
	}
}

// TestCollectNeedsEveryVolume: nothing is freed where it cannot be told what a
// volume refers to.
func TestCollectNeedsEveryVolume(t *testing.T) {
	d := start(t, "")
	must(t, d, "volume create v", "volume create gone")
	write(t, d, "v/f", noise(1, 300<<10))
	write(t, d, "gone/f", noise(2, 300<<10))
	e, err := volumeObject{d, "gone"}.entry()
	if err != nil {
		t.Fatal(err)
	}
	must(t, d, "volume remove gone", "store collect", "volume restore "+e.ID.String()+" gone")
	wantFile(t, d, "gone/f", noise(2, 300<<10))
	must(t, d, "volume remove gone")
	path := d.volumePath(e.ID)
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	before := d.store.Chunks().Stats()
	wantError(t, d, "store collect", syscall.EIO, "cannot be read, so nothing is freed")
	if after := d.store.Chunks().Stats(); after.Chunks != before.Chunks {
		t.Errorf("%+v became %+v", before, after)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	must(t, d, "store collect")
	if after := d.store.Chunks().Stats(); after.Chunks >= before.Chunks {
		t.Errorf("%+v became %+v", before, after)
	}
	dir := d.o.Dir
	v, err := volumeObject{d, "v"}.entry()
	if err != nil {
		t.Fatal(err)
	}
	path = d.volumePath(v.ID)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	d = start(t, dir)
	wantError(t, d, "store collect", syscall.EIO, `volume "v" could not be opened`)
}

// TestAutoCollect: much that nothing refers to goes by itself, once a day.
func TestAutoCollect(t *testing.T) {
	d := start(t, "")
	d.upkeep.end() // the clock is the test's from here on
	must(t, d, "volume create v", "store auto on")
	write(t, d, "v/f", noise(1, 900<<10))
	if err := d.keepCollected(t.Context(), d.started); err != nil {
		t.Fatal(err)
	}
	if err := attach(t, d, "v").UnlinkAt(t.Context(), "f", 0); err != nil {
		t.Fatal(err)
	}
	full := d.store.Chunks().Stats().Disk
	if err := d.keepCollected(t.Context(), d.started.Add(autoEvery/2)); err != nil {
		t.Fatal(err)
	}
	if now := d.store.Chunks().Stats().Disk; now < full {
		t.Errorf("half a day later %d of %d bytes are left", now, full)
	}
	must(t, d, "store auto off")
	if err := d.keepCollected(t.Context(), d.started.Add(3*autoEvery)); err != nil {
		t.Fatal(err)
	}
	if now := d.store.Chunks().Stats().Disk; now < full {
		t.Errorf("switched off, %d of %d bytes are left", now, full)
	}
	must(t, d, "store auto on")
	if err := d.keepCollected(t.Context(), d.started.Add(3*autoEvery)); err != nil {
		t.Fatal(err)
	}
	if now := d.store.Chunks().Stats().Disk; now > full/4 {
		t.Errorf("%d of %d bytes are left", now, full)
	}
}

// TestForcedCollectKeepsRemovedVolumes: of a removed volume that can be restored
// nothing is freed because another sharing key than its own cannot read it.
func TestForcedCollectKeepsRemovedVolumes(t *testing.T) {
	d := start(t, "")
	key := [32]byte{1}
	if err := (keyring{d}).Add(t.Context(), "zz", key[:]); err != nil { // tried last
		t.Fatal(err)
	}
	must(t, d, "volume create gone sharing=zz")
	write(t, d, "gone/f", noise(2, 300<<10))
	e, err := volumeObject{d, "gone"}.entry()
	if err != nil {
		t.Fatal(err)
	}
	must(t, d, "volume remove gone")
	before := d.store.Chunks().Stats()
	must(t, d, "store collect force")
	if after := d.store.Chunks().Stats(); after.Chunks != before.Chunks {
		t.Errorf("%+v became %+v", before, after)
	}
	must(t, restart(t, d), "volume restore "+e.ID.String()+" gone sharing=zz")
}
