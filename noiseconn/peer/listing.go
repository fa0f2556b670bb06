package peer

import (
	"context"
	"slices"
	"sync"
	"syscall"

	"bazil/p9srv"
)

// listing is an open directory.
type listing struct {
	node *node

	mu    sync.Mutex // guards names
	names []string   // as of the last read from the start
}

// ReadDir lists the names in order; an entry's cookie is its place, from 1.
func (l *listing) ReadDir(_ context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	names := l.list(off == 0)
	for i := min(off, uint64(len(names))); i < uint64(len(names)); i++ {
		e, err := l.entry(names[i])
		if err != nil {
			return err
		}
		e.Offset = i + 1
		if !yield(e) {
			return nil
		}
	}
	return nil
}

// list returns the names, looked up anew or as they were.
func (l *listing) list(anew bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if anew || l.names == nil {
		l.names = l.node.names()
	}
	return l.names
}

func (l *listing) entry(name string) (p9srv.Dirent, error) {
	child, err := l.node.Walk(context.Background(), name)
	if err != nil {
		return p9srv.Dirent{}, err
	}
	e := p9srv.Dirent{QID: child.QID(), Type: syscall.DT_REG, Name: name}
	if e.QID.Type&p9srv.QTDir != 0 {
		e.Type = syscall.DT_DIR
	}
	return e, nil
}

// names are the directory's, sorted: those allowed.
func (n *node) names() []string {
	var names []string
	switch n.place {
	case storage:
		names = n.tree.backend.Storage(n.tree.key)
	case volumes:
		names = n.tree.backend.Volumes(n.tree.key)
	default:
		for name := range layout[n.place].fixed {
			names = append(names, name)
		}
	}
	names = slices.DeleteFunc(slices.Clone(names), func(s string) bool { return !validName(s) })
	slices.Sort(names)
	return slices.Compact(names)
}

// ReadAt is what a directory has no bytes for.
func (l *listing) ReadAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EISDIR }

// WriteAt likewise.
func (l *listing) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EISDIR }

// Sync has nothing to do.
func (l *listing) Sync(context.Context, bool) error { return nil }

// Close has nothing to do.
func (l *listing) Close() error { return nil }

var (
	_ p9srv.File      = (*listing)(nil)
	_ p9srv.DirReader = (*listing)(nil)
)
