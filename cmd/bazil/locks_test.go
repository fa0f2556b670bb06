package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The record locks of fcntl(2) on a mount are compared with those of a local
// filesystem: processes do the same to a file of each and say what came of it.

const (
	lockers   = 3 // processes
	lockSlots = 3 // descriptors that each may have
)

// locking is the program lockboth: it does what lines on its input say to the two
// files that are its arguments, and says for each what happened.
func locking() {
	var fds [2][lockSlots]int
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var op, what string
		var slot int
		var l unix.Flock_t
		fmt.Sscan(in.Text(), &op, &slot, &what, &l.Whence, &l.Start, &l.Len)
		var said [2]string
		for i, name := range os.Args[1:3] {
			said[i] = lockStep(&fds[i][slot], name, op, what, l)
		}
		fmt.Printf("%s\t%s\n", said[0], said[1])
	}
}

var lockTypes = map[string]int16{"read": unix.F_RDLCK, "write": unix.F_WRLCK, "free": unix.F_UNLCK}

func lockStep(fd *int, name, op, what string, l unix.Flock_t) string {
	l.Type = lockTypes[what]
	var err error
	switch op {
	case "open":
		flags := map[string]int{"ro": unix.O_RDONLY, "wo": unix.O_WRONLY, "rw": unix.O_RDWR}[what]
		*fd, err = unix.Open(name, flags|unix.O_CLOEXEC, 0)
	case "close":
		err = unix.Close(*fd)
	case "seek":
		_, err = unix.Seek(*fd, l.Start, io.SeekStart)
	case "set":
		err = unix.FcntlFlock(uintptr(*fd), unix.F_SETLK, &l)
	case "get":
		if err = unix.FcntlFlock(uintptr(*fd), unix.F_GETLK, &l); err == nil {
			return fmt.Sprintf(lockFormat, l.Type, l.Pid, l.Len, l.Start)
		}
	}
	return fmt.Sprint(err)
}

// lockFormat is how a lock in the way is told.
const lockFormat = "type %d by %d, %d from %d"

// isHeld says whether both tell of a lock in the way, and the mount of one that
// there is on the local file too: which of several is told is not said anywhere.
func isHeld(t *testing.T, file, mount, local string) bool {
	var l, other unix.Flock_t
	for said, l := range map[string]*unix.Flock_t{mount: &l, local: &other} {
		if n, err := fmt.Sscanf(said, lockFormat, &l.Type, &l.Pid, &l.Len, &l.Start); n != 4 || err != nil || l.Type == unix.F_UNLCK {
			return false
		}
	}
	end := "EOF"
	if l.Len > 0 {
		end = fmt.Sprint(l.Start + l.Len - 1)
	}
	info, err := os.Stat(file)
	must(t, err)
	kind := map[int16]string{unix.F_RDLCK: "READ", unix.F_WRLCK: "WRITE"}[l.Type]
	held, err := os.ReadFile("/proc/locks")
	must(t, err)
	for line := range strings.Lines(string(held)) {
		f := strings.Fields(line) // 1: POSIX ADVISORY WRITE pid device:inode start end
		if len(f) == 8 && f[3] == kind && f[4] == fmt.Sprint(l.Pid) && f[6] == fmt.Sprint(l.Start) && f[7] == end &&
			strings.HasSuffix(f[5], fmt.Sprint(":", info.Sys().(*syscall.Stat_t).Ino)) {
			return true
		}
	}
	return false
}

// locker is a process that runs lockboth.
type locker struct {
	in   io.WriteCloser
	out  *bufio.Scanner
	cmd  *exec.Cmd
	open [lockSlots]bool
}

func startLocker(t *testing.T, files [2]string) *locker {
	t.Helper()
	l := &locker{cmd: exec.Command("lockboth", files[0], files[1])}
	l.cmd.Stderr = os.Stderr
	var err error
	l.in, err = l.cmd.StdinPipe()
	must(t, err)
	out, err := l.cmd.StdoutPipe()
	must(t, err)
	l.out = bufio.NewScanner(out)
	must(t, l.cmd.Start())
	return l
}

func (l *locker) end() {
	l.in.Close()
	l.cmd.Wait()
}

// step does a random one, and returns it with what came of it on the mount and
// on the local filesystem.
func (l *locker) step(t *testing.T, r *rand.Rand) (did, mount, local string) {
	t.Helper()
	did = l.choose(r)
	_, err := fmt.Fprintln(l.in, did)
	must(t, err)
	if !l.out.Scan() {
		t.Fatalf("process %d ended", l.cmd.Process.Pid)
	}
	mount, local, _ = strings.Cut(l.out.Text(), "\t")
	return did, mount, local
}

func (l *locker) choose(r *rand.Rand) string {
	slot := r.IntN(lockSlots)
	if !l.open[slot] {
		l.open[slot] = true
		return fmt.Sprintf("open %d %s", slot, [...]string{"ro", "wo", "rw", "rw"}[r.IntN(4)])
	}
	start, n := r.Int64N(30), r.Int64N(20)
	switch r.IntN(12) {
	case 0:
		start = 1<<62 - r.Int64N(3)
		n = min(n, 1)
	case 1:
		n = -r.Int64N(start + 1)
	}
	whence := [...]int{io.SeekStart, io.SeekStart, io.SeekCurrent, io.SeekEnd}[r.IntN(4)]
	switch op := r.IntN(20); {
	case op == 0:
		l.open[slot] = false
		return fmt.Sprintf("close %d", slot)
	case op == 1:
		return fmt.Sprintf("seek %d - 0 %d", slot, r.Int64N(10))
	case op < 14:
		what := [...]string{"read", "write", "free"}[r.IntN(3)]
		return fmt.Sprintf("set %d %s %d %d %d", slot, what, whence, start, n)
	default:
		what := [...]string{"read", "write"}[r.IntN(2)]
		return fmt.Sprintf("get %d %s %d %d %d", slot, what, whence, start, n)
	}
}

// recordLocks has processes open, close, lock, unlock and ask at random.
func recordLocks(t *testing.T, dir string) {
	seeds, steps := 1, 300
	if *full {
		seeds, steps = 40, 1000
	}
	for seed := range seeds {
		files := [2]string{filepath.Join(dir, fmt.Sprint("locks", seed)), filepath.Join(t.TempDir(), "locks")}
		for _, name := range files {
			must(t, os.WriteFile(name, make([]byte, 10), 0o600))
		}
		lockHistory(t, files, uint64(seed), steps)
	}
}

func lockHistory(t *testing.T, files [2]string, seed uint64, steps int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	var all [lockers]*locker
	for i := range all {
		all[i] = startLocker(t, files)
		defer func() { all[i].end() }()
	}
	var history []string
	for range steps {
		i := r.IntN(lockers)
		if r.IntN(100) == 0 { // it ends with what it holds
			all[i].cmd.Process.Signal([...]os.Signal{syscall.SIGKILL, syscall.SIGTERM}[r.IntN(2)])
			all[i].end()
			all[i] = startLocker(t, files)
			history = append(history, fmt.Sprintf("process %d ends", i))
		}
		did, mount, local := all[i].step(t, r)
		history = append(history, fmt.Sprintf("process %d (%d): %s: %s", i, all[i].cmd.Process.Pid, did, mount))
		if mount != local && !isHeld(t, files[1], mount, local) {
			t.Fatalf("seed %d:\n%s\nand %q on a local filesystem", seed, strings.Join(history, "\n"), local)
		}
	}
}
