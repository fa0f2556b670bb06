// Package ctlfs is the control directory of a bazil server: a tree of
// synthetic files in which writing a line adds a peer or starts a sync.
//
// # NAME
//
// ctlfs - control a bazil server
//
// # SYNOPSIS
//
//	bazil mount /n/bazil
//
//	/n/bazil/ctl/ctl
//	/n/bazil/ctl/pubkey
//	/n/bazil/ctl/status
//	/n/bazil/ctl/log
//	/n/bazil/ctl/changes
//	/n/bazil/ctl/peers/NAME/{ctl,status,pubkey}
//	/n/bazil/ctl/sharing/NAME
//	/n/bazil/ctl/volumes/NAME/{ctl,status,log,changes,conflicts/...}
//	/n/bazil/ctl/exports/NAME/{ctl,status}
//
// # DESCRIPTION
//
// The directory ctl at the root of what a server serves holds the server
// itself. Everything that the bazil command does once the server runs, it
// does here.
//
// Text is UTF-8. A line's tokens are separated by blanks; a token with a
// blank, a quote or another byte special to rc(1) in it stands between single
// quotes, and a quote inside of quotes is written twice. A shell takes one
// level of quotes away:
//
//	echo "volume create 'my files'" > ctl
//
// Files are of size 0 for stat(2) and are made when they are read, a read at
// offset 0 making them anew. They belong to the user who runs the server.
//
// # FILES
//
// ctl takes commands, one in each write, of at most 65536 bytes. The write
// returns when the command is done, and fails if the command failed: all of
// it is done or nothing, but for sync, which keeps what it has. In 9P2000 the
// error is the text; in 9P2000.L it is the nearest errno, and the text is read
// back from the same open file. A command that succeeds may have output, read
// back from the same open file too. It does not matter whether the reader
// goes on behind what it wrote or begins at 0. In the shell:
//
//	exec 3<>ctl; echo peer list >&3; cat <&3; exec 3>&-
//
// Before the first command the file reads as the configuration: the commands
// that would rebuild it, with comments where a secret is left out. An empty
// line and one that begins with # do nothing. Flushing the write (a signal to
// the writer, in Linux) cancels the command.
//
// The ctl file of a peer, a volume or an export takes the commands that act
// on such an object, with that object left out; the word for its kind may be
// left out too. In ctl/volumes/myfiles,
//
//	echo sync white > ctl
//	echo storage remove local > ctl
//
// are "sync myfiles white" and "volume storage remove myfiles local".
//
// pubkey holds a public key, in hexadecimal: the server's, or the peer's.
//
// status holds records, one a line, of attr=value fields. The first field
// tells what the record is of and names it: device=, peer=, volume=,
// sharing=, export=, store=. Fields may be added, so skip those that you do
// not know. Beside a volume's record stand others that have its name: sync=
// for each peer it was synced with, with how far it is while that goes on and
// how it went afterwards; follow= for each peer it follows, state=live
// when all that was heard of is here, state=behind while names or content are
// on their way, state=lost while the peer is not to be had, again= with the
// time of the next try; content= while content is not here that is to be, with
// what is done about it, the peers that are asked, and why nobody gave it; waiting= for the first files that wait for
// it; read= for each peer of whom somebody wanted to read content that is not
// here and did not get it, reason=away if it could not be reached and
// reason=lacks if it does not have it either.
//
// log gives one event in each read, a record like those of status that begins
// with seq= and time= and has the kind of event in event=. A read waits until
// there is one. Each open file has a place of its own and begins with the
// oldest event that the server still has; it keeps 1024. A reader that fell
// behind those reads an event=lost with the count= of what it missed. In a
// volume's directory only events of that volume appear.
//
// changes tells programs that keep copies of files what to forget. Each read
// waits until files have changed, whoever changed them, and gives a line of
// their QID paths in decimal: files whose bytes or attributes changed and
// directories whose entries did; or the word all, when they are too many. The
// first changes told are those after the file was opened. A volume's file is of
// that volume, the root's of all volumes. An empty line is told when a command
// waits: sync and resolve do, up to a second, so that what they brought is seen
// everywhere when they return. Who reads again after it has dealt with all that
// it was told before. The word stop is told once, when the server is about to
// stop: it waits for that, up to a second, until who was told reads again or
// closes the file.
//
// sharing has a file for each sharing key. To add one, create its file and
// write the key's 32 bytes in a single write; a file that is closed without
// is not kept. Reading gives a fingerprint of the key and never the key.
// Removing the file forgets the key, which fails while a volume uses it.
//
// peers has a directory for each peer, called by its name, or by its public
// key if it was given none. It is found under its key as well.
//
// conflicts has, at the path of each name with several versions, a directory
// with a file for each version and info, which has a record for each. The file
// is called NAME.PEER.TIME: the peer that made the version, by its name here or
// by the beginning of its public key, this device by its own, a device that
// nobody has told of by the beginning of the replica's ID; and when it was
// changed last, in UTC. Two that would be called the same have the number of the
// change behind it. A symlink's file has where it leads to; that of a directory
// or another kind says what it is. What is walked to and listed is what is in
// conflict at that moment: a conflict that has ended is no more there, nor is the
// directory that led to no other. Of a name that would get more than 256 versions the
// oldest become files beside it instead, called as resolve with both calls them.
//
// # COMMANDS
//
// This list is checked against the table that the parser uses.
//
//	help [WORD ...]
//
// Tell the commands that begin with these words, or all.
//
//	status
//
// Tell how everything stands, one record a line.
// It is what the status files hold, all of them one after the other; the first
// attribute of a record says what it is of.
//
//	sync [VOLUME] PEER [path=PATH] [no-wait] [dry-run]
//
// Bring a peer's changes into the volume, or into each volume that the peer allows us.
// It returns when the files are here too; with no-wait, and where the volume is lazy,
// when their names are. What was done before a failure or a cancellation stays done,
// and the next sync goes on from there. dry-run changes nothing, and tells what would
// change: add, change, delete or conflict, and VOLUME/PATH, one a line. With path= it
// brings in what is at that path of the volume and below, and the other names of the
// directories on the way; the rest comes with the next sync.
//
//	sync all [VOLUME] [no-wait] [dry-run]
//
// Sync the volume, or each, with every peer that has a location and allows it.
// It goes on after a failure, and fails then. A peer called all can be synced with by
// its key.
//
//	sharing add NAME FILE
//
// Add a sharing key: the 32 bytes in a file on the server's machine.
// A key never stands in a command. To bring one in through the tree, create the
// file sharing/NAME and write the 32 bytes to it in one write.
//
//	sharing remove NAME
//
// Forget a sharing key that no volume uses.
//
//	sharing list
//
// List the sharing keys and their fingerprints.
//
//	peer add KEY [NAME]
//
// Know a peer by its public key, and by a name.
// It may connect from now on, but sees nothing that is not allowed to it.
// Wherever a command takes a peer, its name and its key both do.
//
//	peer rename PEER NAME
//
// Give a peer another name.
//
//	peer remove PEER
//
// Forget a peer and what it was allowed, and hang up on it.
//
//	peer list
//
// List the peers.
//
//	peer location set PEER ADDR
//
// Say at which HOST:PORT a peer's server listens.
//
//	peer location clear PEER
//
// Forget where a peer listens.
//
//	peer storage allow PEER BACKEND
//
// Let a peer fetch chunks from a storage backend of this device.
// The one backend that can be allowed is local. Chunks are sealed: to read them
// the peer needs the volume's sharing key and a pointer from the volume.
//
//	peer storage revoke PEER BACKEND
//
// Take back what peer storage allow gave.
//
//	peer volume allow PEER VOLUME
//
// Let a peer see a volume's names and changes.
//
//	peer volume revoke PEER VOLUME
//
// Take back what peer volume allow gave.
//
//	volume create NAME [sharing=NAME] [keep=all|lazy]
//
// Make a new, empty volume, sealed under a sharing key (default: default).
// keep= is as volume keep says.
//
//	volume connect PEER NAME [sharing=NAME] [as=NAME] [keep=all|lazy]
//
// Make a replica of a peer's volume, empty until the first sync.
// The peer is asked for the volume, so it must have a location and must allow it.
// Both devices need the same sharing key; what it is called may differ, and as=
// gives the volume another name here. keep= is as volume keep says.
//
//	volume remove VOLUME [delete]
//
// Forget a volume; with delete, for good.
// Without the word delete its metadata stays in the data directory, in volumes/,
// and volume restore brings the volume back.
//
//	volume restore ID NAME [sharing=NAME]
//
// Bring back a volume that was removed without the word delete.
//
//	volume keep VOLUME all|lazy
//
// Say which content of a volume is kept here: all, or, if it is lazy, what is read or pinned.
// All names are here in any case. all, which is the default, fetches in the background
// what is missing; lazy fetches content when it is read. Nothing that is here is
// dropped: that some other device has it can change at any time.
//
//	volume pin VOLUME [PATH]
//
// Keep the content of a path of a lazy volume, and of what is below it, on this device.
// It is fetched in the background, now and when it changes. Without a path it is all of the
// volume. VOLUME/PATH may be one word. A pin is of a path: it does not move with
// a file that is renamed, here or elsewhere. What is moved to below it on this
// device is fetched with the next sync.
//
//	volume unpin VOLUME [PATH]
//
// Take a pin away. What is here stays here.
//
//	volume list
//
// List the volumes.
//
//	volume storage add VOLUME BACKEND [sharing=NAME]
//
// Add a place to fetch the volume's chunks from, behind those it has.
// A backend is local or peerkey:KEY. Reads ask them in order. sharing= is a
// check: it must name the sharing key of the volume.
//
//	volume storage remove VOLUME BACKEND
//
// Take a place away again.
//
//	volume follow VOLUME PEER [on|off]
//
// Follow a peer's changes of the volume as they come, or, with off, no longer.
// The peer must have a location. While it is away it is tried again and again,
// and what it changed meanwhile comes in when it is back. How it goes stands in
// the volume's status.
//
//	conflicts [VOLUME]
//
// List the names that have several versions, of one volume or of all.
// Each version is a record: the file below volumes/NAME/conflicts/PATH that has its
// bytes, the peer that made it, by name or by the beginning of its key, that key, the
// replica, its kind, size and time; shown=yes if it is what the tree shows, and
// content=missing if its bytes are not on this device.
//
//	resolve [VOLUME] VOLUME/PATH keep|from mine|theirs|newest|both|PEER|FILE
//
// End conflicts: keep one version of a name, or both, or put a merged one in their place.
// mine is the version that the tree shows, theirs the one other, newest the one
// that was changed last, PEER the one that a peer made; FILE is a version's name as
// conflicts tells it. With both the newest stays and the others become files beside it,
// NAME.conflict-TIME-REPLICA, which are called the same on whichever device that is
// done. from FILE puts the bytes of a file on the server's machine in their place.
// PATH may be a pattern: * and ? stand for characters of a name, [...] for one of
// some, ** for any number of directories. It tells what was done, a line for each path.
// A version that comes in meanwhile stays. The volume may stand before the path, as a
// word of its own.
//
//	export add NAME DIAL [volume=VOLUME[/DIR]] [owner=UID:GID] [conns=N] [ro] [noctl] [insecure]
//
// Serve the tree, or a part of it, on one more listener.
// DIAL is unix!/path, tcp!127.0.0.1!5640, vsock!5640 or fd!3. 9P knows no
// passwords, so tcp beyond loopback is refused without the word insecure. owner=
// shows the files of the server's user as that user's; conns= is how many connections
// it takes at once; ro forbids changes; noctl leaves out ctl, as volume= does.
//
//	export remove EXPORT
//
// Close an export and its connections.
//
//	export list
//
// List the exports.
//
//	snapshot create VOLUME [NAME]
//
// Keep the volume as it is now, with all that was written before.
// It costs what changed since the last snapshot. Without a name it is called by
// the time. mkdir VOLUME/.snap/NAME does the same.
//
//	snapshot list [VOLUME]
//
// List the snapshots of one volume or of all, and the schedules.
//
//	snapshot remove VOLUME NAME
//
// Forget a snapshot.
// The space that only it took comes back with the next store collect. rmdir
// VOLUME/.snap/NAME does the same.
//
//	snapshot rename VOLUME NAME NEW
//
// Give a snapshot another name; one of a schedule is kept for good from then on.
//
//	snapshot diff VOLUME A [B]
//
// Tell in what two snapshots differ, or one and the volume as it is now.
// A record begins with added=, removed=, changed= or renamed= and the path. It
// costs what differs: what both share is not looked at.
//
//	snapshot restore VOLUME NAME [path=PATH] [to=PATH] [exact]
//
// Bring a snapshot, or one path of it, back into the volume.
// No content is copied. It comes to where it was, or to the path given with to=.
// If anything there is replaced, the volume is kept before in a snapshot whose
// name begins with before-restore-. What the snapshot does not have stays; with
// exact it is removed.
//
//	snapshot schedule VOLUME [hourly=N] [daily=N] [weekly=N] [off]
//
// Make snapshots by the clock and keep so many of them; alone, tell the schedule.
// The newest snapshot of each of the last N hours, days and weeks that have one
// is kept, others that the schedule made are removed. Their names begin with
// auto-; no other snapshot is ever removed. What was missed while the server did
// not run is made up for by one when it starts.
//
//	snapshot pointer VOLUME NAME
//
// Tell a snapshot's pointer: with it and the sharing key the chunks are all it takes.
// The pointer is sealed under the sharing key and of no use without it.
// snapshot import makes a volume of it.
//
//	snapshot import POINTER NAME [sharing=NAME] [storage=BACKEND]
//
// Make a new volume of the snapshot that a pointer leads to.
// All that takes is the sharing key that it was sealed under and the chunks, which
// are here, or at the peer that storage= names. Device nodes are left out.
//
//	store collect [rate=BYTES] [dry-run] [force]
//
// Free the space of chunks that nothing refers to any more.
// Clients go on reading and writing meanwhile. What was freed before it is
// interrupted stays freed. rate= bounds the bytes a second (k, M and G may stand
// behind the number). With dry-run it only tells what would be freed. A damaged
// copy that nothing needs any more goes, too, once a scrub or a read has found it.
// While a chunk that lists others is damaged nothing is freed, unless with force.
//
//	store scrub [rate=BYTES] [restart]
//
// Read every chunk, check it, and get good copies of damaged ones from peers.
// One that was interrupted goes on where it was, or from the start with restart.
// It fails if damage is left.
//
//	store repair
//
// Get good copies of the chunks known to be damaged, from peers that have them.
// Every peer that is storage of a volume is asked. It fails if damage is left.
// The server does the same by itself when a read meets damage.
//
//	store auto on|off
//
// Say whether the server collects by itself, once a day, when much can be freed.
// Much is a gibibyte, or a quarter of all. It is off at first, so that chunks which
// no volume here knows yet, as those of a backup, are not freed.
//
// # EXAMPLES
//
// Wait for the next sync to end, and tell how it went:
//
//	grep -m1 event=sync.done log
//
// Everything that another server needs to know what this one knows, sharing
// keys and volume contents aside:
//
//	cat ctl/ctl > setup
//	while read -r line; do echo "$line" > ctl/ctl; done < setup
//
// # SOURCE
//
// The table of commands is table.go; their grammar is in parse.go, that of
// tokens in quote.go.
//
// # SEE ALSO
//
// intro(5), rc(1), ip(3) and factotum(4) of the Plan 9 manual
package ctlfs
