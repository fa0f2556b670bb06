package main

import (
	"bytes"
	"context"
	stdflag "flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bazil/noiseconn/noisetest"
	"bazil/p9srv/client"
)

// The measurement of syncing takes minutes and is made by hand, on a machine
// that does nothing else, in a network namespace of its own so that the bytes
// on loopback are its own too:
//
//	go test -c -o bazil.test ./cmd/bazil
//	TMPDIR=/dev/shm unshare -n sh -c 'ip link set lo up; ./bazil.test -test.run TestSyncSpeed -test.v -syncspeed a,b,c'
//
// Two servers run as processes, white with the change and black that gets it.
// Of the most memory that a server had, RSS, a part are pages of its Bolt files,
// which the kernel takes back when it needs them; anon are the others. Both
// stand there from when white's files were taken in.
//
// What white has is durable before the clock runs, but for changes that are
// followed: there it runs from before the file is written on white's mount
// until black's mount shows it.
var (
	speedCases = stdflag.String("syncspeed", "", "cases of syncing to measure: a one large file and its rename, b 10,000 small files, c 100,000 and one change, m 1,000,000 and one change, w and x 100,000 and 1,000,000 in one directory, and one change, k 100,000 conflicts")
	speedDelay = stdflag.Duration("syncdelay", 0, "how long each byte is under way, each way; loopback then carries all twice")
	speedBig   = stdflag.Int("syncbig", 1024, "MiB of the large file")
)

func TestSyncSpeed(t *testing.T) {
	if *speedCases == "" {
		t.Skip("-syncspeed says what to measure")
	}
	fmt.Printf("%-44s %9s %9s %7s %7s %7s %7s %7s %7s\n", "case", "seconds", "MB sent", "CPU w", "CPU b", "RSS w", "RSS b", "anon w", "anon b")
	for _, c := range strings.Split(*speedCases, ",") {
		run, ok := map[string]func(*testing.T, *speedPair){
			"a": speedLarge, "b": speedSmall, "k": speedConflicts,
			"c": func(t *testing.T, p *speedPair) { speedMany(t, p, 1000, 100) },
			"m": func(t *testing.T, p *speedPair) { speedMany(t, p, 10000, 100) },
			"w": func(t *testing.T, p *speedPair) { speedMany(t, p, 1, 100000) },
			"x": func(t *testing.T, p *speedPair) { speedMany(t, p, 1, 1000000) },
		}[c]
		if !ok {
			t.Fatalf("no case %q", c)
		}
		t.Run(c, func(t *testing.T) { run(t, newSpeedPair(t)) })
	}
}

// speedPair is the two servers.
type speedPair struct {
	white, black *device
	key          string // white's
}

// speedFlags keep the cache small, so that the figures of memory are those of
// syncing.
var speedFlags = []string{"-cache=64M"}

func newSpeedPair(t *testing.T) *speedPair {
	p := &speedPair{}
	for _, d := range []**device{&p.white, &p.black} {
		*d = &device{dir: filepath.Join(t.TempDir(), "data")}
		(*d).run(t, "create")
		(*d).start(t, append(speedFlags, "-addr=127.0.0.1:0")...)
		t.Cleanup(func() { (*d).kill(syscall.SIGTERM) })
	}
	addr := p.white.addr
	if *speedDelay > 0 {
		addr = noisetest.Far(t, addr, *speedDelay)
	}
	p.key = befriend(t, p.white, p.black, "v", addr, noise(9, 32))
	return p
}

// measure tells what f cost.
func (p *speedPair) measure(t *testing.T, name string, f func()) {
	t.Helper()
	for _, d := range []*device{p.white, p.black} {
		must(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", d.server.Process.Pid), []byte("5"), 0)) // forgets the peak
	}
	anon := watchAnon(t, p.white, p.black)
	sent, white, black, began := loopbackBytes(t), cpuOf(t, p.white), cpuOf(t, p.black), time.Now()
	f()
	took := time.Since(began)
	most := anon()
	fmt.Printf("%-44s %9.3f %9.2f %7.2f %7.2f %7d %7d %7d %7d\n", name, took.Seconds(), float64(loopbackBytes(t)-sent)/1e6,
		cpuOf(t, p.white)-white, cpuOf(t, p.black)-black, memoryOf(t, p.white, "VmHWM"), memoryOf(t, p.black, "VmHWM"), most[0], most[1])
}

// watchAnon begins to look at the memory of servers that is no mapped file,
// which the kernel takes back when it needs it. What it returns ends that, and
// tells the most that it has seen of each, in MiB.
func watchAnon(t *testing.T, devices ...*device) (most func() []int) {
	t.Helper()
	out := make([]int, len(devices))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			for i, d := range devices {
				out[i] = max(out[i], memoryOf(t, d, "RssAnon"))
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() []int {
		close(stop)
		<-done
		return out
	}
}

func (p *speedPair) sync(t *testing.T) {
	t.Helper()
	p.black.run(t, "volume", "sync", "v", "white")
}

// loopbackBytes are those that loopback has carried.
func loopbackBytes(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/net/dev")
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "lo:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			must(t, err)
			return n
		}
	}
	return 0
}

// cpuOf is the processor time that a server has taken, in seconds.
func cpuOf(t *testing.T, d *device) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.server.Process.Pid))
	must(t, err)
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err := strconv.Atoi(f[11])
	must(t, err)
	system, err := strconv.Atoi(f[12])
	must(t, err)
	return float64(user+system) / 100
}

// memoryOf is one of the figures of a server's memory, in MiB: VmHWM is the most
// that it has had since measure began.
func memoryOf(t *testing.T, d *device, figure string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.server.Process.Pid))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == figure+":" {
			n, err := strconv.Atoi(f[1])
			must(t, err)
			return n >> 10
		}
	}
	return 0
}

// plant makes files below directories of white's volume, and returns when they
// are durable.
func (p *speedPair) plant(t *testing.T, dirs, files, size int) {
	t.Helper()
	ctx := context.Background()
	root := p.white.attach(t, "v")
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				name := fmt.Sprintf("d%04d", i)
				_, err := root.Mkdir(ctx, name, 0o755, 0)
				must(t, err)
				dir, err := root.Walk(ctx, name)
				must(t, err)
				for j := range files {
					must(t, plantFile(dir, fmt.Sprintf("f%06d", j), noise(uint64(i*files+j), size)))
				}
				must(t, dir.Clunk(ctx))
			}
		})
	}
	for i := range dirs {
		next <- i
	}
	close(next)
	wg.Wait()
	must(t, put(root, "durable", nil))
}

func plantFile(dir *client.Fid, name string, content []byte) error {
	ctx := context.Background()
	f, err := dir.Walk(ctx)
	if err != nil {
		return err
	}
	defer f.Clunk(ctx)
	if err := f.Create(ctx, name, syscall.O_WRONLY, 0o644, 0); err != nil {
		return err
	}
	_, err = f.WriteAt(ctx, content, 0)
	return err
}

// plantBig makes the large file, and returns when it is durable.
func plantBig(t *testing.T, p *speedPair) {
	t.Helper()
	ctx := context.Background()
	f := p.white.attach(t, "v")
	must(t, f.Create(ctx, "big", syscall.O_WRONLY, 0o644, 0))
	random := rand.NewChaCha8([32]byte{1})
	block := make([]byte, 1<<20)
	for i := range *speedBig {
		random.Read(block)
		_, err := f.WriteAt(ctx, block, int64(i)<<20)
		must(t, err)
	}
	must(t, f.Fsync(ctx, false))
	must(t, f.Clunk(ctx))
}

func speedLarge(t *testing.T, p *speedPair) {
	ctx := context.Background()
	plantBig(t, p)
	root := p.white.attach(t, "v")
	p.measure(t, fmt.Sprintf("a: one file of %d MiB", *speedBig), func() { p.sync(t) })
	must(t, root.RenameAt(ctx, "big", root, "renamed"))
	must(t, put(root, "durable", nil))
	p.measure(t, "d: its rename, by sync", func() { p.sync(t) })
	p.follow(t, "d: its rename, by follow, on the mounts", func(white string, i int) {
		must(t, os.Rename(filepath.Join(white, fmt.Sprintf("renamed%s", strings.Repeat("x", i))), filepath.Join(white, "renamedx"+strings.Repeat("x", i))))
	}, func(black string, i int) bool {
		_, err := os.Stat(filepath.Join(black, "renamedx"+strings.Repeat("x", i)))
		return err == nil
	})
	got, err := get(p.black.attach(t, "v"), "renamedxxxxx", 1<<20)
	if err != nil || !bytes.Equal(got[:100], noiseOf(1, 100)) {
		t.Errorf("black has %d bytes of another content, %v", len(got), err)
	}
}

// noiseOf are the first bytes of the large file.
func noiseOf(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func speedSmall(t *testing.T, p *speedPair) {
	p.plant(t, 100, 100, 4096)
	p.measure(t, "b: 10,000 files of 4 KiB", func() { p.sync(t) })
	p.measure(t, "b: again, nothing changed", func() { p.sync(t) })
	p.wantFiles(t, 10000)
}

// wantFiles checks how many files black has.
func (p *speedPair) wantFiles(t *testing.T, n int) {
	t.Helper()
	want := fmt.Sprintf(" files=%d ", n+1) // and "durable"
	if got := p.black.run(t, "volume", "list", "--records"); !strings.Contains(got, want) {
		t.Errorf("black has other files: %s", got)
	}
}

func speedMany(t *testing.T, p *speedPair, dirs, files int) {
	n := dirs * files
	p.plant(t, dirs, files, 1024)
	p.measure(t, fmt.Sprintf("c: first transfer of %d x 1 KiB", n), func() { p.sync(t) })
	p.wantFiles(t, n)
	root := p.white.attach(t, "v")
	for i := range 3 {
		dir, err := root.Walk(context.Background(), fmt.Sprintf("d%04d", i*37%dirs))
		must(t, err)
		f, err := dir.Walk(context.Background(), fmt.Sprintf("f%06d", i))
		must(t, err)
		must(t, f.Open(context.Background(), syscall.O_WRONLY))
		_, err = f.WriteAt(context.Background(), noise(uint64(i), 900), 0)
		must(t, err)
		must(t, f.Fsync(context.Background(), false))
		must(t, f.Clunk(context.Background()))
		p.measure(t, fmt.Sprintf("c: 1 of %d changed, by sync", n), func() { p.sync(t) })
	}
	name := func(i int) string { return filepath.Join(fmt.Sprintf("d%04d", i*41%dirs), fmt.Sprintf("f%06d", 7+i)) }
	size := func(i int) int { return 1000 + 100*(i+1) }
	p.follow(t, fmt.Sprintf("c: 1 of %d changed, by follow, on the mounts", n), func(white string, i int) {
		must(t, os.WriteFile(filepath.Join(white, name(i)), noise(uint64(i), size(i)), 0o644))
	}, func(black string, i int) bool {
		fi, err := os.Stat(filepath.Join(black, name(i)))
		return err == nil && int(fi.Size()) == size(i)
	})
}

// follow measures how long it takes from a change on white's mount until
// black's mount shows it.
func (p *speedPair) follow(t *testing.T, name string, change func(white string, i int), shows func(black string, i int) bool) {
	t.Helper()
	white, black := p.white.mountAgain(t, "v", "--fuse"), p.black.mountAgain(t, "v", "--fuse")
	p.black.run(t, "volume", "follow", "v", "white")
	for !strings.Contains(p.black.run(t, "status", "--records"), "follow=v peer=white state=live") {
	}
	var took []time.Duration
	for i := range 5 {
		shows(black, i)
		time.Sleep(100 * time.Millisecond) // the servers are idle
		p.measure(t, name, func() {
			began := time.Now()
			for change(white, i); !shows(black, i); time.Sleep(200 * time.Microsecond) {
				if time.Since(began) > time.Minute {
					t.Fatal("the change does not come")
				}
			}
			took = append(took, time.Since(began))
		})
	}
	slices.Sort(took)
	fmt.Printf("    %v in the median\n", took[2].Round(100*time.Microsecond))
	p.black.run(t, "volume", "follow", "v", "white", "off")
	exec.Command("bazil", "unmount", white).Run()
	exec.Command("bazil", "unmount", black).Run()
}
