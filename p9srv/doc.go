// Package p9srv is a 9P server: three dialects, any tree.
//
// A Server takes connections and a Tree (tree.go says what a tree may
// implement). It owns the protocol and nothing of the files: which message
// means what, who holds which fid, which request runs when. It knows 9P2000.L,
// which Linux's v9fs speaks, 9P2000, which 9pfuse and Plan 9 speak, and
// 9P2000.u; Tversion chooses.
//
// # Messages
//
// All numbers are little-endian. A message is
//
//	size[4]   of all of it, these four bytes too: 7 to the msize agreed on
//	type[1]   MsgType; a reply's is its request's plus one, or an error's
//	tag[2]    chosen by the client, free again when the reply has come
//	body      fields as the comment of each message's handler draws them
//
// where name[s] is a string: length[2] and that many bytes. Before Tversion,
// messages have at most 8 KiB. A message that is too long or shorter than
// its header ends the connection; a body that is too short is EINVAL. Bytes
// behind the last field that we know are passed over.
//
// # Fids
//
// A fid (fid.go) never changes the Node that it stands for. Messages that give
// a number to another file (Twalk onto itself, Tlcreate, Txattrcreate) put
// another fid in its place. The table and every request at work hold a
// reference; the last one to go closes the File and releases the Node, which
// may thus happen after the Rclunk. ".." stops at the root of the attach; that
// a directory moved elsewhere by others stays below that root is the tree's
// to see to.
//
// # Requests
//
// The goroutine that reads a request runs it; sched.go tells how the right to
// read, the baton, is passed on when that takes more than a millisecond or
// two, or is known to. So the quick requests of a connection run one after
// the other on one goroutine, without a lock that anyone waits for, and no
// request waits for a slow one; where there are slow ones already, reads and
// writes do not wait to be found slow themselves. No lock is held while a method of the tree
// runs. A request that came before another may be answered after it.
//
// Replies gather in the output (output.go) and are written when no whole
// request is left in the read buffer, or when they are many. With 16 walks,
// getattrs and clunks in flight a write has 14 of them, and a request costs 1.9 us
// of processor time, a third of it the system's. Writing after 8 replies, so that
// the client works at the same time, waiting for the next request in poll(2) for
// 50 us before the goroutine is parked, and taking the volume's lock three times
// rather than six for the three requests changed that by less than it varies from
// run to run. Data of more than
// 8 KiB is not copied: it goes out of the tree's own memory (BufferReader) or of
// the buffer that it was read into.
//
// Beside a server that does next to nothing, by a pipelining client on two
// processors, medians of nine runs and three for listings:
//
//	walk, getattr, clunk, 1 in flight    18.2k/s of 24.6k    wake-ups
//	the same, 16 in flight                153k/s of 284k     the server's processor
//	10,000 names, 300 times              16.0M/s of 20.9M    putting entries together, 55%
//	10,000 new names, 5 times             6.9M/s of 14.3M    the first time
//	10,000 new names, once                2.4M/s of  8.0M    making the list in store/vol
//
// Large writes keep the baton too while none is slow: when each of 64 KiB and more
// passed it, so that the next was received while it ran, a file was taken at 330 and
// 244 MB/s and not at 348 and 353.
//
// What bounds large writes is the processors. A write is not over before the fsync
// that ends it, and that wants every byte compressed or found random, hashed twice,
// encrypted, and written: some 2.5 ns a byte (1 for ChaCha20-Poly1305, 0.5 for each
// BLAKE3), and the client's and the server's way through the socket take about 0.8,
// so that two processors take in about 600 MB/s. Measured beside servers that only
// copy: 501 MB/s with 1 and 546 with 16 in flight, where diod has 614 and 1262, p9ufs
// 735 and 909, and one that does next to nothing 1473 and 1431. Copies between socket
// and chunk are 7 to 10% of that time; more dirty memory defers work that the fsync
// waits for all the same.
//
// A Tfsync passed the baton always, once: another thread was woken for it, which
// then had the next request to read, and the threads after that. Now one that comes
// alone where the last took less than a millisecond keeps it. 4 KiB written and
// synced by one client took 32 and 41 us, and take 24 and 29, the log of store/vol
// having lost a yield of the processor at the same time; diod takes 27 and 21, and
// a server that does next to nothing 15 and 13.
//
// Tflush cancels the request's context. So a request that waits is over for its
// client after 0.2 to 0.6 ms at the median, also where all processors are busy
// with what was written (BenchmarkFlush in cmd/bazil). The longest times are then
// 4 to 20 ms on two processors, of which the server takes 0.1 ms from the read of
// the Tflush to the write of its answer. The rest is the system's, before it lets
// the server read or the client have the answer: threads that seal take their
// slices. More threads for Go, sched_yield between chunks and one sealer less
// changed that by no more than the measurement varies; a lower priority for
// sealing halved what others could write. If the request ends within 3 ms,
// its reply goes out if it succeeded, and is dropped if it was interrupted;
// Rflush follows. If it does not end, Rflush goes out all the same, and
// whatever the request still brings about on the fids is undone. Requests that have
// already changed a fid are waited for. A lost connection and a second Tversion cancel
// everything.
//
// # Bounds
//
// One connection has at most MaxRequests requests at work (256) and about
// 16 MiB + 4 msize of memory for them; 4096 more, and 4 MiB, wait their turn,
// and then it is not read any further. It is not read either, and nothing that
// waited is begun, while its client leaves more than 1 MiB + msize of replies
// unread. It has MaxFids fids, 8 MiB of
// extended attributes in them, and 16384 locks; a file has
// 32768 of all connections. What all connections of a server hold together of these,
// locks left out, and of what their trees take for them (listings of directories),
// is at most MaxMemory (1 GiB), which memory.go shares out; beside it each has buffers
// of about 300 KiB. Whoever reaches a bound delays
// nobody but himself. A connection on which everything is taken and nothing
// ends for a minute is ended.
//
// # Panics
//
// A panic is a mistake in this program, and ending the process would be the
// plain answer to it. But one process serves all clients and volumes, and a
// request that always panics would take from every one of them what is not
// durable yet, again and again. So a request that panics is answered with EIO,
// its stack goes to the log, and its session goes on: ending that would unmount
// a whole tree at a v9fs client and repair nothing. That a tree can still be
// trusted after a panic is for the tree to see to; store/vol stops the volume
// whose change was cut short. A panic on a goroutine of the tree's own still ends the process.
//
// # Order of locks
//
// watchdog.mu, conn.mu, then output.mu or a request's context. LockTable.mu and
// the others are taken alone.
package p9srv
