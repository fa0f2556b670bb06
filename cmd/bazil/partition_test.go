package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	goflag "flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	lives  int // servers so far; w.mu guards it
	log    bytes.Buffer
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
		i.note("started -")
	}
	time.Sleep(pause)
}

// step does one random thing on the mount.
func (i *island) step() {
	name, to := i.path(), ""
	var err error
	switch k := i.rand.IntN(20); {
	case k < 9:
		err = i.write(name)
	case k < 12:
		err = i.remove(name)
	case k < 14 && i.w.moves:
		to = i.path()
		err = i.rename(name, to)
	case k < 15:
		err = os.MkdirAll(filepath.Join(i.mnt, i.dirOrName(name)), 0o755)
	case k < 16:
		err = syscall.Rmdir(filepath.Join(i.mnt, i.dirOrName(name)))
	case k < 17:
		err = os.Chmod(filepath.Join(i.mnt, "mode"), 0o600|os.FileMode(i.rand.IntN(0o100)))
	case k < 18:
		same := fmt.Sprint("same-", i.rand.IntN(5))
		err = os.WriteFile(filepath.Join(i.mnt, same), []byte("what all write to "+same), 0o644)
	default:
		_, err = os.ReadFile(filepath.Join(i.mnt, name))
	}
	if err != nil {
		i.note("failed %s %s: %v", name, to, err)
		i.w.mu.Lock()
		defer i.w.mu.Unlock()
		i.w.failed++
	}
}

// note adds a line to the trace, of which the second word is a name.
func (i *island) note(format string, args ...any) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.trace = append(i.w.trace, fmt.Sprintf("%s island %d: ", time.Now().Format("05.000"), i.number)+fmt.Sprintf(format, args...))
}

func (i *island) life() int {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	return i.lives
}

func (i *island) nextLife() {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.lives++
}

// slip notes that what held a name, f, was lost with the server, if it was
// since life. unlink(2) and rename(2) take whatever a name shows when they are
// done, and only an open file keeps that what it was; so where that came to an
// end they may have taken one content that came from elsewhere meanwhile, as
// they would on any disk. What is written to a file has no such excuse: a
// handle that cannot be what it was must refuse.
func (i *island) slip(f *os.File, name string, life int) {
	if i.life() == life || f.Sync() == nil {
		return
	}
	i.note("slip %s", name)
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.slips = append(i.w.slips, step{name: name, at: len(i.w.trace)})
}

// excused says whether a removal may have taken a content that it did not see,
// and uses that removal up: it takes one.
func (w *islands) excused(token string) bool {
	b := w.born[token]
	names := map[string]bool{b.name: true}
	for _, m := range w.moved {
		if m.at >= b.at && names[m.name] {
			names[m.to] = true
		}
	}
	for n, s := range w.slips {
		if s.at >= b.at && names[s.name] {
			w.slips = slices.Delete(w.slips, n, n+1)
			return true
		}
	}
	return false
}

// dirOrName is name or, three times of four, its directory: most names are to
// be files, and their directories there.
func (i *island) dirOrName(name string) string {
	if i.rand.IntN(4) == 0 {
		return name
	}
	return filepath.Dir(name)
}

func (i *island) path() string {
	dirs := []string{"", "a", "a/b", "c"}
	return filepath.Join(dirs[i.rand.IntN(len(dirs))], string(rune('p'+i.rand.IntN(5))))
}

// tokenLen is how long what tells contents apart is.
const tokenLen = 12

// fresh is a content that nobody has had.
func (i *island) fresh() (token string, content []byte) {
	i.w.mu.Lock()
	i.w.count++
	token = fmt.Sprintf("%d-%08d-%s", i.number, i.w.count, ".")[:tokenLen]
	i.w.mu.Unlock()
	sizes := []int{0, 100, 5000, 70000, 300000}
	return token, append([]byte(token), bytes.Repeat([]byte(token), sizes[i.rand.IntN(len(sizes))]/tokenLen)...)
}

func tokenOf(f io.ReaderAt) (string, error) {
	b := make([]byte, tokenLen)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return string(b[:n]), err
}

// seize opens what a name shows for writing, which keeps the name showing it:
// what is done to the name then is done to that.
func (i *island) seize(name string, flags int) (f *os.File, old string, err error) {
	f, err = os.OpenFile(filepath.Join(i.mnt, name), os.O_RDWR|flags, 0o644)
	if err != nil {
		return nil, "", err
	}
	if old, err = tokenOf(f); err != nil { // it may be where nobody can reach it now
		f.Close()
		return nil, "", err
	}
	i.note("seized %s, %q is there", name, old)
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	if old != "" {
		i.w.over[old] = true
	}
	return f, old, nil
}

// done notes that what replaced old is durable.
func (i *island) done(what, name, old, fresh string) {
	i.note("%s %s, %q was there, now %q", what, name, old, fresh)
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.effects[what]++
	if old != "" && i.w.acked[old] {
		i.w.gone[old] = true
	}
	if fresh != "" {
		i.w.acked[fresh] = true
		i.w.born[fresh] = step{name: name, at: len(i.w.trace)}
	}
}

func (i *island) write(name string) error {
	f, old, err := i.seize(name, os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	token, content := i.fresh()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	i.done("write", name, old, token)
	return nil
}

func (i *island) remove(name string) error {
	life := i.life()
	f, old, err := i.seize(name, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	defer i.slip(f, name, life)
	if err := os.Remove(filepath.Join(i.mnt, name)); err != nil {
		return err
	}
	if err := i.syncDir(name); err != nil {
		return err
	}
	i.done("remove", name, old, "")
	return nil
}

// rename moves a file, whose content stays what it is, over another, which is
// made if it is not there: it could come from elsewhere at any moment.
func (i *island) rename(from, to string) error {
	life := i.life()
	f, old, err := i.seize(to, os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	defer i.slip(f, to, life)
	i.move(from, to)
	if err := os.Rename(filepath.Join(i.mnt, from), filepath.Join(i.mnt, to)); err != nil {
		return err
	}
	if err := i.syncDir(to); err != nil {
		return err
	}
	i.done("rename", from+" to "+to, old, "")
	return nil
}

// move notes that what is at from may be at to from now on.
func (i *island) move(from, to string) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.moved = append(i.w.moved, step{name: from, to: to, at: len(i.w.trace)})
}

func (i *island) syncDir(name string) error {
	d, err := os.Open(filepath.Dir(filepath.Join(i.mnt, name)))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// gossip lets every device hear of all others, twice, in a ring. One that is
// connecting since the network was cut goes on failing for a while.
func (w *islands) gossip() {
	for range 2 {
		for n, i := range w.all {
			must(w.t, i.eventually(func() error {
				out, err := i.try("volume", "sync", "files", fmt.Sprint("island", (n+2)%3))
				if err != nil {
					w.t.Logf("island %d: %s", i.number, out)
				}
				return err
			}))
		}
	}
}

// state is what a device has: for each path what it is, and for files the
// contents of all versions.
type state map[string]string

// rest heals everything and looks at what has become of it.
func (w *islands) rest() {
	w.wire.set(0, 0, -1)
	for _, i := range w.all { // a mount that lost its server tells of it once, by an error
		must(w.t, i.eventually(func() error { return exec.Command("sync", "-f", i.mnt).Run() }))
	}
	w.gossip()
	want := w.all[0].state()
	have := map[string]bool{}
	for _, s := range want {
		for _, token := range strings.Fields(s) {
			have[token] = true
		}
	}
	for _, i := range w.all[1:] {
		if got := i.state(); !maps.Equal(got, want) {
			w.t.Errorf("island %d has\n%v\nisland 0\n%v", i.number, got.minus(want), want.minus(got))
		}
	}
	lost, back, excused := 0, 0, 0
	for _, token := range slices.Sorted(maps.Keys(w.acked)) {
		switch {
		case have[token] || w.over[token]:
		case w.excused(token):
			excused++
			w.t.Logf("%s was perhaps removed by one whose server was killed; -partition.trace keeps what is needed to see that", token)
		default:
			w.t.Errorf("%s is lost:\n%s", token, w.story(token))
			lost++
		}
	}
	for token := range w.gone {
		if have[token] && !w.moves {
			w.t.Errorf("%s is back:\n%s", token, w.story(token))
			back++
		}
	}
	conflicts := 0
	for path, s := range want {
		if strings.Contains(s, "conflict") {
			conflicts++
		}
		all := strings.HasPrefix(path, "same-") && !strings.Contains(s, emptyFile) // as one is who was killed before it wrote
		if strings.Contains(s, "conflict") && (all || path == "mode") {
			w.t.Errorf("%s is in conflict though all wrote the same: %s", path, s)
		}
		if strings.Contains(path, ".conflict-") {
			w.t.Errorf("%s litters the tree", path)
		}
	}
	w.t.Logf("%v done, %d failed, %d servers killed, %d cuts; %d contents acknowledged, %d replaced; %d removals slipped, %d contents for that; %d paths, %d in conflict; moves %v",
		w.effects, w.failed, w.kills, w.cuts, len(w.acked), len(w.gone), len(w.slips)+excused, excused, len(want), conflicts, w.moves)
}

// story is what was done to the names that had a content, and to the servers.
func (w *islands) story(token string) string {
	names := map[string]bool{"-": true}
	var out []string
	for pass := range 2 {
		for _, line := range w.trace {
			words := strings.Fields(line)[4:]
			for n := range words {
				words[n] = strings.Trim(words[n], ",:")
			}
			if strings.Contains(line, token) {
				names[words[0]] = true
			}
			if pass == 1 && slices.ContainsFunc(words, func(word string) bool { return names[word] }) {
				out = append(out, line)
			}
		}
	}
	return strings.Join(out, "\n")
}

// emptyFile is the summary of a file without content.
const emptyFile = `""`

// eventually tries again while a mount finds its server.
func (i *island) eventually(f func() error) (err error) {
	for range 100 {
		if err = f(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func (s state) minus(o state) (out []string) {
	for path, what := range s {
		if o[path] != what {
			out = append(out, path+": "+what)
		}
	}
	slices.Sort(out)
	return out
}

func (i *island) state() state {
	w, s := i.w, state{}
	must(w.t, filepath.WalkDir(i.mnt, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == i.mnt {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(i.mnt, path)
		s[rel] = fmt.Sprintf("%v", info.Mode())
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("island %d: %w", i.number, err)
			}
			s[rel] += " " + summary(b)
		}
		return nil
	}))
	i.siblings(s)
	return s
}

// summary is the token of a content, if it is whole.
func summary(b []byte) string {
	if len(b) < tokenLen {
		return fmt.Sprintf("%q", b)
	}
	if token := b[:tokenLen]; bytes.Equal(b, bytes.Repeat(token, len(b)/tokenLen)) {
		return string(token)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// siblings puts all versions of the names in conflict in the place of what the
// tree shows, which may differ from device to device.
func (i *island) siblings(s state) {
	w := i.w
	var all []conflict
	must(w.t, json.Unmarshal([]byte(i.run("conflicts", "--json")), &all))
	if len(all) == 0 {
		return
	}
	tree := filepath.Join(w.t.TempDir(), "tree")
	must(w.t, os.MkdirAll(tree, 0o755))
	i.run("mount", "--fuse", tree)
	defer i.run("unmount", tree)
	for _, c := range all {
		var contents []string
		for _, v := range c.Siblings {
			b, err := os.ReadFile(filepath.Join(tree, v.File))
			if err != nil {
				w.t.Errorf("island %d: %s: %v", i.number, v.File, err)
			}
			contents = append(contents, summary(b))
		}
		slices.Sort(contents)
		if len(slices.Compact(slices.Clone(contents))) < len(contents) {
			w.t.Errorf("island %d: %s is in conflict though two versions are equal: %s", i.number, c.Path, contents)
		}
		s[c.Path] = "conflict " + strings.Join(contents, " ")
	}
}
