package p9test

import (
	"bufio"
	"context"
	"os"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"bazil/p9srv"
)

// file is what is open by the descriptor fd.
func (n *osNode) file(fd int) p9srv.File {
	f := &osFile{fd}
	if n.st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return &osDir{osFile: f}
	}
	if strings.HasSuffix(n.name, ".stream") {
		owner := os.NewFile(uintptr(fd), n.name)
		return &osStream{f, owner, bufio.NewReader(owner)}
	}
	return f
}

// osFile is an open file.
type osFile struct{ fd int }

func (f *osFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		if m == 0 || err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

func (f *osFile) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	return unix.Pwrite(f.fd, p, off)
}

func (f *osFile) Sync(context.Context, bool) error { return unix.Fsync(f.fd) }

func (f *osFile) Close() error { return unix.Close(f.fd) }

// osStream is an open file that gives events.
type osStream struct {
	*osFile
	owner *os.File // of the descriptor
	r     *bufio.Reader
}

func (s *osStream) Close() error { return s.owner.Close() }

func (s *osStream) IsStream() bool { return true }

// ReadAt returns a line.
func (s *osStream) ReadAt(ctx context.Context, p []byte, _ int64) (int, error) {
	if line, err := s.r.ReadBytes('\n'); err == nil {
		return copy(p, line), nil
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

// osDir is an open directory.
type osDir struct {
	*osFile
	mu sync.Mutex // the descriptor has a position
}

// lastCookie stands for ext4's end of a directory, 1<<63-1: the largest
// cookies are the server's.
const lastCookie = 1<<63 - 1<<10

func (d *osDir) ReadDir(_ context.Context, off uint64, yield func(p9srv.Dirent) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off == lastCookie {
		return nil
	}
	if _, err := unix.Seek(d.fd, int64(off), 0); err != nil {
		return err
	}
	b := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(d.fd, b)
		if err != nil || n == 0 {
			return err
		}
		for p := b[:n]; len(p) > 0; {
			e := (*unix.Dirent)(unsafe.Pointer(&p[0]))
			name, _, _ := strings.Cut(string(p[19:e.Reclen]), "\x00")
			p = p[e.Reclen:]
			if name != "." && name != ".." && !yield(direntOf(e, name)) {
				return nil
			}
		}
	}
}

func direntOf(e *unix.Dirent, name string) p9srv.Dirent {
	q := p9srv.QID{Path: e.Ino}
	switch e.Type {
	case unix.DT_DIR:
		q.Type = p9srv.QTDir
	case unix.DT_LNK:
		q.Type = p9srv.QTSymlink
	}
	return p9srv.Dirent{QID: q, Offset: min(uint64(e.Off), lastCookie), Type: e.Type, Name: name}
}
