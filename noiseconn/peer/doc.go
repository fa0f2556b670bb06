// Package peer is the tree that one device shows another, and its client
// side. It is served as 9P2000.L inside a noiseconn connection, so the tree
// knows whose key it is shown to; attach names and users mean nothing in it.
//
// # SYNOPSIS
//
//	/storage/BACKEND/chunks
//	/volumes/NAME/info
//	/volumes/NAME/replicas
//	/volumes/NAME/pull
//	/volumes/NAME/events
//
// # DESCRIPTION
//
// The tree shows what its Backend lets the other device see, and asks it anew
// at every request and for every piece of an answer: what is revoked is gone
// at once. Storage and volumes are allowed separately. A listing of /storage
// or /volumes holds what is allowed; any other name can be walked to and
// opened as well, because 9P2000.L carries errors as numbers: the reason why
// something is refused can only be read, as the answer of a file.
//
// Every file here is a question and an answer. One write puts a question, in
// CBOR; the reads behind it give the answer, as records. The answer is made
// while it is read and never stands in memory as a whole.
//
//	chunks   the question lists chunk IDs; the answer has, in the same order,
//	         each one's sealed bytes, or says that it is not here. They were
//	         checked against the checksum they are stored with, and no more:
//	         who asks verifies them against the ID
//	info     the question is empty; the answer has the volume's ID, the
//	         replica's, and the counter that events starts from
//	replicas the question is empty; the answer has the replicas of the volume that
//	         this device can tell, each with the public key of its device
//	pull     the question lists directories by their number here, each with
//	         the context known to who asks; the answer has, in the same order,
//	         each one's committed state, that of a large one in pieces. A question for directory 0, the root,
//	         with which every pull begins, first makes all local changes durable
//	events   the question is a counter; the answer comes when the volume has
//	         changed since, and is the new counter. Counter 0 is answered at once
//
// # OFFSETS
//
// A file that is open can be asked again and again. The offset of a write or a
// read is
//
//	 63 62                    40 39                                0
//	+--+------------------------+-----------------------------------+
//	| 0| number of the question | bytes of its answer asked for     |
//	+--+------------------------+-----------------------------------+
//
// The low part is 0 in a write. Numbers rise; the first may be 0. A read waits
// for its question, and for the reads of all that stands before it in the
// answer, so the client sends a question and many reads at once and a round
// trip costs only once. A file that is not open yet gets its walk and open along
// with them; where one of these messages overtakes another, which 9P allows,
// EBADF says so: where that is the open they are sent one by one, else what came
// too early is sent again.
//
// A read may give less than was asked for: at the end of the answer, and before
// a chunk that would not fit whole, which then begins the next read, so that
// neither side has to put it together. The next read is at the offset where this
// one was asked to end, or where it did. A read that gives nothing is behind the
// end. Each byte can be read once. A new question ends the answer before.
//
// # RECORDS
//
// An answer is a run of records up to one that ends it; the stream's end
// without one is a truncation. Lengths are big-endian.
//
//	 0      1        5
//	+------+--------+---------------
//	| kind | length | body
//	+------+--------+---------------
//
//	'z'  end of the answer             no body
//	'e'  the question failed here      {1: code, 2: text}, ends the answer
//	'i'  info                          {1: volume ID, 2: replica, 3: counter}
//	'r'  replicas                      [[replica, 32-byte key] ...]
//	'v'  event                         {1: counter}
//	'c'  a chunk                       its sealed bytes
//	'm'  a chunk that is not here      no body
//	'd'  a directory's head            [number, flags, view, root entry]
//	'n'  some of its names, in order   [[name, entry, sub, sub's view, last] ...]
//
// A 'd' record's flags say whether the directory is known (1: no names follow),
// whether the names that do not follow have no news (2: a partial listing),
// else they are absent, and whether this is a piece of it (4): then it has one
// name at least, tells of those up to its last one only, and the next 'd'
// record is of the same directory and tells of those behind. Each piece has the
// view of the moment when it was read. In a partial listing last has, of each
// name, the last changes at it and below that the asker does not know. A
// directory's 'n' records follow its 'd' record; the next 'd', or the end, ends
// it. The bodies of 'd' and 'n', and the questions, are drawn where their Go
// types stand. CBOR here has definite lengths, no tags, and no keys
// twice; anything else is refused.
//
// # DIAGNOSTICS
//
// The text of an 'e' record is for the user of the device that asked:
//
//	peer 3f7a90c2 has no storage permission for local: run `bazil peer storage allow 3f7a90c2... local` there
//
// Opening more than maxOpen files of one connection at once fails with EMFILE,
// writing a question that is too long with EMSGSIZE, reading a part of an
// answer again with ESPIPE.
package peer
