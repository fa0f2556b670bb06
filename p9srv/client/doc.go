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
// too, so that nothing gets into the midst of an append. Smaller ones were tried
// on 1 GiB of random data, written 1 MiB at a time and waited for each time, which
// a server in the same process took at 352 to 398 MB/s on two processors (74 to 83%
// of what the volume takes without 9P): of 256 KiB, at 338 to 358; of 128 KiB and
// with 2 MiB for the socket to keep, at 378 to 417. That room alone gave 323 and 342
// where there were 348 and 353 without. A caller that writes 4 MiB at a time has
// 342 to 390, with the room 373 to 412. None of it is worth having more
// kernel memory taken for every connection.
//
// Errors of the server are syscall.Errno. When the connection ends, all calls
// fail with an error that is ErrClosed after Close, and says what happened
// otherwise.
package client
