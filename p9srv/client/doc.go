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
// A write of more than a message goes out as several, all in flight together.
// They are as large as messages may be: a write that fits one is one for the server
// too, so that nothing gets into the midst of an append. Smaller ones, so that the
// server receives one part while it takes another, made no difference that can be
// told from the machine's: 1 GiB of random data, written 1 MiB at a time, was taken
// at 348 to 398 MB/s in five runs, in parts of 256 KiB at 327 to 358 in five, and in
// parts of 128 KiB with 2 MiB for the socket to keep at 378 to 417 in three. That
// room alone gave 323 and 342.
//
// Errors of the server are syscall.Errno. When the connection ends, all calls
// fail with an error that is ErrClosed after Close, and says what happened
// otherwise.
package client
