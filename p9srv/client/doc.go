// Package client is a 9P2000.L client for many goroutines at once.
//
// A Conn has two goroutines: the writer sends what callers appended, in
// batches; the reader takes replies off the connection and completes the
// calls, wherever they are, with read data going straight into the caller's
// memory. Only the reader completes calls, so memory that a call handed over
// is never touched once the call returned.
//
// A call whose context ends sends Tflush and waits for what comes first: the
// reply, which counts if it is a success, or Rflush. A server that answers
// neither in time is given up together with its connection. Tclunk is the
// exception: it is always sent and never flushed, and a caller who does not
// want to wait leaves it to the reader.
//
// Errors of the server are syscall.Errno. When the connection ends, all calls
// fail with an error that is ErrClosed after Close, and says what happened
// otherwise.
package client
