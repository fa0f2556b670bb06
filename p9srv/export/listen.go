package export

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
)

// listen opens the listener that the export's dial string names.
func (s Spec) listen() (net.Listener, error) {
	a, err := s.address()
	if err != nil {
		return nil, err
	}
	switch a.network {
	case "unix":
		return ListenUnix(a.path)
	case "tcp":
		return net.Listen("tcp", a.path)
	case "vsock":
		return vsock.Listen(a.number, nil)
	default:
		return listenFD(a.number)
	}
}

// listenFD takes a listening socket, or one connection, that the process was
// started with (systemd's socket activation passes them from 3 on).
func listenFD(number uint32) (net.Listener, error) {
	if number < 3 {
		return nil, fmt.Errorf("fd!%d: descriptors 0 to 2 are the terminal's: %w", number, syscall.EINVAL)
	}
	if err := inherited(number); err != nil {
		return nil, fmt.Errorf("fd!%d: the server was not started with it: %w", number, err)
	}
	fd, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("fd!%d: %w", number, err)
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("fd!%d", number))
	defer f.Close()
	if on, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err != nil {
		return nil, fmt.Errorf("fd!%d: no socket: %w", number, err)
	} else if on != 0 {
		return net.FileListener(f)
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("fd!%d: %w", number, err)
	}
	return newOnce(c), nil
}

// inherited tells whether a descriptor came with the process: those it opened
// itself are closed by exec, which one that came through exec cannot be.
func inherited(number uint32) error {
	flags, err := unix.FcntlInt(uintptr(number), unix.F_GETFD, 0)
	if err == nil && flags&unix.FD_CLOEXEC != 0 {
		err = syscall.EBADF
	}
	return err
}

// once is a listener that has one connection to give.
type once struct {
	conns chan net.Conn
	addr  net.Addr
	done  chan struct{}
	close func()
}

func newOnce(c net.Conn) *once {
	o := &once{conns: make(chan net.Conn, 1), addr: c.LocalAddr(), done: make(chan struct{})}
	o.conns <- c
	o.close = sync.OnceFunc(func() { close(o.done) })
	return o
}

func (o *once) Accept() (net.Conn, error) {
	select {
	case c := <-o.conns:
		return c, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}

func (o *once) Close() error   { o.close(); return nil }
func (o *once) Addr() net.Addr { return o.addr }
