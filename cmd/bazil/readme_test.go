package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// readme returns the blocks of README.md that are marked run=NAME.
func readme(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	must(t, err)
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```\\w+ run=(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if m[1] == name {
			blocks = append(blocks, m[2])
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("README.md has no block run=%s", name)
	}
	return blocks
}

// goEnv keeps go's caches where they are when HOME moves.
func goEnv(t *testing.T, home string) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE", "GOPATH").Output()
	must(t, err)
	f := strings.Fields(string(out))
	return append(os.Environ(), "HOME="+home, "XDG_DATA_HOME=", "GOCACHE="+f[0], "GOPATH="+f[1])
}

func TestReadmeUp(t *testing.T) {
	needFUSE(t)
	home := t.TempDir()
	cmd := exec.Command("bash", "-c", "exec "+readme(t, "up")[0])
	cmd.Dir, cmd.Env = "../..", goEnv(t, home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	must(t, cmd.Start())
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	said := waitLine(t, bufio.NewScanner(out), "Ctrl-C")
	mnt := filepath.Join(home, "bazil")
	defer syscall.Unmount(mnt, syscall.MNT_DETACH)
	if got := mountType(t, mnt); !isOurs(got) {
		t.Fatalf("at %s there is a %s:\n%s", mnt, got, said)
	}
	files := filepath.Join(mnt, "greeting")
	must(t, os.WriteFile(files, []byte("hello\n"), 0o644))
	wantFile(t, files, "hello\n")
	must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	cmd.Wait()
	if got := mountType(t, mnt); isOurs(got) {
		t.Fatalf("still mounted (%s) after an interrupt", got)
	}
}

// waitLine reads lines until one holds text, and returns them.
func waitLine(t *testing.T, lines *bufio.Scanner, text string) string {
	t.Helper()
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), text) {
			return strings.Join(said, "\n")
		}
	}
	t.Fatalf("it ended before it said %q:\n%s", text, strings.Join(said, "\n"))
	return ""
}

func TestReadmeWalkthrough(t *testing.T) {
	needFUSE(t)
	readmeWalkthrough(t)
}

func TestInGuestReadmeWalkthrough(t *testing.T) {
	inGuest(t)
	readmeWalkthrough(t)
}

func readmeWalkthrough(t *testing.T) {
	const end = "\nwhite volume unmount mnt; black volume unmount mnt2; kill %1 %2; wait\n"
	dir := t.TempDir()
	cmd := exec.Command("bash", "-euc", readme(t, "walkthrough")[0]+end)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		syscall.Unmount(filepath.Join(dir, "mnt"), syscall.MNT_DETACH)
		syscall.Unmount(filepath.Join(dir, "mnt2"), syscall.MNT_DETACH)
	})
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	if !strings.Contains(string(out), "hello, world\n") {
		t.Fatalf("it said\n%s", out)
	}
}
