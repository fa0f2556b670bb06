package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// patience is how long a script waits for what must happen soon; a guest's
// clock is a slow one.
const patience = 2 * time.Minute

// TestScripts runs testdata/script against the real binary.
func TestScripts(t *testing.T) {
	t.Parallel()
	runScripts(t, scripts(t, ""))
}

// TestInGuestScripts runs those that mount something where that is v9fs.
func TestInGuestScripts(t *testing.T) {
	inGuest(t)
	runScripts(t, scripts(t, "mounts]"))
}

// scripts are the scripts that have a text in them.
func scripts(t *testing.T, text string) (with []string) {
	all, err := filepath.Glob("testdata/script/*.txtar")
	must(t, err)
	for _, name := range all {
		script, err := os.ReadFile(name)
		must(t, err)
		if strings.Contains(string(script), text) {
			with = append(with, name)
		}
	}
	if len(with) == 0 {
		t.Fatalf("no script has %q", text)
	}
	return with
}

// runScripts gives scripts these commands beside testscript's own:
//
//	spawn NAME PATTERN PROGRAM ARG...   start a program, wait until a line of
//	                                    its output matches; what the pattern's
//	                                    group matched becomes $NAME
//	finish NAME SIGNAL                  send it a signal; it must exit with 0
//	fails STATUS PROGRAM ARG...         the program must exit with that status
//	session FILE                        see session_test.go
//
// and the condition [mounts]: volumes can be mounted here.
func runScripts(t *testing.T, files []string) {
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[spawned{}] = make(map[string]*child)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Setenv("BAZIL_DATA_DIR", filepath.Join(e.WorkDir, "data"))
			e.Defer(func() { unmountBelow(e.WorkDir) })
			return nil
		},
		Condition: func(c string) (bool, error) {
			if c != "mounts" {
				return false, errors.New("unknown condition " + c)
			}
			_, err := os.Stat("/dev/fuse")
			return err == nil || os.Getenv("BAZIL_GUEST") != "", nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"spawn": spawn, "finish": finish, "fails": fails, "session": session,
		},
	})
}

// unmountBelow takes all mounts below dir away.
func unmountBelow(dir string) {
	table, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			unix.Unmount(strings.ReplaceAll(f[1], `\040`, " "), unix.MNT_DETACH)
		}
	}
}

// spawned is the key of a script's children.
type spawned struct{}

// child is a program that runs beside a script.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when all its output was read

	mu   sync.Mutex // guards said
	said []string
}

// read takes in the child's output, and gives what pattern's last group
// matched first.
func (c *child) read(out io.Reader, pattern *regexp.Regexp, found chan<- string) {
	defer close(c.done)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		c.mu.Lock()
		c.said = append(c.said, lines.Text())
		c.mu.Unlock()
		if m := pattern.FindStringSubmatch(lines.Text()); m != nil {
			select {
			case found <- m[len(m)-1]:
			default:
			}
		}
	}
}

// log logs what the child has said since the last time. A script's log is its
// own goroutine's.
func (c *child) log(ts *testscript.TestScript, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.said {
		ts.Logf("[%s] %s", name, line)
	}
	c.said = nil
}

func spawn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: spawn name pattern program arg...")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	cmd := exec.Command(args[2], args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{}
	for _, key := range []string{"PATH", "HOME", "BAZIL_DATA_DIR", "TMPDIR", "GORACE"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	cmd.Stderr = cmd.Stdout
	ts.Check(cmd.Start())
	c := &child{cmd: cmd, done: make(chan struct{})}
	ts.Value(spawned{}).(map[string]*child)[args[0]] = c
	ts.Defer(func() { cmd.Process.Kill(); <-c.done; cmd.Wait() })
	found := make(chan string, 1)
	go c.read(out, pattern, found)
	defer c.log(ts, args[0])
	select {
	case got := <-found:
		ts.Setenv(args[0], got)
	case <-c.done:
		ts.Fatalf("%s ended and never said %s", args[0], args[1])
	case <-time.After(patience):
		ts.Fatalf("%s did not say %s", args[0], args[1])
	}
}

func finish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: finish name signal")
	}
	c := ts.Value(spawned{}).(map[string]*child)[args[0]]
	if c == nil {
		ts.Fatalf("%s was not spawned", args[0])
	}
	defer c.log(ts, args[0])
	ts.Check(c.cmd.Process.Signal(unix.SignalNum("SIG" + args[1])))
	select {
	case <-c.done:
	case <-time.After(patience):
		c.cmd.Process.Signal(syscall.SIGQUIT) // tells where it stands
		<-c.done
		ts.Fatalf("%s does not end", args[0])
	}
	if err := c.cmd.Wait(); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
}

func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails status program arg...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != want {
		ts.Fatalf("%s: %v, want exit status %d", strings.Join(args[1:], " "), err, want)
	}
}
