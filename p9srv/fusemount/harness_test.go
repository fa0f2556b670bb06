package fusemount

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bazil/p9srv"
)

// role names what this binary does when a test runs it as another process.
const role = "FUSEMOUNT_TEST_ROLE"

func TestMain(m *testing.M) {
	if r := os.Getenv(role); r != "" {
		if err := roles[r](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// roles say "ready" on the standard output once they did what they are for,
// and end with their standard input.
var roles = map[string]func(args []string) error{
	"serve": serveRole,
	"lock":  lockRole,
	"mmap":  mmapRole,
	"read":  readRole,
	"mount": mountRole,
	"make":  makeRole,
	"stat":  statRole,

	"user": userRole, "namespace": namespaceRole, "session": sessionRole,
}

func ready() { fmt.Println("ready") }

func untilInputEnds() { io.Copy(io.Discard, os.Stdin) }

// process is this binary in a role.
type process struct {
	*exec.Cmd
	in  io.Closer
	out *bufio.Reader
	err strings.Builder
}

// start runs a role in another process, which ends with the test. Files among
// its arguments become its descriptors from 3 on.
func start(t testing.TB, r string, args ...any) *process {
	t.Helper()
	return startAs(t, os.Getuid(), r, args...)
}

// startAs is start for another user.
func startAs(t testing.TB, uid int, r string, args ...any) *process {
	t.Helper()
	p := &process{Cmd: exec.Command("/proc/self/exe")}
	if uid != os.Getuid() {
		p.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	for _, a := range args {
		if f, ok := a.(*os.File); ok {
			p.ExtraFiles = append(p.ExtraFiles, f)
			a = "inherited"
		}
		p.Args = append(p.Args, fmt.Sprint(a))
	}
	p.Env = append(os.Environ(), role+"="+r)
	p.Stderr = &p.err
	in, err := p.StdinPipe()
	check(t, err)
	out, err := p.StdoutPipe()
	check(t, err)
	p.in, p.out = in, bufio.NewReader(out)
	check(t, p.Start())
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	return p
}

// line is the next line the process says.
func (p *process) line(t testing.TB) string {
	t.Helper()
	s, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v, %s", p.Args, err, p.err.String())
	}
	return strings.TrimSuffix(s, "\n")
}

// ready waits for the process to have done its work.
func (p *process) ready(t testing.TB) {
	t.Helper()
	if s := p.line(t); s != "ready" {
		t.Fatalf("%s said %q", p.Args, s)
	}
}

// finish ends the process and reports its failure.
func (p *process) finish(t testing.TB) {
	t.Helper()
	p.in.Close()
	if err := p.Wait(); err != nil {
		t.Fatalf("%s: %v, %s", p.Args, err, p.err.String())
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needFUSE skips where FUSE cannot be had at all.
func needFUSE(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("this machine has no /dev/fuse")
	}
	if os.Geteuid() != 0 {
		if _, err := fusermountPath(); err != nil {
			t.Skip(err)
		}
	}
}

const deadlineAfter = 100 * time.Second

// deadline ends the whole run if the test takes longer than d: by aborting
// the mount, for threads in it cannot be ended otherwise.
func deadline(t testing.TB, dir string, d time.Duration) {
	timer := time.AfterFunc(d, func() {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		unmount(dir, true)
		panic(t.Name() + " hangs")
	})
	t.Cleanup(func() { timer.Stop() })
}

// served is a tree with a server in this process.
type served struct {
	disk *diskTree
	srv  *p9srv.Server
	sock string

	stop context.CancelFunc
	done chan struct{}
}

func serve(t testing.TB) *served {
	t.Helper()
	s := &served{disk: newDiskTree(t.TempDir()), sock: filepath.Join(t.TempDir(), "sock")}
	s.srv = &p9srv.Server{Tree: s.disk}
	s.begin(t)
	t.Cleanup(s.end)
	return s
}

func (s *served) begin(t testing.TB) {
	t.Helper()
	os.Remove(s.sock)
	l, err := net.Listen("unix", s.sock)
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		s.srv.Serve(ctx, l)
	}()
}

// end cuts all connections.
func (s *served) end() {
	s.stop()
	<-s.done
}

func (s *served) dial(ctx context.Context) (net.Conn, error) { return dialer(s.sock)(ctx) }

// back is the path of a file as the server has it.
func (s *served) back(name string) string { return filepath.Join(s.disk.Dir, name) }

// logTo shows what is logged if the test fails.
func logTo(t testing.TB) *slog.Logger {
	var mu sync.Mutex
	over := false
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	})
	return slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			t.Log(strings.TrimSpace(string(p)))
		}
		return len(p), nil
	}), nil))
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// mount mounts a server's tree until the test ends.
func (s *served) mount(t testing.TB, o Options) (*Mounted, string) {
	t.Helper()
	needFUSE(t)
	dir := t.TempDir()
	if o.Dial == nil {
		o.Dial = s.dial
	}
	o.Log = logTo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := Mount(ctx, dir, o)
	check(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	deadline(t, dir, deadlineAfter)
	return m, dir
}

// mounted is a mount of a fresh tree.
func mounted(t testing.TB, o Options) (s *served, dir string) {
	t.Helper()
	s = serve(t)
	_, dir = s.mount(t, o)
	return s, dir
}

// isMounted says whether something is mounted at dir.
func isMounted(t testing.TB, dir string) bool {
	t.Helper()
	kind, _, err := MountedAt(dir)
	check(t, err)
	return kind != ""
}

// statOf is stat(2).
func statOf(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return st
}

// inMemory makes an entry of the served tree lead to a folder in memory: it
// is fast with many files, and takes larger attributes than ext4.
func inMemory(t testing.TB, s *served) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fusemount")
	if err != nil {
		t.Skip("this machine has no /dev/shm: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.disk.aside.Store(&dir)
	return asideName
}

// run runs a script in a folder of a mount. The shell goes there itself: a
// process that mounts must not have its children start there, for until they
// have, it does not answer.
func run(t *testing.T, dir, script string, env ...string) {
	t.Helper()
	cmd := exec.Command("bash", "-e", "-c", "set -o pipefail; cd "+dir+"\n"+script)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
