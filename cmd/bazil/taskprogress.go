package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"bazil/ctlfs"
)

// statusLine is a line on the standard error that is written over where that
// is a terminal; else one comes now and then.
type statusLine struct {
	terminal bool
	last     time.Time
	shown    bool
}

// lineEvery is how often a line comes where there is no terminal.
const lineEvery = 10 * time.Second

func newStatusLine() *statusLine {
	return &statusLine{terminal: isTerminal(os.Stderr), last: time.Now()}
}

func (p *statusLine) show(text string) {
	switch {
	case p.terminal:
		fmt.Fprint(os.Stderr, "\r\x1b[K"+text)
		p.shown = true
	case time.Since(p.last) >= lineEvery:
		fmt.Fprintln(os.Stderr, text)
		p.last = time.Now()
	}
}

// clear takes the line away.
func (p *statusLine) clear() {
	if p.shown {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		p.shown = false
	}
}

// watch shows how far a command is that the server is at, until stop is called.
func (g *Globals) watch(verb string) (stop func()) {
	ctx, cancel := context.WithCancel(g.ctx)
	var done sync.WaitGroup
	done.Go(func() {
		p := newStatusLine()
		defer p.clear()
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
			if text := g.taskLine(verb); text != "" && ctx.Err() == nil {
				p.show(text)
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// taskLine is what the server's status says of a command that it is at.
func (g *Globals) taskLine(verb string) string {
	answer, err := g.ask("status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(answer) {
		r, err := ctlfs.ParseRecord(line)
		if err != nil || r.Get("task") != verb {
			continue
		}
		var words []string
		for _, f := range r {
			if f.Name != "task" && f.Name != "started" {
				words = append(words, f.Name+" "+f.Value)
			}
		}
		return verb + ": " + strings.Join(words, ", ")
	}
	return ""
}
