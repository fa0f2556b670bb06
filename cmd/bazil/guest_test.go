package main

import (
	"bufio"
	"context"
	goflag "flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// guestLimit bounds a guest's whole life: a request that hangs in the kernel's
// 9P client hangs the guest.
const guestLimit = 12 * time.Minute

var (
	guestRun = goflag.String("guest", "^TestInGuest", "which tests the guest runs")
	full     = goflag.Bool("full", false, "run programs with as many files as people have; takes minutes, hours in the guest")
)

// TestGuest runs the tests named TestInGuest... of this binary in a user-mode
// Linux, whose kernel has the real 9P client.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a guest")
	}
	t.Parallel()
	bootGuest(t, *guestRun)
}

// inGuest skips a test that wants the guest's kernel.
func inGuest(t *testing.T) {
	t.Helper()
	if os.Getenv("BAZIL_GUEST") == "" {
		t.Skip("runs in the guest that TestGuest boots")
	}
}

func bootGuest(t *testing.T, run string) {
	for _, program := range []string{"linux.uml", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%v: install the packages user-mode-linux and busybox-static", err)
			}
			t.Skipf("%v: the packages user-mode-linux and busybox-static have what a guest needs", err)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "guest.test")
	build := exec.Command("go", "test", "-c", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	limit := guestLimit
	if *full {
		limit *= 20
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "linux.uml", "mem=2G", "root=/dev/root", "rootfstype=hostfs", "hostfs=/", "rw",
		"init="+filepath.Join(here, "testdata/guest/init.sh"), "con=null", "con0=fd:0,fd:1", "quiet",
		"GUEST_BINARY="+binary, "GUEST_DIR="+here, "GUEST_RUN="+run, "GUEST_LIMIT="+(limit-20*time.Second).String(), fmt.Sprint("GUEST_FULL=", *full), "GUEST_GOROOT="+goEnvironment(t, "GOROOT"), "GUEST_GOCACHE="+goEnvironment(t, "GOCACHE"))
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ok := readConsole(t, out)
	cmd.Wait()
	if !ok {
		t.Fatal("the guest's tests failed, or it ended before they did")
	}
}

// goEnvironment is what go says of itself.
func goEnvironment(t *testing.T, key string) string {
	t.Helper()
	out, err := exec.Command("go", "env", key).Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// readConsole logs what the guest says and returns whether all went well.
func readConsole(t *testing.T, r io.Reader) bool {
	ok := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		t.Log(line)
		ok = ok || line == "GUEST-EXIT 0"
	}
	return ok
}
