// Package fusemount mounts a 9P2000.L tree through FUSE, for kernels that
// have no v9fs and for users who are not root. What v9fs can do, it can do;
// beyond that, a mount outlives its server.
//
// # Parts
//
//	mount, unmount   Mount and Mounted; what is wrong with a mount point, in words
//	bridge           answers the kernel; one file per kind of request:
//	                 names, attr, file, dir, xattr, lock
//	op, signals      one request of the kernel, and what may cancel it
//	link             one connection after the other
//	inode, fid       the files that the kernel knows, and their fids
//	handle           open files
//	listing          how far a directory was read
//	stand, replay    what may go on, and be sent again, after a lost connection
//	leave            the last of a session whose server says that it will stop
//	unsynced         what fsync has to tell
//	events           what changed at the server, told to the kernel
//
// # Inodes and fids
//
// The kernel's number of a file is ours and never used twice; the inode
// number that users see is QID.Path. A file is known by its QID.Path and its
// type, and by the place where it was seen last: a directory and a name. It
// has one fid, unopened, for all requests; each open file has another. The
// fids of files that nobody uses are kept up to a number, and walked to again
// when needed, with the QID.Path compared: something else at the place is
// ESTALE, upon which the kernel looks the path up again. Open files and files
// without a name keep their fids.
//
// All of that works with the fids of the user who mounted; the kernel judges
// permissions by the modes it sees (default_permissions). Only what creates
// files attaches as the caller, so that they belong to the caller.
//
// # Lost connections
//
// Requests wait for a new connection, for Options.Patience at most since the
// old one was lost. Before they go on, each open file is walked to, opened
// again and given back its locks. A request whose answer was lost is sent
// again if that does no harm, or if it can be told from the outcome that it
// had been done: an entry that is to be removed is gone, one that is to be
// made is there. A write that appends fails with EIO, as does one to a ctl
// file: nobody knows whether it was done. So does a request that removes,
// replaces or truncates when its name shows another version by then than it
// did: it may have been done, and must not be done again to what came since.
//
// A directory that is being listed goes on behind the last name that was told, for
// cookies count the names as they were at the server that is gone: a name that
// stays comes once. Where names have no order and that one is gone, it is EIO.
//
// A writer supersedes only what it saw. The server sees to that while it
// lives; a file that is opened again at the next one may be something else: a
// version that a peer sent, which would be replaced on all devices unseen, or
// the file as it was before writes that went down with the server, which would
// get a hole. So a handle that can write goes on only if the file has the
// QID.Version that its last write, or its opening, made of it (stand). It is
// asked for with each fsync, and otherwise when nothing was written for 20 ms,
// at one message each. Else all of the handle's requests fail with EIO for
// good, fsync among them, and the program, which has been told, may open the
// file again: it then sees what there is. So a program that writes without a
// pause while its server is killed gets EIO; one that is idle, or has just
// called fsync, goes on. Becoming a concurrent version instead would
// keep the bytes of both, but the writer's would be a torso, some of its writes
// on top of something else, that nobody was told of.
//
// A server that is told to stop says so first, through Options.Events
// (ErrStopping). Then no request begins any more, those at work are answered,
// and the bridge asks for the versions that it does not know; until then the
// server waits. At the next one nobody has noticed anything. What was said
// is not relied on: if the server is killed after all, the versions tell.
//
// What was written, not synced, and closed before the server was killed may be
// gone, as with a disk: the next fsync of the file, by whomever, fails once.
//
// # Interrupts
//
// A Tflush goes out when a signal ends the process that waits. Signals that
// are caught do not disturb it, as with a disk, unless it reads a stream or
// waits for a lock. See op.
//
// # Caches
//
// Without events the kernel keeps names and the attributes of files for no
// time at all. It keeps pages from one open to the next if QID.Version is the
// same, and while a file is open drops them when its size or time of change
// is another. With events it keeps everything for minutes; see watcher for
// how it is taken back; who has a file open for reading goes on with its new
// bytes (handle). An event may come later than an open: where that finds a
// version that the kernel has not seen, the attributes are to be asked for
// again; and an event about the version that is open is none, since it would make
// the kernel disbelieve the answer, and read by the size of before the open. Nor
// is an answer kept that was on its way when an event came, about a file that
// was not known yet too. Where an event comes while a file is read that has become
// shorter, the kernel has to ask again (endsUnseen). A file of QID.Version 0 is
// never cached: it is opened for direct I/O, and a read of it asks until an answer
// is empty, as v9fs does.
//
// The kernel's writeback cache stays off. With it the kernel takes its own
// size and times of a file for the truth as long as it knows the file, so
// that a change from another device would never be seen.
//
// # Speed
//
// What programs do one after the other is bound by wake-ups, not by work. A
// small file that tar unpacks is six requests of the kernel, and those nine 9P
// messages, each of which wakes another process: 1.9 ms on a virtual machine
// of two processors where a stat over plain 9P, three messages, takes 0.08 ms;
// the bridge and the server use 40% of a processor each meanwhile, mostly for
// system calls. There, 20,000 files were unpacked in 38 s, read back in 10 s,
// stat'ed in 0.8 s and removed in 10 s; git cloned 5,000 files in 18 s and
// collected garbage in 5 s. Fewer messages for a request would help: a walk and
// a getattr could go out together.
//
// # What there is not
//
// O_TMPFILE, the flags of renameat2, attributes outside user.*, holes made by
// fallocate: 9P has no messages for them. Hard links are the server's affair.
// Record locks do not reach the last two bytes that 63 bits can tell: flock(2) has
// them.
package fusemount
