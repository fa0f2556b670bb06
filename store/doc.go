// Package store is a data directory: the device's keys, its configuration, and
// the chunks that all its volumes share. It knows chunks by their IDs and
// nothing of files, names or 9P.
//
// # What holds
//
//   - What was Put before a Sync that succeeded is there after a crash at any
//     moment, and verifies. Anything else verifies or is absent.
//   - No byte leaves that has not been checked against the chunk's ID, and no
//     plaintext whose seal and key have not been checked, too.
//   - The segments are the truth. Every index can be made again from them, and
//     none is ever ahead of them.
//   - A flush that failed is never repeated as if nothing had happened: who
//     waited is told, and the segment is appended to no more.
//   - Collection frees nothing that was referenced, found or stored since it
//     began, and nothing at all if its mark was incomplete.
//
// # The data directory
//
// Directories have mode 0700 and files 0600; Open refuses others.
//
//	format      "bazil data directory\nversion 1\n". Create writes it as
//	            format.new at first and renames it at the very end: a directory
//	            without it is no data directory, one with format.new is an
//	            interrupted Create, which Create begins anew
//	lock        locked with flock(2) by who has the directory open
//	key         the device's secrets, see below
//	pubkey      the device's curve25519 public key: 64 hex digits, a newline
//	config.db   Bolt: bucket "meta" (key "version": "1"; key "sum": a hash of all
//	            the rest, see sumConfig), "tables" (a bucket for
//	            each table of Config: string key to deterministic CBOR, RFC 8949
//	            section 4.2), "sharing" (name to wrapped sharing key)
//	chunks/     NNNNNNNN.seg, segments, and reserve, see below
//	index/      NNNNNNNN.tab, merged tables
//
// The key file is text of three lines: "bazil key 1"; "plain", or "argon2id
// PASSES KIB THREADS SALT"; and in hex the secret key of the device (32 bytes)
// and the vault key (32), with a passphrase sealed as nonce (24) and
// XChaCha20-Poly1305 under the argon2id key with the first two lines as
// additional data. A sharing key is stored as nonce (24) and
// XChaCha20-Poly1305 under the vault key with its name as additional data,
// a form that goes with the configuration's version.
// A snapshot's pointer as text is drawn at SharingKey.SealPointer: sealed under
// a key derived from the sharing key, so that it may be kept and sent anywhere.
// Lost keys cannot be had again; a copy of key and config.db is a backup of
// them.
//
// # A sealed chunk
//
//	payload = header ‖ content
//	header  (8 bytes)  0 version 1 · 1 type · 2 codec · 3 zero · 4 length of the plaintext, u32
//	content            codec 0: the plaintext; codec 1: one Zstandard frame that states its size
//	k       = BLAKE3, keyed with HKDF-SHA256(sharing key, no salt, info "bazil/v1/chunk"), of payload
//	C       = ChaCha20-Poly1305(k, nonce of zeros, payload, additional data = suite, the byte 1)
//	ID      = BLAKE3("bazil/v1/id" ‖ C)
//	pointer = ID ‖ k   (64 bytes)
//
// C is what is stored and sent. Integers are little-endian here and below. The
// key comes from the very bytes that are sealed, so that each key seals one
// message, whatever a compressor's next release makes of the same plaintext.
// Plaintext has at most 1 MiB. Content is compressed if that saves a 32nd
// part; from 32 KiB on a sample of 16 KiB decides whether to try, but for what has
// few different bytes, as text has, and chunks of extents, which are nearly all
// pointers, are not tried. Opening
// verifies the ID, opens C, recomputes k, and refuses unknown versions, types
// and codecs. testdata/seal.json freezes all this, testdata/split.json the
// boundaries of content-defined chunks (see Splitter).
//
// # A segment
//
// A file that is only appended to, until it has about 64 MiB, or a 64th of a
// small disk:
//
//	header (64 bytes)   0 "bazilseg" · 8 version 1, u32 · 12 number of the segment, u32
//	                    · 16 made at, unix ns, i64 · 24 zeros · 60 CRC32C of bytes 0 to 59, u32
//	records, each at a multiple of 8:
//	  header (64 bytes) 0 B2 'z' 'R' 'c' · 4 number of the segment, u32 · 8 offset of this header, u32
//	                    · 12 length, u32 · 16 durable, u32 · 20 CRC32C of the sealed bytes, u32
//	                    · 24 suite 1 · 25 kind · 26 zeros · 28 ID, 32 bytes · 60 CRC32C of bytes 0 to 59, u32
//	  bytes             as many as length says, then zeros up to a multiple of 8
//	zeros up to a multiple of 4096, then a table of the segment's chunks: the footer
//
// Kind 0 is a chunk. Kind 1 is a filler, whose bytes mean nothing. Durable says
// that the segment was on disk up to there when the record was written. A clean
// Close ends the tail with a filler of length 0 that says so of all before it.
//
// Recovery: a segment is sealed when its footer verifies whole; the footer is
// written after the records are on disk. A segment that is not is read from the
// start. What verifies is kept. What does not and has nothing good behind it
// is a torn end and is cut off. What does not and lies beyond every durable is
// what a crash left of unflushed writes, and becomes a filler. What lies below
// is damage: kept, reported, never served; the chunk counts as absent, so that
// a good copy can be Put. The footer lists it if its header verifies, and says
// that it is damaged, as do the tables merged from it: so reads, scrubs and
// repairs know of it for as long as the segment is there. What may not be on disk is written anew, since a
// process that died may have had a flush fail. Only segments without a footer
// are read like that: the newest, and those a crash or a full disk left.
// A file without a valid header and without a record is a segment that was
// just being made, and is removed; numbers are never used twice.
//
// # A table
//
// Sorted locations of chunks, at the end of a segment or in a file of its own:
//
//	blocks (4096 bytes) 0 CRC32C of the rest, u32 · 4 number of the block, u32 · 8 entries, u16 · 10 zeros
//	                    · 16 entries of 44 bytes, up to 92 · zeros
//	  entry             0 ID · 32 segment, u32 · 36 offset of the record, u32, one more if the
//	                    chunk was known to be damaged · 40 length, u32
//	summary             the first 8 bytes of each block's first ID, u64 of their big-endian value;
//	                    then of each segment it covers: number u32, chunks u32, sealed bytes u64, end of the records u64;
//	                    then a Bloom filter in lines of 64 bytes: bytes 8 to 15 of an ID choose the line,
//	                    six times 9 bits of bytes 16 to 23 the bits
//	trailer (64 bytes)  0 "baziltab" · 8 version 1, u32 · 12 blocks, u32 · 16 entries, u64 · 24 segments covered, u32
//	                    · 28 bytes of the filter, u32 · 32 offset of the first block, u64 · 40 CRC32C of the summary, u32
//	                    · 44 entries known to be damaged, u32 · 48 zeros · 60 CRC32C of bytes 0 to 59, u32
//
// Entries are sorted by ID, then newest segment first. In memory stay the
// summaries, under 2 bytes a chunk; a lookup reads and checks one block. Eight
// tables of one size are merged into one of the next, which stands in index/
// under a name given when it is on disk. Entries of segments that are gone are
// passed over, and left out of the next merge.
//
// Offsets are multiples of 8. That bit 0 marks damage is younger than the rest
// of version 1: a program that does not know it looks for the record one byte
// too far on, finds no chunk there, and takes it for damaged when it reads it,
// which it is. Only tables that count such entries are read for them on opening.
// A damaged copy that a scrub finds good again is no longer one. Only bytes that
// do not verify, are missing, or that the disk cannot give are damage: what fails
// for want of memory or of file descriptors is an error and is noted nowhere.
//
// A damaged copy that nobody needs, since there is a good one or the chunk is
// dead, goes with its segment, which a collection that knows of it rewrites
// however little is dead in it, if no other damaged copy there is needed. Check
// tells of such a copy as a note, not as a fault, if there is a good one.
//
// Recovery: the newest merged table that covers a segment speaks for it; a
// segment that none covers speaks by its footer. A table that does not verify
// is replaced by the footers of its segments, when it is opened or at the first
// lookup that meets the fault, and a bad footer by reading the segment.
// Removing index/ loses nothing.
//
// This, not Bolt, is the index because a crash test and a checksum reach every
// byte of it, and a flipped bit in a mapped Bolt page may end the process.
//
// # The reserve
//
// chunks/reserve holds zeros, as many as a segment has bytes, once there are
// eight segments, or the disk has no room for sixteen more: that is looked at
// every ten seconds, since others write to it. A collection that finds the disk
// full makes a segment of it and copies live chunks into room that nobody can take
// away meanwhile:
// neither writers, nor footers, nor a volume's Bolt file, nor another program.
// Writers are refused from then on until the reserve is whole again, which is
// as soon as the segments freed give the room, or the collection is over. A
// full segment that has no footer for want of room is collected like others.
// The segment made of the reserve has zeros behind its records until they are
// written over or its footer cuts them; recovery takes them for a torn end.
//
// # The cache
//
// Plaintext that was read or written stays in memory, within
// Options.CacheBytes, and leaves when others need the room or nobody used it
// for five minutes. What is read gets in when it has been verified, what is
// written when it has been sealed. A chunk is verified as a whole, so a random
// read of 4 KiB costs 500 us without the cache and 1 us with it: the default
// is large for that. A chunk leaves when a collection frees it, so that nobody
// reads what is not there. One that is found damaged stays: what was verified
// is right, and it is sealed again and stored, where the next release of the
// compressor does not make other bytes of it. It lies in the heap, where a slice that is lent to a reply
// keeps its memory alive whatever leaves the cache meanwhile; the server paces
// the garbage collector so that this does not double it.
//
// What is read a first time gets no more than a quarter of the cache (cache.go
// has the rule). A new server then gives back 1 GiB in 1.5 to 1.9 s, 2.8 to 3.4
// of processor time, and not in 2.1 to 2.4 s and 3.8 to 4.2: the rest went into
// memory that the process had not used before.
//
// # Versions
//
// Each format carries its version and an unknown one is refused by name
// (ErrVersion), never taken for damage or repaired. An upgrade rewrites what
// has the old version, segment by segment, as collection does.
package store
