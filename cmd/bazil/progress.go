package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hugelgupf/p9/p9"
	"golang.org/x/sys/unix"

	"bazil/ctlfs"
)

// progressEvery is how often a terminal is told how far a command is.
const progressEvery = 500 * time.Millisecond

// showProgress shows the status records of that kind that are of something
// going on, if the standard error is a terminal, until stop is called.
func (g *Globals) showProgress(kind string) (stop func()) {
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err != nil {
		return func() {}
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		g.session(func(root p9.File) error { return progress(root, kind, ended) }) // the command itself tells what is wrong
	}()
	return func() {
		close(ended)
		<-done
	}
}

func progress(root p9.File, kind string, ended <-chan struct{}) error {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	const clear = "\r\x1b[K"
	defer fmt.Fprint(os.Stderr, clear)
	for {
		select {
		case <-ended:
			return nil
		case <-tick.C:
		}
		status, err := readPath(root, []string{"ctl", "status"})
		if err != nil {
			return err
		}
		fmt.Fprint(os.Stderr, clear+strings.Join(goingOn(status, kind), "; "))
	}
}

// goingOn is a line for each record of that kind that has a state.
func goingOn(status, kind string) (all []string) {
	for line := range strings.Lines(status) {
		r, err := ctlfs.ParseRecord(strings.TrimSuffix(line, "\n"))
		if err != nil || len(r) == 0 || r[0].Name != kind || r.Get("state") == "" {
			continue
		}
		words := []string{r[0].Value + ", " + r.Get("peer") + ":"}
		for _, name := range []string{"dirs", "changed", "files", "bytes"} {
			if v := r.Get(name); v != "" {
				words = append(words, v+" "+name)
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}
