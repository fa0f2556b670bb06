package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// maxSockPath is what fits into a struct sockaddr_un with its final NUL.
const maxSockPath = 107

// ListenUnix listens on a unix socket of mode 0600 at path, however long path
// is. A socket that a dead server left there is taken over; one that somebody
// answers on is not (EADDRINUSE). Closing the listener removes the socket.
func ListenUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	var l *net.UnixListener
	err := withShortPath(path, func(short string) error {
		private := net.ListenConfig{Control: ownersOnly}
		got, err := private.Listen(context.Background(), "unix", short)
		if err == nil {
			l = got.(*net.UnixListener)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	return &unixListener{UnixListener: l, path: path}, nil
}

// ownersOnly sets the mode that bind(2) will give the socket's name: unlike the
// umask, that is nobody else's business.
func ownersOnly(_, _ string, c syscall.RawConn) (err error) {
	if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); e != nil {
		return e
	}
	return err
}

// DialUnix connects to the unix socket at path, however long path is.
func DialUnix(ctx context.Context, path string) (net.Conn, error) {
	var c net.Conn
	err := withShortPath(path, func(short string) (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, "unix", short)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return c, nil
}

// withShortPath calls f with a name for path that fits into a socket address:
// path itself, or one through an open descriptor of its folder.
func withShortPath(path string, f func(short string) error) error {
	if len(path) <= maxSockPath {
		return f(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	short := filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path))
	if len(short) > maxSockPath {
		return fmt.Errorf("%s: %w: a socket's own name may have %d bytes", path, syscall.ENAMETOOLONG, maxSockPath-len("/proc/self/fd/1000000/"))
	}
	return f(short)
}

// removeStale makes room for a socket where nobody listens any more.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("listen on %s: %w: something that is no socket is there", path, syscall.EEXIST)
	}
	c, err := DialUnix(context.Background(), path)
	if err == nil {
		c.Close()
		return fmt.Errorf("listen on %s: %w: another server answers there", path, syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// unixListener removes its socket when closed, by the name it was asked for.
type unixListener struct {
	*net.UnixListener
	path string
	once sync.Once
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		os.Remove(l.path)
		err = l.UnixListener.Close()
	})
	return err
}
