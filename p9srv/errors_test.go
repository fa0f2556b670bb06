package p9srv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// v9fsTexts are error strings that Linux knows in 9P2000.
var v9fsTexts = map[string]syscall.Errno{
	"Operation not permitted": syscall.EPERM, "No such file or directory": syscall.ENOENT, "Interrupted system call": syscall.EINTR,
	"Input/output error": syscall.EIO, "No such device or address": syscall.ENXIO, "Argument list too long": syscall.E2BIG,
	"Bad file descriptor": syscall.EBADF, "Resource temporarily unavailable": syscall.EAGAIN, "Cannot allocate memory": syscall.ENOMEM,
	"Permission denied": syscall.EACCES, "Device or resource busy": syscall.EBUSY, "File exists": syscall.EEXIST,
	"Invalid cross-device link": syscall.EXDEV, "No such device": syscall.ENODEV, "Not a directory": syscall.ENOTDIR,
	"Is a directory": syscall.EISDIR, "Invalid argument": syscall.EINVAL, "Too many open files in system": syscall.ENFILE,
	"Too many open files": syscall.EMFILE, "Text file busy": syscall.ETXTBSY, "File too large": syscall.EFBIG,
	"No space left on device": syscall.ENOSPC, "Illegal seek": syscall.ESPIPE, "Read-only file system": syscall.EROFS,
	"Too many links": syscall.EMLINK, "Broken pipe": syscall.EPIPE, "Numerical result out of range": syscall.ERANGE,
	"Resource deadlock avoided": syscall.EDEADLK, "File name too long": syscall.ENAMETOOLONG, "No locks available": syscall.ENOLCK,
	"Function not implemented": syscall.ENOSYS, "Directory not empty": syscall.ENOTEMPTY, "Too many levels of symbolic links": syscall.ELOOP,
	"No data available": syscall.ENODATA, "Protocol error": syscall.EPROTO, "Message too long": syscall.EMSGSIZE,
	"Operation not supported": syscall.EOPNOTSUPP, "Network is unreachable": syscall.ENETUNREACH, "Connection reset by peer": syscall.ECONNRESET,
	"Connection timed out": syscall.ETIMEDOUT, "Connection refused": syscall.ECONNREFUSED, "No route to host": syscall.EHOSTUNREACH,
	"Disk quota exceeded": syscall.EDQUOT,
}

// TestErrorTexts holds strerror to what v9fs turns back into numbers.
func TestErrorTexts(t *testing.T) {
	for text, n := range v9fsTexts {
		if got := strerror(n); got != text {
			t.Errorf("%d is %q, not %q", n, got, text)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		n    syscall.Errno
		text string
	}{
		{fmt.Errorf("reading x: %w", syscall.ENOSPC), syscall.ENOSPC, "No space left on device"},
		{fmt.Errorf("x: %w", &Error{Errno: syscall.EPERM, Text: "not yours"}), syscall.EPERM, "not yours"},
		{&Error{Errno: syscall.EPERM}, syscall.EPERM, "Operation not permitted"},
		{&Error{Text: "odd"}, syscall.EIO, "odd"},
		{context.Canceled, syscall.EINTR, "Interrupted system call"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), syscall.ETIMEDOUT, "x: context deadline exceeded"},
		{errors.New("disk on fire"), syscall.EIO, "disk on fire"},
		{errors.New(strings.Repeat("x", 500)), syscall.EIO, strings.Repeat("x", 127)},
	} {
		if n, text := errnoOf(c.err), textOf(c.err); n != c.n || text != c.text {
			t.Errorf("%v: %d %q", c.err, n, text)
		}
	}
}
