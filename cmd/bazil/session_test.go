package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A session is what somebody typed at several shells, and what they saw:
//
//	white$ bazil debug pubkey
//
// is a command for the shell white, which runs in the folder white and has
// that as its home. It must succeed. Lines without a prompt must be among what
// that shell says from the command on, or soon. In both, @NAME@ stands for
// something: in a line that is expected for digits, which are remembered under
// the name, in a command for those digits. Empty lines mean nothing.
type transcript struct {
	ts     *testscript.TestScript
	shells map[string]*prompt
	names  map[string]string
}

var (
	promptLine = regexp.MustCompile(`^(\w+)\$ (.*)$`)
	remembered = regexp.MustCompile(`@(\w+)@`)
)

func session(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: session file")
	}
	s := &transcript{ts: ts, shells: make(map[string]*prompt), names: make(map[string]string)}
	ts.Defer(s.end)
	var last *prompt
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		line = strings.TrimSuffix(line, "\n")
		switch m := promptLine.FindStringSubmatch(line); {
		case m != nil:
			last = s.shell(m[1])
			ts.Logf("%s", line)
			s.command(last, remembered.ReplaceAllStringFunc(m[2], s.recall))
		case line != "":
			s.expect(last, line)
		}
	}
}

// recall is what @NAME@ stands for in a command.
func (s *transcript) recall(at string) string { return s.names[strings.Trim(at, "@")] }

func (s *transcript) shell(name string) *prompt {
	if s.shells[name] == nil {
		sh, err := startShell(s.ts, name)
		s.ts.Check(err)
		s.shells[name] = sh
	}
	return s.shells[name]
}

// command runs a command and waits for its end.
func (s *transcript) command(sh *prompt, command string) {
	sh.count++
	mark := fmt.Sprintf("<done %d ", sh.count)
	sh.forget()
	fmt.Fprintf(sh.in, "%s\necho '%s'$?\n", command, mark)
	line, ok := sh.wait(regexp.MustCompile("^" + mark + `\d+$`))
	if !ok || line[0] != mark+"0" {
		s.ts.Fatalf("%s$ %s\nfailed, or did not end; it said %q", sh.name, command, sh.said())
	}
}

// expect waits until the shell has said a line.
func (s *transcript) expect(sh *prompt, line string) {
	var names []string
	pattern := remembered.ReplaceAllStringFunc(regexp.QuoteMeta(line), func(at string) string {
		names = append(names, strings.Trim(at, "@"))
		return `(\d+)`
	})
	// Where there is no IPv6, a listener on all addresses has another name.
	pattern = strings.Replace(pattern, `\[::\]`, `(?:\[::\]|0\.0\.0\.0)`, 1)
	m, ok := sh.wait(regexp.MustCompile("^" + pattern + "$"))
	if !ok {
		s.ts.Fatalf("%s did not say %q, but %q", sh.name, line, sh.said())
	}
	for i, name := range names {
		s.names[name] = m[i+1]
	}
}

func (s *transcript) end() {
	for _, sh := range s.shells {
		sh.end()
	}
}

// prompt is a running bash.
type prompt struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	count int // of commands

	mu    sync.Mutex // guards what follows
	lines []string   // said since the last command
	more  chan struct{}
	over  bool
}

func startShell(ts *testscript.TestScript, name string) (*prompt, error) {
	home := filepath.Join(ts.Getenv("WORK"), name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.Command("bash", "--norc", "--noprofile")
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR"), "GORACE=" + ts.Getenv("GORACE")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	sh := &prompt{name: name, cmd: cmd, in: in, more: make(chan struct{})}
	err = cmd.Start()
	w.Close()
	go sh.read(r)
	return sh, err
}

func (sh *prompt) read(r *os.File) {
	defer r.Close()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		sh.say(func() { sh.lines = append(sh.lines, lines.Text()) })
	}
	sh.say(func() { sh.over = true })
}

// say changes what the shell has said and wakes who waits for it.
func (sh *prompt) say(change func()) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	change()
	close(sh.more)
	sh.more = make(chan struct{})
}

// said is what the shell said since its last command.
func (sh *prompt) said() []string {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return slices.Clone(sh.lines)
}

func (sh *prompt) forget() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.lines = nil
}

// wait waits for a line that matches, and returns its submatches.
func (sh *prompt) wait(pattern *regexp.Regexp) ([]string, bool) {
	limit := time.After(patience)
	for {
		sh.mu.Lock()
		for _, line := range sh.lines {
			if m := pattern.FindStringSubmatch(line); m != nil {
				sh.mu.Unlock()
				return m, true
			}
		}
		more, over, said := sh.more, sh.over, sh.lines
		sh.mu.Unlock()
		if over {
			return said, false
		}
		select {
		case <-more:
		case <-limit:
			return said, false
		}
	}
}

// end ends the shell and all that it started.
func (sh *prompt) end() {
	sh.in.Close()
	syscall.Kill(-sh.cmd.Process.Pid, syscall.SIGKILL)
	sh.cmd.Wait()
}
