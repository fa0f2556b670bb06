package p9srv

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"syscall"
)

// errAbandoned ends a request that was flushed and answered for already:
// nobody hears of it.
var errAbandoned = errors.New("request was flushed")

// errInternal answers a request in which something panicked.
var errInternal = &Error{Errno: syscall.EIO}

// recovered is deferred around the calls of a tree's methods: a panic becomes
// errInternal, and its stack goes to the log.
func (s *Server) recovered(t MsgType, err *error) {
	if p := recover(); p != nil {
		*err = errInternal
		s.log().Error("9p request panicked", "request", t.String(), "panic", p, "stack", string(debug.Stack()))
	}
}

// errnoOf is the number that 9P2000.L and .u send for err.
func errnoOf(err error) syscall.Errno {
	var e *Error
	if errors.As(err, &e) && e.Errno != 0 {
		return e.Errno
	}
	var n syscall.Errno
	switch {
	case errors.As(err, &n) && n != 0:
		return n
	case errors.Is(err, context.Canceled), errors.Is(err, errAbandoned):
		return syscall.EINTR
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return syscall.ETIMEDOUT
	}
	return syscall.EIO
}

// textOf is what 9P2000 says of err, at most maxErrorText bytes.
func textOf(err error) string {
	var e *Error
	var n syscall.Errno
	text := ""
	switch {
	case errors.As(err, &e):
		if text = e.Text; text == "" {
			text = strerror(e.Errno)
		}
	case errors.As(err, &n) && n != 0:
		text = strerror(n)
	default:
		if text = err.Error(); errnoOf(err) == syscall.EINTR {
			text = strerror(syscall.EINTR)
		}
	}
	return text[:min(len(text), maxErrorText)]
}

// maxErrorText is how much of an error Linux and Plan 9 take.
const maxErrorText = 127

// interrupted is true for the error of a request that gave up because its
// context ended.
func interrupted(err error) bool {
	return err != nil && errnoOf(err) == syscall.EINTR
}

// strerror is Linux's text for n, which clients of 9P2000 map back to a
// number: v9fs by the whole of it, 9pfuse by a part.
func strerror(n syscall.Errno) string {
	s := []byte(n.Error())
	if len(s) > 1 && s[0] >= 'a' && s[0] <= 'z' {
		s[0] -= 'a' - 'A'
	}
	return string(s)
}

// errTagInUse refuses a request whose tag is that of one not answered yet.
var errTagInUse = &Error{Errno: syscall.EINVAL, Text: "tag in use"}
