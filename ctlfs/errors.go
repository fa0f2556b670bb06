package ctlfs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"bazil/p9srv"
)

// Errorf makes the error of a command: its text for people and for 9P2000,
// its number for 9P2000.L.
func Errorf(errno syscall.Errno, format string, args ...any) error {
	return &p9srv.Error{Errno: errno, Text: fmt.Sprintf(format, args...)}
}

// asError turns what a handler returned into what a client gets: the whole
// text, and the number of the p9srv.Error or errno that it wraps, else EIO.
// The error of an ended context stays as it is.
func asError(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	errno := syscall.EIO
	if errors.Is(err, context.DeadlineExceeded) {
		errno = syscall.ETIMEDOUT
	}
	errors.As(err, &errno)
	if e, ok := errors.AsType[*p9srv.Error](err); ok {
		errno = e.Errno
	}
	return &p9srv.Error{Errno: errno, Text: err.Error()}
}
