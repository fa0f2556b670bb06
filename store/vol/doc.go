// Package vol is a volume: a tree of files that one device holds, durable in
// commit groups and joined with what other devices have of the same volume.
//
// # Places, names, numbers
//
// A directory's place is its parent's place and its name: a dir, numbered
// from 1, the root. Places never move; what is remembered for merging
// (merge.Dir) belongs to them. A name in a place is an entry with a record:
// the versions that package merge joins, and what counts on this device only.
// An inode is what a name shows, a file or a directory, with a number that
// stays when it is renamed; renaming a directory gives all names in it new
// places, and all inodes keep their numbers. The root directory's own record
// is that of the name "" in itself.
//
// A name shows a directory if it has a version of that kind or if anything
// exists in its place (record.Implied); else the version that it showed
// before, or the newest. A device node is no version: it is this replica's
// alone and hides the versions of its name.
//
// # Memory and Bolt
//
// Memory is the truth and Bolt makes it durable. An operation changes records
// in memory under Volume.mu and is done; each changed entry and directory is
// noted once in the present group. Records are replaced, never changed. Names
// that are not in memory are as Bolt has them; those that are dirty or in use
// stay in memory, others leave it by a clock when there are too many. What
// List returned is remembered with its directory until something in that
// changes, for 128 Ki entries in all; a directory whose names are all in memory
// is listed without Bolt.
//
// The committer closes the group: under Volume.mu it freezes the contents of
// the files in it and takes the records, so that the group is of one moment
// in all files and directories. Then, without the lock, it flushes the files'
// contents to chunks, makes the chunks durable, and writes everything in one
// Bolt transaction. This happens every Options.CommitInterval, when somebody
// waits in Sync, and when memory is short: then writers wait for it. All who
// wait share a group. A crash leaves the last group that was written, what the
// tree was at some moment, after the last Sync that returned; and of each file
// that was fsynced since (Handle.Sync) the bytes, size and times it had then.
//
// An error goes to all who wait for the group, everything in it becomes part
// of the next one, and nothing is lost while the volume is open. A file that
// alone cannot be flushed, as when a chunk that it continues is damaged, does
// not stop the others: its name goes into the group with the bytes it had,
// its error to those who wait for it or for the whole volume.
//
// On a full disk a group waits in memory as a whole, removals included: else a
// file that was put in the place of another would be durable without its
// bytes. Room made elsewhere lets it go down, or removing what could not be
// written. Removing takes room itself, since Bolt changes no page in place: so
// 1 MiB of disk behind what the Bolt file uses is kept for that, and while the
// disk does not give it, all that adds something is refused.
//
// # The log
//
// A group costs three flushes and the sealing of every block that was touched,
// too much for a program that writes 4 KiB and waits. So an fsync of a file of
// which Bolt has the name and all attributes, and of which up to 128 KiB in 512
// places have changed since its last, writes these to the log beside the Bolt
// file and flushes that, once for all who wait then. What is not that simple,
// as a new or renamed file, changed attributes, or bytes that rest on a chunk that
// may not be on disk, makes a group. Nothing else changes: the bytes become
// chunks with the next group as always, and peers, snapshots and collection see
// what is in Bolt. Measured in process on tmpfs, 4 KiB written into 64 MiB and
// synced, by 1, 8 and 64 writers: 772, 609 and 245 us by groups, 215, 107 and
// 120 with the log, most of it for the groups made beside it.
//
// A record says on which states of the Bolt file it counts: the one on disk when
// it was written, and that of the group in flight, if one was. Each state has a
// number for this (state, below). The log has two areas. A closed group makes
// records go to the other, if all in that are in a durable group; when both have
// records that count and there is no room, fsync makes a group. A file that a
// group could not flush is noted in the state, and its records go on to count.
//
// Opening reads each area as far as records verify and follow each other, and
// does what those say that count, as if it were written now, in their order.
// Groups made meanwhile, because memory is short, leave the state's number as
// it is, so that the records count again after another crash: doing them twice
// makes no difference. A record that does not verify ends its area: it was
// being written when the machine went down. If one behind it says that it had
// been on disk, or if a record counts on a later state than the volume is in,
// as when an older copy of the Bolt file was put back, or if the file of a
// record is not there or cannot be written, an event says so, and the log is
// kept: it is renamed, ID.log.TIME, when nothing in it counts any more. A check of
// the data directory names it until it is removed, with the files that it has
// writes of, where in them and of when. A log of an unknown version, or a record
// that the sharing key does not open, keeps the volume closed and changes nothing.
//
// Each process makes the log's file anew, when nothing in the one before counts:
// when it opens the volume, or with the first group. An error of writing or
// flushing it makes fsync go by groups until one has made all of it durable, and
// the file is made anew: who waits gets what the group gives. A clean Close leaves
// nothing in it that counts: the Bolt file alone is the volume.
//
// A panic in an operation, which only a mistake of ours can be, is worth a crash
// of this volume and not of the process: it is never committed, everything
// gives EIO until it is opened again, and the file has the last group (broken.go).
//
// The body of a file that has been written is not known before the flush. In
// memory its version has a mark for content, a zero byte and eight random
// ones, which no Body begins with; the committer puts the body in its place.
//
// # Changes and peers
//
// The changes of one group share a dot, the group's number of this replica;
// two versions of one name take two. The number is durable with the group, and
// peers see only what is durable (DirState). Apply joins a peer's directory, or
// one piece after the other of a large one, under Volume.mu. What comes in is part of the name at once; a name that is
// open for writing, or has bytes not durable yet, goes on showing what its
// writer saw (inode.pinned, inode.held). A writer's version supersedes just
// that (inode.seen).
//
// A name that would get more than Options.MaxVersions from a peer, or has more
// and is about to be renamed or renamed over, has half as many after that: the
// oldest become files beside it in the same group, called as ResolveBoth calls
// them (crowd.go; package merge says why).
//
// # The index of changes
//
// So that one change among many names costs a pull one name, each directory
// has an index by dots: of each, the names at or below which something
// happened under that dot (merge.Dir.Partial). A group writes one key for each
// directory that it changes, whatever the number of names. When the names
// written to it are as many as the directory has, or minRows, the index turns:
// the rows that are older than the turn before go, and Whole takes them in.
// So it never has many more names than two listings, and who was away for
// longer than that gets a full listing. One of more than a quarter of the
// names is a full one in any case.
//
// # Snapshots
//
// A snapshot is a tree of sealed chunks, made from one Bolt read transaction:
// of a commit group. A directory is one tree chunk or, if it is large, a few
// levels of them, cut behind names that a hash picks so that a change leaves
// the other cuts where they are. Which tree an unchanged directory has is
// remembered; a group forgets the trees of the directories that it changes
// and of those above, so that a snapshot costs what changed since the last.
// All of them count as in use when chunks are collected. Diff walks two such
// trees and passes over chunks that both have. Restore makes the live tree what
// a snapshot is, by references to its chunks, each name one change like any
// other, so that peers get it too; a file of the same kind keeps its number.
//
// # Locks
//
// In the order in which they are taken:
//
//	fsyncLog.writing                    held during I/O on the log
//	Volume.snapshotting                 held while a snapshot is made
//	content.flushing, content.writing   held during I/O, one file's
//	Volume.mu                           the namespace, held for moments
//	content.mu, dirtyBudget.mu          held for moments
//	staleTrees.mu, fsyncLog.mu          held for moments
//
// Bolt read transactions may begin under Volume.mu. A Bolt write transaction
// never does, and nothing in one takes Volume.mu. A Handle's reads and writes
// do not take Volume.mu while they move bytes.
//
// # What it takes on disk
//
// Go's own source and the documentation of a Debian system, 16,688 files of 298
// MB in 2,390 directories, take 99.9 MB: 84.5 in chunks, and 15.4 in the Bolt
// file. Of these are, in MB
//
//	7.3   bytes of the 10,400 files of up to 4 KiB, 13.6 before they are packed
//	2.6   the rest of 19,080 records, 138 bytes each, with the pointers of larger files
//	0.4   their keys
//	1.3   heads of these in their pages, and room left there: they are 91% full
//	1.0   inodes: a number, a name and a checksum each, in pages that are 98% full
//	0.6   index, and 0.2 dirs
//	0.4   branch pages, free pages and the list of these
//	1.6   behind what is used: kept for removing on a full disk, the same for any size
//
// Nothing in it gives much for little. Small files have no dictionary in common,
// which would be one more thing that must never be lost; without the inodes
// bucket a number would not lead to its name.
//
// # Layout
//
// A volume is a Bolt file, ID.db, and a log, ID.log. Numbers in keys are 8
// bytes, big-endian; DIR is the number of a place, INO that of an inode.
//
//	meta       format      4 bytes, big-endian: 3; a volume of version 2, which has no
//	                       checksums, or 1, which has no index either, becomes one of
//	                       version 3 when it is opened
//	           volume      16 bytes: the volume's ID
//	           file        16 bytes: device and inode number of the file itself;
//	                       where they differ the file is a copy, and takes a new replica ID
//	           state       below
//	dirs       DIR         directory record
//	names      DIR NAME    record
//	inodes     INO         DIR NAME, for each record with a number
//	loose      DIR NAME    01, for names of which something may be forgotten one day
//	conflicts  DIR NAME    01, for names whose versions differ
//	wanted     number      content that came in from a peer and may not be here
//	snapshots  NAME        snapshot record
//	trees      DIR         tree record, of a directory that did not change since a snapshot
//	index      DIR REPLICA NUMBER
//	                       names, sorted: list of changes, below; REPLICA and NUMBER are a dot
//
// inodes, loose and conflicts follow from names, index from nothing: what it
// lacks or has lost is covered by Whole of merge.Dir, or told by full listings.
//
// Each value but that of format ends with 4 bytes, big-endian: the CRC32C of
// its key and of the value before them. Bolt's checksums of its two meta pages
// and its copies of pages recover the file after a crash (see store.Bolt). A
// record with a wrong checksum, or one that does not decode, fails what needs
// it with EIO, and nothing else; so does a directory with fewer names or more
// than its record says. A name that is asked for by itself, in a page of which
// the structure was changed, may seem to be absent.
//
// In values, u is an unsigned varint and s a signed one of encoding/binary,
// bytes are a u for their number and themselves, a time is an s, the
// difference in nanoseconds from the record's time, list is a u for the number
// and the elements. Replicas are written once: table is a list of 8-byte IDs,
// a dot is a u, 0 for none or one more than the place in the table, and unless
// it is 0 a u for the number; dots are a list of them, so is a context; a
// stamp is a time and a dot.
//
//	state             1 byte    version, 2
//	                  8 bytes   replica ID, big-endian
//	                  u u u u u last numbers given: own change, INO, DIR, change of anything, wanted
//	                  s s s s   figures: files, directories, bytes, conflicts
//	                  8 bytes   process that made the group: a random number, big-endian
//	                  u         number of the group
//	                  list      files that it could not flush: u INO, u number of the group
//	                            from which on records in the log count for it
//	                  (version 1 ends before the process; there is no log then)
//
//	record            1 byte    version, 1
//	                  1 byte    flags: 1 implied, 2 device, 4 block device, 8 conflict
//	                  1 byte    kind shown, 0 for nothing
//	                  u u       INO, number of its last change
//	                  u         DIR of the place at this name, 0 for none
//	                  table
//	                  dot       of the version shown
//	                  u         device number
//	                  8 bytes   the record's time: of the last change of status
//	                  time x3   of access, modification (directories, devices), birth
//	                  dots      context
//	                  list      versions: dots, 1 byte kind, bytes content, s size, time, stamp;
//	                            one dot, or several of earlier servers: so many equal versions
//	                  list      settings
//	                  setting   of the device, if it is one
//
//	setting           stamp, dots, u mode, u owner, u group, list of bytes name, bytes value:
//	                  extended attributes, and the flags of flags.go under "bazil.flags"
//
//	directory record  1 byte    version, 2
//	                  u         DIR of the parent, 0 for the root
//	                  bytes     name
//	                  u u u     names that exist, directories among them, names with a record
//	                  u         names written to its index since that last turned
//	                  table
//	                  dots x4   Ctx, Max, Gone, Whole of merge.Dir
//	                  dots      Max when its index last turned
//	                  (version 1 has neither of what the index needs; Whole is Max then)
//
//	list of changes   bytes...  names, to the end
//
//	wanted            1 byte    version, 1
//	                  u u bytes INO, DIR and name that it came in at
//	                  bytes     body
//
//	snapshot record   1 byte    version, 1
//	                  8 bytes   time made, Unix nanoseconds, big-endian
//	                  s s       files, bytes
//	                  64 bytes  pointer of the snapshot chunk
//
//	tree record       1 byte    version, 1
//	                  64 bytes  pointer of the topmost tree chunk, zeros for an empty directory
//	                  s s       files and bytes in it and below
//
// The log, numbers big-endian:
//
//	head              8 bytes   "bazillog"
//	                  4 bytes   version, 1
//	                  4 bytes   size of an area
//	                  16 bytes  volume ID
//	                  4 bytes   CRC32C of the bytes before
//
// Zeros follow to 4096, then the two areas: records one behind the other, each
// from a multiple of 8 on, then anything.
//
//	log record        4 bytes   B2 'f' 'L' 'g'
//	                  4 bytes   CRC32C of the rest
//	                  4 bytes   length of what is sealed
//	                  4 bytes   zeros
//	                  8 bytes   number of the record, one more than that before it
//	                  8 bytes   number of the last record on disk when it was written
//	                  8 bytes   process that wrote it
//	                  8 bytes   process and
//	                  8 bytes   number of the group that was durable
//	                  8 bytes   number of the last group begun: the record also counts on
//	                            states of its own process up to here
//	                  8 bytes   INO
//	                  sealed    store.Sealer.SealRecord of what follows, for the volume
//	                            ID and the header from the record's number on
//
//	in it             8 bytes   time of modification, Unix nanoseconds
//	                  u         number of the file's last change
//	                  u         the file is cut to this size, if it is larger
//	                  u         at last it has this size
//	                  list      at most 512: u offset, u length, sorted and apart
//	                  bytes     of these, one behind the other, 128 KiB at most
//
// The content of a file's version is a Body, drawn there. In snapshots:
//
//	snapshot chunk    1 byte    version, 1
//	                  16 bytes  volume ID
//	                  8 bytes   time made
//	                  s s       files, bytes
//	                  entry     the root directory, under the name "root"
//
//	tree chunk        1 byte    version, 1
//	                  1 byte    level
//	                  level 0: entries; else: bytes first name below, 64-byte pointer of
//	                  a chunk one level lower; to the end, sorted by name
//
//	entry             bytes     name
//	                  1 byte    kind, as in package merge
//	                  1 byte    flags: 4 block device
//	                  u u u     mode, owner, group
//	                  8 bytes   time of modification, Unix nanoseconds; times are differences from it
//	                  time time of the last change of status, of birth
//	                  u         device number
//	                  bytes     body of a file, target of a symlink
//	                  64 bytes  only of a directory: pointer of its topmost tree chunk
//	                  list      of bytes name, bytes value: extended attributes
package vol
