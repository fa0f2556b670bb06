package fusemount

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// pending is what waits to be delivered to a thread that is blocked in a
// request: signals that it neither blocks nor ignores.
type pending struct {
	some  bool // whatever
	any   bool // one that would interrupt a read of a pipe
	fatal bool // one that ends the process
}

// sigset is a set of signals as /proc shows it: bit n-1 for signal n.
type sigset uint64

func signals(sigs ...syscall.Signal) (set sigset) {
	for _, s := range sigs {
		set |= 1 << (s - 1)
	}
	return set
}

// pendingSignals reads /proc/TID/status, see proc_pid_status(5).
func pendingSignals(tid uint32) (pending, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return pending{}, err
	}
	return judgeSignals(text), nil
}

// judgeSignals reads the Sig and Shd lines of a status file. A signal whose
// default is to be ignored or to stop the process is not fatal. The first
// kind does not even interrupt a long wait: the Go runtime, for one, sends
// its own threads SIGURG all the time.
func judgeSignals(text []byte) pending {
	const kill = sigset(1 << (syscall.SIGKILL - 1))
	mild := signals(syscall.SIGCHLD, syscall.SIGURG, syscall.SIGWINCH, syscall.SIGCONT)
	stop := signals(syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	field := func(key string) sigset { return sigField(text, key) }
	set := (field("SigPnd:") | field("ShdPnd:")) &^ field("SigBlk:") &^ field("SigIgn:")
	return pending{
		some:  set != 0,
		any:   set&^mild != 0,
		fatal: set&kill != 0 || set&^field("SigCgt:")&^mild&^stop != 0,
	}
}

// sigField is the set in the line that starts with key; 0 if there is none.
func sigField(text []byte, key string) sigset {
	_, rest, found := bytes.Cut(text, []byte("\n"+key))
	if !found {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 64)
	if err != nil {
		return 0
	}
	return sigset(n)
}
