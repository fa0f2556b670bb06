package daemon

import (
	"slices"
	"sync"
	"syscall"
	"time"

	"bazil/ctlfs"
)

// tasks is the long work under way, of each kind one.
type tasks struct {
	mu  sync.Mutex // guards all
	all []*task
}

// task is one of them.
type task struct {
	of      *tasks
	name    string
	started time.Time
	fields  ctlfs.Record // guarded by of.mu
}

// begin enters a task, or says that one of its kind runs already.
func (ts *tasks) begin(name string) (*task, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if slices.ContainsFunc(ts.all, func(t *task) bool { return t.name == name }) {
		return nil, ctlfs.Errorf(syscall.EBUSY, "%s is at work already: status tells how far it is", name)
	}
	t := &task{of: ts, name: name, started: time.Now()}
	ts.all = append(ts.all, t)
	return t, nil
}

func (t *task) end() {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.of.all = slices.DeleteFunc(t.of.all, func(o *task) bool { return o == t })
}

// at says how far it is; pairs are names and values.
func (t *task) at(pairs ...string) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.fields = ctlfs.Rec(pairs...)
}

// records tells of all tasks.
func (ts *tasks) records() (out []ctlfs.Record) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		out = append(out, append(ctlfs.Rec("task", t.name, "started", stamp(t.started)), t.fields...))
	}
	return out
}
