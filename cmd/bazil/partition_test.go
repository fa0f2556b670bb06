package main

import (
	"bytes"
	goflag "flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	partitionTime = goflag.Duration("partition.time", 20*time.Second, "how long TestPartitions goes on")
	partitionSeed = goflag.Uint64("partition.seed", 0, "the seed of TestPartitions; 0: a new one")
	partitionLog  = goflag.String("partition.trace", "", "a file for all that TestPartitions did, in order")
)

// TestPartitions runs three servers in network namespaces of their own, over a
// network that loses, delays and is cut, with a mount each that is written at
// random, and kills servers. At the end, the network being whole, gossip must
// make all of them the same: no write that fsync acknowledged is gone unless
// somebody who saw it has replaced it, nothing that was replaced is there
// again, and nothing is in conflict that is equal. The seed replays what is
// tried; when it happens is the machine's.
func TestPartitions(t *testing.T) {
	seed := *partitionSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test ./cmd/bazil -run TestPartitions -partition.time=%v -partition.seed=%d", *partitionTime, seed)
	w := newIslands(t, seed)
	end := time.Now().Add(*partitionTime)
	var busy sync.WaitGroup
	for _, i := range w.all {
		busy.Go(func() {
			for time.Now().Before(end) {
				i.step()
			}
		})
	}
	for time.Now().Before(end) {
		w.trouble()
	}
	busy.Wait()
	if *partitionLog != "" {
		must(t, os.WriteFile(*partitionLog, []byte(strings.Join(w.trace, "\n")), 0o644))
	}
	w.rest()
}

// islands is the three devices and what is known of their contents.
type islands struct {
	t     *testing.T
	wire  *wire
	rand  *rand.Rand
	all   []*island
	moves bool // files are renamed: then what was replaced may live on elsewhere

	mu      sync.Mutex // guards all below
	count   int
	acked   map[string]bool // contents that fsync acknowledged
	over    map[string]bool // contents that somebody has replaced, or tried to
	gone    map[string]bool // contents whose replacement fsync acknowledged
	kills   int
	cuts    int
	failed  int // operations that ended with an error
	sights  int // files that were compared with what the server has
	effects map[string]int
	trace   []string // what was done, for what is lost or back

	born  map[string]step // where contents were written
	moved []step          // renames that were tried
	slips []step          // removals that may have taken what came meanwhile
}

// step is an operation, and how long the trace was then.
type step struct {
	name, to string
	at       int
}

// island is a device: its server runs in a namespace.
type island struct {
	w      *islands
	number int
	dir    string // data directory
	mnt    string
	rand   *rand.Rand

	server *exec.Cmd
	lives  int // ends and beginnings of its server so far, odd while it is away; w.mu guards it
	log    serverLog
}

// serverLog is what a device's servers have logged.
type serverLog struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const islandPort = "34211"

func newIslands(t *testing.T, seed uint64) *islands {
	w := &islands{t: t, rand: rand.New(rand.NewPCG(seed, 2)), acked: map[string]bool{}, over: map[string]bool{},
		gone: map[string]bool{}, effects: map[string]int{}, born: map[string]step{}}
	w.wire = newWire(t, 3, seed)
	w.moves = seed%2 == 0
	for n := range w.wire.places {
		i := &island{w: w, number: n, dir: filepath.Join(t.TempDir(), "data"), rand: rand.New(rand.NewPCG(seed, 10+uint64(n)))}
		w.all = append(w.all, i)
		i.run("create")
		i.start()
		t.Cleanup(i.stop)
	}
	w.join()
	for _, i := range w.all {
		i.mnt = filepath.Join(t.TempDir(), "mnt")
		must(t, os.Mkdir(i.mnt, 0o755))
		i.run("volume", "mount", "--fuse", "files", i.mnt)
		t.Cleanup(func() { syscall.Unmount(i.mnt, syscall.MNT_DETACH) })
	}
	must(t, os.MkdirAll(filepath.Join(w.all[0].mnt, "a", "b"), 0o755))
	must(t, os.WriteFile(filepath.Join(w.all[0].mnt, "mode"), []byte("all set its mode"), 0o644))
	must(t, exec.Command("sync", "-f", w.all[0].mnt).Run())
	w.gossip()
	return w
}

// join makes the three know each other, share a volume and follow it.
func (w *islands) join() {
	key := filepath.Join(w.t.TempDir(), "key")
	must(w.t, os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600))
	keys := make([]string, len(w.all))
	for n, i := range w.all {
		keys[n] = i.run("pubkey")
		i.run("ctl", "sharing", "add", "k", key)
	}
	w.all[0].run("volume", "create", "--sharing=k", "files")
	for n, i := range w.all {
		for m, k := range keys {
			if m != n {
				i.run("peer", "add", k, fmt.Sprint("island", m))
				i.run("peer", "location", "set", k, placeAddr(m)+":"+islandPort)
				i.run("peer", "storage", "allow", k, "local")
			}
		}
	}
	for m := 1; m < len(keys); m++ {
		w.all[0].run("peer", "volume", "allow", keys[m], "files")
	}
	for n, i := range w.all {
		if n > 0 {
			i.run("volume", "connect", "--sharing=k", keys[0], "files")
		}
		for m, k := range keys {
			if m != n {
				i.run("peer", "volume", "allow", k, "files")
				i.run("volume", "follow", "files", k)
			}
		}
	}
}

// start starts the server in its namespace and waits until it listens.
func (i *island) start() {
	w := i.w
	i.server = exec.Command("bazil", "-data-dir="+i.dir, "server", "run", "--addr="+placeAddr(i.number)+":"+islandPort, "--read-deadline=5s")
	i.server.Stderr = &i.log
	out, err := i.server.StdoutPipe()
	must(w.t, err)
	must(w.t, w.wire.in(i.number, i.server.Start))
	said := make([]byte, 256)
	if n, err := out.Read(said); err != nil || !bytes.Contains(said[:n], []byte("Listening")) {
		w.t.Fatalf("island %d does not start: %s, %v\n%s", i.number, said[:n], err, i.log.String())
	}
}

func (i *island) stop() {
	if i.server != nil {
		i.server.Process.Kill()
		i.server.Wait()
	}
}

// run runs a command for the device.
func (i *island) run(args ...string) string {
	i.w.t.Helper()
	out, err := i.try(args...)
	if err != nil {
		i.w.t.Fatalf("island %d: bazil %s: %v\n%s", i.number, strings.Join(args, " "), err, out)
	}
	return out
}

func (i *island) try(args ...string) (string, error) {
	out, err := exec.Command("bazil", append([]string{"-data-dir=" + i.dir}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// trouble does something to the network or to a server.
func (w *islands) trouble() {
	pause := time.Duration(500+w.rand.IntN(2500)) * time.Millisecond
	victim := w.rand.IntN(len(w.all))
	switch w.rand.IntN(4) {
	case 0:
		w.wire.set(0, 0, -1)
	case 1:
		w.wire.set(0.02, time.Duration(w.rand.IntN(40))*time.Millisecond, -1)
	case 2:
		w.cuts++
		w.wire.set(0, time.Millisecond, victim)
	case 3:
		w.kills++
		i := w.all[victim]
		i.nextLife()
		i.note("killed -")
		i.server.Process.Kill()
		i.server.Wait()
		time.Sleep(pause / 4) // it is away for that long
		i.start()
		i.nextLife()
		i.note("started -")
	}
	time.Sleep(pause)
}
