// Package export shows a device's volumes to 9P clients.
//
// A Root is the whole tree: the ctl directory, which is handed in, beside one
// directory for each volume. A Manager runs exports, each a listener with the
// part of the tree that its Spec names:
//
//	NAME DIAL [volume=V] [ro] [noctl] [insecure] [owner=UID:GID] [conns=N]
//
// where DIAL is unix!/path, tcp!host!port, vsock!port or fd!number (a socket
// that the process was started with, as systemd's socket activation does: one
// that it opened itself would be closed by exec, and is refused). Exports come
// and go while others run; one that is removed through itself ends with the
// connection of the command. Plain 9P has no authentication: whoever reaches a socket acts as the user
// that it claims to be. So a unix socket is made with mode 0600, and TCP
// beyond the loopback device must be asked for with the word insecure.
//
// # Who may do what
//
// Every attach has a view: the export's limits and the user. The nodes that
// are walked from it check the modes of files against that user as the kernel
// would; the client's user 0 passes. A user whom this machine knows has the
// groups that he has here; of others the client says with what group they make
// a file, and its own checks are all there are. Hard links are refused.
//
// With owner=UID:GID, files of the server's own user show up as that owner's,
// and what the owner makes belongs to the server's user: for clients, such as
// virtual machines, that number users in their own way. The two numbers change
// places, so that a user of the client who has the number of the server's user
// is another one still.
//
// Write, truncation and a change of owner take set-user-ID bits away, from
// everybody. A write to a file that was opened with O_SYNC or O_DSYNC is durable when it is
// answered. The append-only and exclusive-use bits of 9P2000 are a volume's own
// (store/vol, Flags) and hold in all dialects; so does the temporary bit, which
// is only kept.
//
// # Staying inside
//
// An attach shows its directory and what is below. ".." stops there; of a
// directory that somebody moved away from below, it is ENOENT, and a fid of a
// file that was moved away cannot remove or rename it. Symlinks are the
// client's to follow. A fid goes on showing what it stands for, wherever that
// went, as an open file does.
//
// # Listings
//
// An open directory has the names of the moment when reading began, and its
// cookies count them: entries that come and go move nothing. What a connection
// holds so counts as memory of its server (p9srv.Account); where that is not to be
// had, listing is ENOMEM.
//
// # File identity
//
// A QID's path is the volume's number above 48 bits of inode number; numbers
// below 1<<48 are the root's and the ctl tree's. Its version follows the
// inode's change counter and is never 0, the value that forbids caching.
//
// # Snapshots
//
// At the root of each volume .snap is walked to and not listed. It has a
// directory for each snapshot; making, removing and renaming directories there
// does so with snapshots, for whom the root's mode lets change it. Below,
// everything is EROFS. A QID path there is the top bit and a hash of the
// snapshot chunk's ID, the path and the volume's number, so that it is the
// same always, also when the snapshot is renamed. An export of a directory
// below a volume's root has no .snap; one may show VOLUME/.snap/NAME alone. A
// file of a snapshot that is removed can be read until its chunks are
// collected.
package export
