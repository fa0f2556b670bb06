package store

import (
	"errors"
	"sync"
)

// errGone says that a file has been removed on purpose while it was wanted.
var errGone = errors.New("file has been removed")

// handles are the files of a chunk store, of which a bounded number is open.
type handles struct {
	files files
	max   int

	mu   sync.Mutex // guards the fields of every handle, too
	open []*handle  // those with a file
}

// handle is a file that is opened when wanted and closed when too many are
// open. Its methods are safe for concurrent use.
type handle struct {
	set  *handles
	path string
	file file // nil: closed
	refs int  // users of file
	used bool // since the last sweep
	gone bool // removed; no new users
}

// add returns a handle on path; f is the open file, nil if it is not open yet.
func (s *handles) add(path string, f file) *handle {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &handle{set: s, path: path}
	if f != nil {
		s.opened(h, f)
	}
	return h
}

// acquire returns the open file, which stays open until release.
func (h *handle) acquire() (file, error) {
	s := h.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.gone {
		return nil, errGone
	}
	if h.file == nil {
		f, err := s.files.open(h.path)
		if err != nil {
			return nil, err
		}
		s.opened(h, f)
	}
	h.refs++
	h.used = true
	return h.file, nil
}

func (h *handle) release() {
	h.set.mu.Lock()
	defer h.set.mu.Unlock()
	h.refs--
	if h.gone && h.refs == 0 {
		h.close()
	}
}

// readAt reads exactly len(p) bytes.
func (h *handle) readAt(p []byte, off int64) error {
	f, err := h.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	return readFull(f, p, off)
}

// remove removes the file. Who is using it may finish.
func (h *handle) remove() error {
	h.set.mu.Lock()
	defer h.set.mu.Unlock()
	h.gone = true
	if h.refs == 0 {
		h.close()
	}
	return h.set.files.remove(h.path)
}

// closeAll closes all files; nobody may use them any more.
func (s *handles) closeAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for len(s.open) > 0 {
		errs = append(errs, s.open[0].close())
	}
	return errors.Join(errs...)
}

// opened notes an open file; the caller holds mu.
func (s *handles) opened(h *handle, f file) {
	if len(s.open) >= s.max {
		s.sweep()
	}
	h.file = f
	s.open = append(s.open, h)
}

// sweep closes the files that nobody uses or has used since the last sweep;
// the caller holds mu.
func (s *handles) sweep() {
	for _, h := range append([]*handle(nil), s.open...) {
		if h.refs == 0 && !h.used {
			h.close()
		}
		h.used = false
	}
}

// close closes the file if it is open; the caller holds mu.
func (h *handle) close() error {
	if h.file == nil {
		return nil
	}
	err := h.file.Close()
	h.file = nil
	for i, o := range h.set.open {
		if o == h {
			last := len(h.set.open) - 1
			h.set.open[i] = h.set.open[last]
			h.set.open = h.set.open[:last]
			break
		}
	}
	return err
}
