package ctlfs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"bazil/p9srv"
)

// Watched is a System or an Object whose files' changes can be followed.
type Watched interface {
	// Watch returns what tells of the changes from now on.
	Watch(ctx context.Context) (Watcher, error)
}

// Watcher tells of changes. Nobody calls Next twice at once.
type Watcher interface {
	// Next waits for changes. paths are the QID.Paths of files whose data or
	// attributes changed and of directories whose entries changed; all: any
	// may have changed. None: a command waits until everything is dealt with
	// that Next told before. Who calls Next again has done so. The error
	// ErrStopping is told once, before the server stops, and Next called again.
	Next(ctx context.Context) (paths []uint64, all bool, err error)
	// Close comes once.
	Close() error
}

// ErrStopping is the end of what there is to tell: the server is about to stop.
var ErrStopping = errors.New("the server is about to stop")

// manyChanges is how many paths stand in one record; more become "all".
const manyChanges = 4096

// changes is a file of the changes of o, one batch a read:
//
//	record = [ "all" | "stop" | path { blank path } ] newline
//	path   = decimal number
func (b *base) changes(o Watched) p9srv.Node {
	return b.stream("changes", func(ctx context.Context) (nexter, error) {
		w, err := o.Watch(ctx)
		if err != nil {
			return nil, err
		}
		return &changeReader{w}, nil
	})
}

type changeReader struct{ w Watcher }

func (r *changeReader) close() error { return r.w.Close() }

func (r *changeReader) next(ctx context.Context) ([]byte, error) {
	paths, all, err := r.w.Next(ctx)
	if errors.Is(err, ErrStopping) {
		return []byte("stop\n"), nil
	}
	if err != nil {
		return nil, err
	}
	if all || len(paths) > manyChanges {
		return []byte("all\n"), nil
	}
	var record []byte
	for _, p := range paths {
		record = append(strconv.AppendUint(record, p, 10), ' ')
	}
	if len(record) == 0 {
		return []byte("\n"), nil
	}
	record[len(record)-1] = '\n'
	return record, nil
}

// ParseChanges reads a record of a changes file; ErrStopping is one, too.
func ParseChanges(record string) (paths []uint64, all bool, err error) {
	record = strings.TrimSuffix(record, "\n")
	switch record {
	case "all":
		return nil, true, nil
	case "stop":
		return nil, false, ErrStopping
	}
	for _, f := range strings.Fields(record) {
		p, err := strconv.ParseUint(f, 10, 64)
		if err != nil || len(paths) == manyChanges {
			return nil, false, fmt.Errorf("record of changes: %.20q is no path, or one too many", f)
		}
		paths = append(paths, p)
	}
	return paths, false, nil
}
