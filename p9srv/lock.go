package p9srv

// LockTable holds POSIX record locks; the zero value is ready.
type LockTable struct{}
